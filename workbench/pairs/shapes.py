"""The shapes that public preference data comes in: one table, and for each entry what is read out of its columns.

A shape names roles ("prompt", "first", "label") and the columns that may play them. `reading` picks the shape of a row
and hands its values over by role. `words` tells people, before anything is written, what becomes of which column.
To add a shape: an entry in `SHAPES`, and a row for it in docs/data.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

from workbench.pairs.shape_readers import (
    Answers,
    Ranking,
    Values,
    any_ranked,
    are_lists,
    are_lists_of_texts,
    arena_texts,
    as_named,
    better_and_worse,
    fine_grained,
    is_asked,
    is_ranked,
    is_whole,
    judged_alone,
    judged_messages,
    messages_and_rejected,
    named,
    number_or_nan,
    openai_messages,
    parallel_lists,
    parsed,
    ranked,
    ranked_by_people,
    signed,
    turns_beside,
    two_answers,
    two_summaries,
    webgpt,
)

_NOUNS = ("response", "answer", "completion", "output", "messages", "conversation", "conversations")


def _with_noun(*names: str) -> tuple[str, ...]:
    """Names alone, then with what they are names of: chosen, chosen_response, response_chosen."""
    return (*names, *(form for name in names for noun in _NOUNS for form in (f"{name}_{noun}", f"{noun}_{name}")))


PROMPT = ("prompt", "question", "instruction", "query", "input", "context")
CHOSEN = _with_noun("chosen", "good", "better", "preferred", "positive", "winner", "response_j", "accepted")
REJECTED = _with_noun("rejected", "bad", "worse", "dispreferred", "negative", "loser", "response_k", "refused")
"""The names in use for the three texts, the surest first."""

SYSTEM = ("system", "system_prompt", "system_message", "system_instruction")
HISTORY = ("history",)
INPUT = ("input", "context")
"""What stands beside a prompt and belongs to it."""

LABELS = (
    *("label", "labels", "winner", "preference", "preferred", "choice", "better", "best", "verdict", "vote"),
    "chosen",
)
"""The names in use for the column that says which of two answers is the better one."""


@dataclass(frozen=True, slots=True)
class Shape:
    """One shape.

    Each role of `needs` is played by the first of its columns that a row has; a row that lacks one is not of this
    shape, nor one that has a column of `without`, or that `fits` denies. Roles of `may` can be absent. Columns that
    play a role of `kept` stay beside the pair as they came. In `words` a role in braces stands for its column, and
    {pairs} for which pairs become of a ranking. The comment behind a name says where the shape is found.
    """

    name: str
    needs: Mapping[str, tuple[str, ...]]
    read: Callable[[Values], Answers | Ranking]
    words: str
    may: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    without: frozenset[str] = frozenset()
    fits: Callable[[Values], bool] = lambda _: True
    kept: tuple[str, ...] = ("label", "strength")
    judged: bool = False
    """Whether its rows hold one answer each, judged good or bad by itself."""


def _of(**columns: str | tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Roles, each with the columns that may play it."""
    return {role: (names,) if isinstance(names, str) else names for role, names in columns.items()}


_ASKED = ("prompt", "question", "instruction", "query")
MESSAGES = ("messages", "conversations", "conversation")
_JUDGEMENT = ("label", "kto_tag", "feedback", "desirable")
_ANSWERS = ("generations", "answers", "responses", "completions", "candidates", "outputs")
_RATINGS = ("ratings", "rating", "scores", "rewards", "reward_scores", "rm_scores")
_BY_LABEL = "prompt = {prompt}; chosen = {first} or {second}, whichever {label} says"

SIDES = tuple(
    (f"{word}{between}{first}", f"{word}{between}{second}")
    for word in ("response", "answer", "output", "completion", "generation", "candidate", "summary", "conversation")
    for between in ("_", "-", "")
    for first, second in (("0", "1"), ("1", "2"), ("a", "b"), ("left", "right"), ("first", "second"))
)
"""Names of two answers that do not say which one is better."""


def _apart(first: str, second: str) -> tuple[str, str]:
    """The parts of two names that tell them apart: "left" and "right" of left_text and right_text, 1 and 2 of answer1
    and answer2."""
    split = [re.findall(r"[^\W\d_]+|\d+", name) for name in (first, second)]
    parts = list(zip_longest(*split, fillvalue=""))
    differ = [place for place, (one, other) in enumerate(parts) if one.casefold() != other.casefold()]
    if len(differ) != 1 or not all(parts[differ[0]]):
        return first, second
    return parts[differ[0]]


def between(first: str, second: str, label: tuple[str, ...] = LABELS) -> Shape:
    """The shape of two answers in columns of these names, with a label that names one of them."""
    one, other = (
        (name, part, f"model_{part}") for name, part in zip((first, second), _apart(first, second), strict=True)
    )
    whole = first.casefold().startswith("conversation")
    return Shape(
        "two answers and a label",  # AlpacaFarm, chatbot_arena_conversations, MT-Bench judgements, Argilla's rankings
        _of(first=first, second=second, label=label) | ({} if whole else {"prompt": PROMPT}),
        two_answers(named(one, other)),
        "chosen = {first} or {second}, whichever {label} names; ties are left out",
        may={"prompt": PROMPT} if whole else {},
        # Beside a rejected answer, a column chosen is the other one; alone it can be the label.
        without=frozenset({"rejected"}),
    )


def _any_with(answers: Any, *names: str) -> bool:
    """Whether any of a list's objects has the first of some names, and one of the others."""
    listed = parsed(answers)
    there = [each for each in listed if isinstance(each, Mapping)] if isinstance(listed, list) else []
    return any(names[0] in each and any(each.get(name) is not None for name in names[1:]) for each in there)


SPECIAL_SHAPES: tuple[Shape, ...] = (
    Shape(
        "OpenAI preferences",  # OpenAI and Together preference files
        _of(prompt="input", chosen="preferred_output", rejected="non_preferred_output"),
        openai_messages,
        "prompt = the messages of {prompt}; chosen = {chosen}; rejected = {rejected}",
        fits=lambda values: isinstance(parsed(values["prompt"]), Mapping),
    ),
    Shape(
        "messages and a rejected response",  # ms-swift (DPO)
        _of(messages=MESSAGES, rejected="rejected_response"),
        messages_and_rejected,
        "prompt = {messages} up to the last answer, which is chosen; rejected = {rejected}",
    ),
    Shape(
        "two lists of messages",  # ms-swift (DPO)
        _of(chosen=MESSAGES, rejected="rejected_messages"),
        as_named,
        "chosen = {chosen}; rejected = {rejected}; the prompt is what both begin with",
    ),
    Shape(
        "messages and two turns",  # Axolotl chat_template, LLaMA-Factory (ShareGPT ranking)
        _of(prompt=MESSAGES, chosen=CHOSEN, rejected=REJECTED),
        turns_beside,
        "prompt = {prompt}; chosen = the turn in {chosen}; rejected = the turn in {rejected}",
        without=frozenset({"prompt", "question", "instruction"}),
        fits=is_asked,
    ),
    Shape(
        "completions with ratings",  # openbmb/UltraFeedback
        _of(prompt="instruction", answers="completions"),
        ranked("response", fine_grained, "score"),
        "prompt = {prompt}; pairs of the rated {answers}: {pairs}; ties are left out",
        fits=lambda values: _any_with(values["answers"], "response", "fine-grained_score", "overall_score"),
    ),
    Shape(
        "ranked answers",  # berkeley-nest/Nectar
        _of(prompt="prompt", answers="answers"),
        ranked("answer", lambda answer: number_or_nan(answer.get("rank")), "rank", lowest=True),
        "prompt = {prompt}; pairs of the ranked {answers}: {pairs}; ties are left out",
        fits=lambda values: _any_with(values["answers"], "answer", "rank"),
    ),
    Shape(
        "answers with ranks or scores",  # HuggingFaceH4/stack-exchange-preferences
        _of(prompt=PROMPT, answers=_ANSWERS),
        any_ranked,
        "prompt = {prompt}; pairs of the {answers}, by their ranks or scores: {pairs}; ties are left out",
        fits=is_ranked,
    ),
    Shape(
        "lists of better and worse answers",  # allenai/reward-bench-2
        _of(prompt=PROMPT, chosen=CHOSEN, rejected=REJECTED),
        better_and_worse,
        "prompt = {prompt}; pairs of {chosen} over {rejected}: {pairs}",
        fits=are_lists_of_texts,
    ),
    Shape(
        "answers and a ranking",  # Argilla, a ranking of several
        {
            "prompt": PROMPT,
            "label": ("ranking", "rankings"),
            **{str(number): (f"response-{number}", f"response_{number}") for number in (1, 2)},
        },
        ranked_by_people,
        "prompt = {prompt}; pairs of the responses, by {label}: {pairs}; ties are left out",
        may={str(number): (f"response-{number}", f"response_{number}") for number in range(3, 11)},
    ),
    Shape(
        "generations with ratings",  # distilabel
        _of(prompt=PROMPT, answers=_ANSWERS, ratings=_RATINGS),
        parallel_lists("score"),
        "prompt = {prompt}; pairs of {answers}, by their {ratings}: {pairs}; ties are left out",
        may=_of(models=("generation_models", "models", "model_names")),
        without=frozenset({"chosen", "rejected"}),
        fits=are_lists,
    ),
    Shape(
        "generations with ranks",  # distilabel
        _of(prompt=PROMPT, answers=_ANSWERS, ratings=("ranks", "rank")),
        parallel_lists("rank", lowest=True),
        "prompt = {prompt}; pairs of {answers}, by their {ratings}: {pairs}; ties are left out",
        may=_of(models=("generation_models", "models", "model_names")),
        without=frozenset({"chosen", "rejected"}),
        fits=are_lists,
    ),
    Shape(
        "two responses and the better one's number",  # PKU-Alignment/PKU-SafeRLHF
        _of(prompt="prompt", first="response_0", second="response_1", label="better_response_id"),
        two_answers(named(("0", "response_0"), ("1", "response_1"))),
        _BY_LABEL,
    ),
    Shape(
        "two responses and a signed preference",  # nvidia/HelpSteer3
        _of(prompt="context", first="response1", second="response2", label="overall_preference"),
        two_answers(signed("label", first=-1), strength=True),
        "prompt = {prompt}; chosen = {first} where {label} is below 0, {second} where above; ties are left out;"
        " its size is the margin",
    ),
    Shape(
        "two responses and a signed strength",  # nvidia/HelpSteer2 (preference)
        _of(prompt="prompt", first="response_1", second="response_2", label="preference_strength"),
        two_answers(signed("label", first=-1), strength=True),
        "prompt = {prompt}; chosen = {first} where {label} is below 0, {second} where above; ties are left out;"
        " its size is the margin",
    ),
    Shape(
        "two comments and a label",  # stanfordnlp/SHP
        _of(prompt="history", first="human_ref_A", second="human_ref_B", label="labels"),
        two_answers(named(("1", "human_ref_A"), ("0", "human_ref_B")), scores=True),
        "prompt = {prompt}; chosen = {first} where {label} is 1, {second} where it is 0",
        may=_of(first_score="score_A", second_score="score_B"),
    ),
    Shape(
        "two answers and which model wins",  # lmsys-arena-human-preference-55k
        _of(
            prompt="prompt",
            first="response_a",
            second="response_b",
            first_wins="winner_model_a",
            second_wins="winner_model_b",
        ),
        arena_texts,
        "chosen = {first} where {first_wins} is 1, {second} where {second_wins} is; ties are left out",
        kept=("first_wins", "second_wins"),
    ),
    Shape(
        "two answers with scores",  # openai/webgpt_comparisons
        _of(
            prompt=_ASKED,
            first=("answer_0", "response_0"),
            second=("answer_1", "response_1"),
            first_score="score_0",
            second_score="score_1",
        ),
        webgpt,
        "prompt = {prompt}; chosen = {first} or {second}, whichever has the higher score; ties are left out",
    ),
    Shape(
        "two summaries and a choice",  # openai/summarize_from_feedback
        _of(prompt="info", answers="summaries", label="choice"),
        two_summaries,
        "prompt = the post in {prompt}; chosen = the one of {answers} that {label} names",
    ),
    *(between(first, second) for first, second in SIDES),
    Shape(
        "a conversation and a judgement",  # ms-swift and LLaMA-Factory (KTO, messages)
        _of(messages=MESSAGES, label=_JUDGEMENT),
        judged_messages,
        "prompt = {messages} up to the last answer, which is judged good where {label} is true, bad where it is false",
        without=frozenset({"chosen", "rejected"}),
        kept=(),
        judged=True,
    ),
    Shape(
        "an answer and a judgement",  # TRL unpaired preferences (KTO), LLaMA-Factory (KTO, Alpaca)
        _of(prompt=_ASKED, answer=("completion", "output", "response", "answer"), label=_JUDGEMENT),
        judged_alone,
        "prompt = {prompt}; {answer} is judged good where {label} is true, bad where it is false (for kto)",
        without=frozenset({"chosen", "rejected"}),
        kept=(),
        judged=True,
    ),
    Shape(
        "a response and a rejected one",  # ms-swift (DPO, query and response)
        _of(prompt=("query", "instruction", "prompt"), chosen="response", rejected="rejected_response"),
        as_named,
        "prompt = {prompt}; chosen = {chosen}; rejected = {rejected}",
        without=frozenset({"chosen", "rejected"}),
    ),
)
"""Those of certain data sets and tools, whose columns need more than a name."""

ALONE = Shape(
    "prompts alone",  # prompts that answers are to be drafted for
    _of(prompt=PROMPT),
    as_named,
    "prompt = {prompt}; both answers are to be drafted",
)

PLAIN_SHAPES: tuple[Shape, ...] = (
    Shape(
        "prompt, chosen, rejected",  # TRL, HuggingFaceH4/ultrafeedback_binarized
        _of(prompt="prompt", chosen=CHOSEN, rejected=REJECTED),
        as_named,
        "prompt = {prompt}; chosen = {chosen}; rejected = {rejected}",
    ),
    Shape(
        "question, chosen, rejected",  # Intel/orca_dpo_pairs, Alpaca, lvwerra/stack-exchange-paired
        _of(prompt=PROMPT, chosen=CHOSEN, rejected=REJECTED),
        as_named,
        "prompt = {prompt}; chosen = {chosen}; rejected = {rejected}",
        fits=lambda values: not is_whole(values["chosen"]),
    ),
    Shape(
        "two whole conversations",  # Anthropic/hh-rlhf, TRL implicit prompts, argilla/dpo-mix-7k
        _of(chosen=CHOSEN, rejected=REJECTED),
        as_named,
        "chosen = {chosen}; rejected = {rejected}; the prompt is what both begin with",
    ),
    *(
        Shape(
            f"a {name} answer alone",  # supervised data, half-made pairs
            {name: (name,)},
            as_named,
            f"{name} = {{{name}}}; the other answer is to be drafted",
            may={"prompt": PROMPT},
        )
        for name in ("chosen", "rejected")
    ),
    ALONE,
)
"""Those whose columns say which answer is the chosen one."""

SHAPES: tuple[Shape, ...] = (*SPECIAL_SHAPES, *PLAIN_SHAPES)
"""A row is of the first shape that it fits."""
