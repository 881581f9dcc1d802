"""The shapes that public preference data comes in: one table, and for each entry what is read out of its columns.

A shape names roles ("prompt", "first", "label") and the columns that may play them. `reading` picks the shape of a row
and hands its values over by role. `words` tells people, before anything is written, what becomes of which column.
To add a shape: an entry in `SHAPES`, and a row for it in docs/data.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

from workbench.pairs.lines import UnusableError

Values = Mapping[str, Any]
"""The values of a row by role."""


def _with_response(*names: str) -> tuple[str, ...]:
    return tuple(form for name in names for form in (name, f"{name}_response", f"response_{name}"))


PROMPT = ("prompt", "question", "instruction", "query", "input", "context")
CHOSEN = _with_response("chosen", "good", "better", "preferred", "positive", "winner", "response_j", "accepted")
REJECTED = _with_response("rejected", "bad", "worse", "dispreferred", "negative", "loser", "response_k", "refused")
"""The names in use for the three texts, the surest first."""

SYSTEM = ("system", "system_prompt", "system_message")
HISTORY = ("history",)
INPUT = ("input", "context")
"""What stands beside a prompt and belongs to it."""

LABELS = ("label", "labels", "winner", "preference", "preferred", "choice", "better", "best", "verdict", "vote")
"""The names in use for the column that says which of two answers is the better one."""

_ASSISTANT = frozenset({"assistant", "gpt", "bot", "model", "chatgpt", "chatbot", "ai", "function_call", "tool_call"})
_TIES = frozenset({"tie", "tie (bothbad)", "bothbad", "both_bad", "both", "equal", "same", "neither", "none", "draw"})


class TieError(Exception):
    """A row whose label prefers neither answer: it is left out, and counted."""


@dataclass(slots=True)
class Answers:
    """What a shape reads out of a row: its texts as they came, and `columns` to be kept beside them."""

    prompt: Any = None
    chosen: Any = None
    rejected: Any = None
    columns: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Shape:
    """One shape.

    Each role of `needs` is played by the first of its columns that a row has; a row that lacks one is not of this
    shape, nor one that has a column of `without`, or that `fits` denies. Roles of `may` can be absent. Columns that
    play a role of `kept` stay beside the pair as they came. In `words` a role in braces stands for its column. The
    comment behind a name says where the shape is found.
    """

    name: str
    needs: Mapping[str, tuple[str, ...]]
    read: Callable[[Values], Answers]
    words: str
    may: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    without: frozenset[str] = frozenset()
    fits: Callable[[Values], bool] = lambda _: True
    kept: tuple[str, ...] = ("label", "strength")
    judged: bool = False
    """Whether its rows hold one answer each, judged good or bad by itself."""


# Which of two answers a label prefers: above 0 the first, below 0 the second, by how much where that is known

Vote = Callable[[Values], float]


def named(first: Sequence[str], second: Sequence[str], role: str = "label") -> Vote:
    """By a label that names an answer. Raises `UnusableError` for one that names neither, `TieError` for a tie."""
    known = {**dict.fromkeys(map(str.casefold, second), -1.0), **dict.fromkeys(map(str.casefold, first), 1.0)}

    def vote(values: Values) -> float:
        said = {_as_name(value) for value in _said(values[role])}
        votes = {known.get(name, 0.0 if name in _TIES else None) for name in said}
        if None in votes or not votes:
            listed = ", ".join(dict.fromkeys((*first[:2], *second[:2])))
            raise UnusableError(f"has a label {_short(values[role])} that names no answer (known: {listed}, tie)")
        total = sum(vote or 0.0 for vote in votes)
        if not total:
            raise TieError
        return total

    return vote


def _said(value: Any) -> list[Any]:
    """What one or several people said: Argilla exports lists of responses, or of {"value", "status"}."""
    value = _parsed(value)
    if not isinstance(value, list):
        return [value]
    return [each.get("value") if isinstance(each, Mapping) else each for each in value]


def _as_name(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).casefold()
    text = str(value).strip().casefold()
    # As tables write whole numbers in a column that lacks some.
    return text.removesuffix(".0") if text.removesuffix(".0").lstrip("-").isdecimal() else text


def signed(role: str, *, first: int) -> Vote:
    """By a number whose sign tells: `first` is the sign that prefers the first answer, 0 is a tie."""

    def vote(values: Values) -> float:
        number = _number(values[role], role)
        if not number:
            raise TieError
        return number * first

    return vote


def scored(first: str, second: str) -> Vote:
    """By two numbers, of which the larger is the better answer's."""

    def vote(values: Values) -> float:
        difference = _number(values[first], first) - _number(values[second], second)
        if not difference:
            raise TieError
        return difference

    return vote


def one_hot(first: str, second: str) -> Vote:
    """By two columns, of which one is 1 (arena); neither is a tie."""
    return scored(first, second)


def _number(value: Any, role: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if number != number:
        raise UnusableError(f"has {_short(value)} where a number should tell which answer is better ({role})")
    return number


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:39] + "…"


def two_answers(vote: Vote, *, strength: bool = False, scores: bool = False) -> Callable[[Values], Answers]:
    """Reads "first" and "second" as chosen and rejected, as `vote` says; its strength is kept as the margin, `scores`
    as score_chosen and score_rejected."""

    def read(values: Values) -> Answers:
        preferred = vote(values)
        sides = ("first", "second") if preferred > 0 else ("second", "first")
        columns: dict[str, Any] = {"margin": abs(preferred)} if strength else {}
        if scores:
            columns |= _given(
                score_chosen=values.get(f"{sides[0]}_score"), score_rejected=values.get(f"{sides[1]}_score")
            )
        return Answers(values.get("prompt"), values[sides[0]], values[sides[1]], columns)

    return read


def _given(**columns: Any) -> dict[str, Any]:
    return {name: value for name, value in columns.items() if value is not None}


# The best of several answers over the worst


def best_and_worst(
    text: str, value: Callable[[Mapping[str, Any]], float], kind: str, *, lowest: bool = False
) -> Callable[[Values], Answers]:
    """Reads the list "answers" of objects: the best by `value` over the worst; `lowest` is best for ranks. Both values
    are kept as `kind`_chosen and `kind`_rejected."""

    def read(values: Values) -> Answers:
        answers = _parsed(values["answers"])
        if not isinstance(answers, list) or not all(isinstance(each, Mapping) for each in answers):
            raise UnusableError("has answers that are no list of objects")
        return _extremes(
            values, [(value(each), each.get(text), each.get("model")) for each in answers], kind, lowest=lowest
        )

    return read


def _extremes(values: Values, rated: list[tuple[float, Any, Any]], kind: str, *, lowest: bool) -> Answers:
    known = [each for each in rated if each[0] == each[0] and each[1]]
    if len(known) < 2:
        raise UnusableError(f"has fewer than two answers with a {kind}")
    known.sort(key=lambda each: each[0], reverse=not lowest)
    best, worst = known[0], known[-1]
    if best[0] == worst[0]:
        raise TieError
    columns = {f"{kind}_chosen": best[0], f"{kind}_rejected": worst[0]}
    columns |= _given(model_chosen=best[2], model_rejected=worst[2])
    return Answers(values.get("prompt"), best[1], worst[1], columns)


def _parallel(kind: str, *, lowest: bool = False) -> Callable[[Values], Answers]:
    """Reads the lists "answers" and "ratings", entry by entry."""

    def read(values: Values) -> Answers:
        answers, ratings = _parsed(values["answers"]), _parsed(values["ratings"])
        if not isinstance(answers, list) or not isinstance(ratings, list) or len(answers) != len(ratings):
            raise UnusableError("has lists of answers and ratings that do not go together")
        models = _parsed(values.get("models"))
        if not isinstance(models, list) or len(models) != len(answers):
            models = [None] * len(answers)
        return _extremes(
            values,
            [(_maybe(rating), answer, model) for answer, rating, model in zip(answers, ratings, models, strict=True)],
            kind,
            lowest=lowest,
        )

    return read


def _parsed(value: Any) -> Any:
    """A list or an object, where a text holds one as JSON: CSV has no other way. Any other value as it is."""
    if not isinstance(value, str) or value.lstrip()[:1] not in ("[", "{"):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _maybe(value: Any) -> float:
    """A number, NaN where there is none."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


def _fine_grained(completion: Mapping[str, Any]) -> float:
    """UltraFeedback's own average; its overall_score is known to hold 10 for 1 here and there."""
    value = completion.get("fine-grained_score")
    return _maybe(completion.get("overall_score") if value is None else value)


# Messages


def answer_turns(value: Any) -> list[Any]:
    """An answer as a list of turns: a text or a single turn is one."""
    if isinstance(value, str):
        return [{"role": "assistant", "content": value}]
    return list(value) if isinstance(value, list | tuple) else [value]


def _is_answer(turn: Any) -> bool:
    role = turn.get("role", turn.get("from")) if isinstance(turn, Mapping) else None
    return isinstance(role, str) and role.casefold() in _ASSISTANT


def _is_asked(values: Values) -> bool:
    """Whether the messages end with what is to be answered, and the answers are single turns or texts."""
    turns = values["prompt"]
    return isinstance(turns, list) and bool(turns) and not _is_answer(turns[-1])


def _messages_and_rejected(values: Values) -> Answers:
    turns = values["messages"]
    if not isinstance(turns, list):
        raise UnusableError("has messages that are no list")
    end = len(turns)
    while end and _is_answer(turns[end - 1]):
        end -= 1
    if end in (0, len(turns)):
        raise UnusableError("has messages that do not end with an answer after a question")
    return Answers(turns[:end], turns[end:], answer_turns(values["rejected"]))


def _openai(values: Values) -> Answers:
    asked = _parsed(values["prompt"])
    if not isinstance(asked, Mapping):
        raise UnusableError("has an input that is no object with messages")
    return Answers(
        asked.get("messages"),
        answer_turns(values["chosen"]),
        answer_turns(values["rejected"]),
        _given(tools=asked.get("tools") or None, parallel_tool_calls=asked.get("parallel_tool_calls")),
    )


def _arena_texts(values: Values) -> Answers:
    """Questions and answers are lists in a text, of one conversation each."""
    found = two_answers(one_hot("first_wins", "second_wins"))(values)
    asked, chosen, rejected = (_list_in(value) for value in (found.prompt, found.chosen, found.rejected))
    if not len(asked) == len(chosen) == len(rejected):
        raise UnusableError("has lists of questions and answers that do not go together")
    return Answers(None, _alternating(asked, chosen), _alternating(asked, rejected))


def _list_in(value: Any) -> list[Any]:
    value = _parsed(value)
    if not isinstance(value, list):
        raise UnusableError("has questions or answers that are no list in a text")
    return value


def _alternating(asked: list[Any], answers: list[Any]) -> list[dict[str, Any]]:
    turns = []
    for question, answer in zip(asked, answers, strict=True):
        turns += [{"role": "user", "content": question}, {"role": "assistant", "content": answer or ""}]
    return turns


def _webgpt(values: Values) -> Answers:
    found = two_answers(scored("first_score", "second_score"), strength=True, scores=True)(values)
    about = _parsed(found.prompt)
    if isinstance(about, Mapping):
        found.prompt = about.get("full_text")
    return found


def _summaries(values: Values) -> Answers:
    about, summaries = _parsed(values["prompt"]), _parsed(values["answers"])
    if not isinstance(about, Mapping) or not isinstance(summaries, list) or len(summaries) != 2:
        raise UnusableError("has no two summaries of a post")
    texts = [each.get("text") if isinstance(each, Mapping) else each for each in summaries]
    choice = _as_name(values["label"])
    if choice not in ("0", "1"):
        raise UnusableError(f"has the choice {_short(values['label'])}, which is not 0 or 1")
    text = about.get("post") or about.get("article")
    return Answers(text, texts[int(choice)], texts[1 - int(choice)])


# One answer, judged by itself

_GOOD = frozenset({"true", "1", "desirable", "good", "yes", "up", "+1"})
_BAD = frozenset({"false", "0", "undesirable", "bad", "no", "down", "-1"})


def _judgement(values: Values) -> bool | None:
    said = _as_name(values["label"])
    return True if said in _GOOD else False if said in _BAD else None


def _judged(values: Values) -> Answers:
    good = _judgement(values)
    if good is None:
        raise UnusableError(f"has the judgement {_short(values['label'])}, which is neither true nor false")
    answer = values["answer"]
    return Answers(values.get("prompt"), answer if good else None, None if good else answer)


def _judged_messages(values: Values) -> Answers:
    turns = values["messages"]
    split = _messages_and_rejected({"messages": turns, "rejected": ""})
    return _judged({**values, "prompt": split.prompt, "answer": split.chosen})


def _is_whole(answer: Any) -> bool:
    """Whether an answer is a whole conversation, which begins with what was asked."""
    if isinstance(answer, str):
        return answer.lstrip().startswith(("Human:", "User:", "### Human:"))
    return isinstance(answer, list) and bool(answer) and not _is_answer(answer[0])


def _columns(values: Values) -> Answers:
    return Answers(values.get("prompt"), values.get("chosen"), values.get("rejected"))


def _turns_beside(values: Values) -> Answers:
    return Answers(values["prompt"], answer_turns(values["chosen"]), answer_turns(values["rejected"]))


def _of(**columns: str | tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Roles, each with the columns that may play it."""
    return {role: (names,) if isinstance(names, str) else names for role, names in columns.items()}


_ASKED = ("prompt", "question", "instruction", "query")
MESSAGES = ("messages", "conversations", "conversation")
_JUDGEMENT = ("label", "kto_tag", "feedback")
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
    )


SPECIAL_SHAPES: tuple[Shape, ...] = (
    Shape(
        "OpenAI preferences",  # OpenAI and Together preference files
        _of(prompt="input", chosen="preferred_output", rejected="non_preferred_output"),
        _openai,
        "prompt = the messages of {prompt}; chosen = {chosen}; rejected = {rejected}",
        fits=lambda values: isinstance(_parsed(values["prompt"]), Mapping),
    ),
    Shape(
        "messages and a rejected response",  # ms-swift (DPO)
        _of(messages=MESSAGES, rejected="rejected_response"),
        _messages_and_rejected,
        "prompt = {messages} up to the last answer, which is chosen; rejected = {rejected}",
    ),
    Shape(
        "two lists of messages",  # ms-swift (DPO)
        _of(chosen=MESSAGES, rejected="rejected_messages"),
        _columns,
        "chosen = {chosen}; rejected = {rejected}; the prompt is what both begin with",
    ),
    Shape(
        "messages and two turns",  # Axolotl chat_template, LLaMA-Factory (ShareGPT ranking)
        _of(prompt=MESSAGES, chosen=CHOSEN, rejected=REJECTED),
        _turns_beside,
        "prompt = {prompt}; chosen = the turn in {chosen}; rejected = the turn in {rejected}",
        without=frozenset({"prompt", "question", "instruction"}),
        fits=_is_asked,
    ),
    Shape(
        "completions with ratings",  # openbmb/UltraFeedback
        _of(prompt="instruction", answers="completions"),
        best_and_worst("response", _fine_grained, "score"),
        "prompt = {prompt}; chosen = the completion rated best, rejected = the one rated worst; ties are left out",
    ),
    Shape(
        "ranked answers",  # berkeley-nest/Nectar
        _of(prompt="prompt", answers="answers"),
        best_and_worst("answer", lambda answer: _maybe(answer.get("rank")), "rank", lowest=True),
        "prompt = {prompt}; chosen = the answer of the best rank, rejected = the one of the worst",
    ),
    Shape(
        "generations with ratings",  # distilabel
        _of(prompt=("instruction", "input", "prompt"), answers="generations", ratings=("ratings", "rating")),
        _parallel("score"),
        "prompt = {prompt}; chosen = the generation rated best in {ratings}, rejected = the one rated worst;"
        " ties are left out",
        may=_of(models=("generation_models", "models", "model_names")),
        without=frozenset({"chosen", "rejected"}),
    ),
    Shape(
        "generations with ranks",  # distilabel
        _of(prompt=("instruction", "input", "prompt"), answers="generations", ratings=("ranks", "rank")),
        _parallel("rank", lowest=True),
        "prompt = {prompt}; chosen = the generation of the best rank in {ratings}, rejected = the one of the worst",
        may=_of(models=("generation_models", "models", "model_names")),
        without=frozenset({"chosen", "rejected"}),
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
        _arena_texts,
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
        _webgpt,
        "prompt = {prompt}; chosen = {first} or {second}, whichever has the higher score; ties are left out",
    ),
    Shape(
        "two summaries and a choice",  # openai/summarize_from_feedback
        _of(prompt="info", answers="summaries", label="choice"),
        _summaries,
        "prompt = the post in {prompt}; chosen = the one of {answers} that {label} names",
    ),
    *(between(first, second) for first, second in SIDES),
    Shape(
        "a conversation and a judgement",  # ms-swift and LLaMA-Factory (KTO, messages)
        _of(messages=MESSAGES, label=_JUDGEMENT),
        _judged_messages,
        "prompt = {messages} up to the last answer, which is judged good where {label} is true, bad where it is false",
        without=frozenset({"chosen", "rejected"}),
        kept=(),
        judged=True,
    ),
    Shape(
        "an answer and a judgement",  # TRL unpaired preferences (KTO), LLaMA-Factory (KTO, Alpaca)
        _of(prompt=_ASKED, answer=("completion", "output", "response", "answer"), label=_JUDGEMENT),
        _judged,
        "prompt = {prompt}; {answer} is judged good where {label} is true, bad where it is false (for kto)",
        without=frozenset({"chosen", "rejected"}),
        kept=(),
        judged=True,
    ),
    Shape(
        "a response and a rejected one",  # ms-swift (DPO, query and response)
        _of(prompt=("query", "instruction", "prompt"), chosen="response", rejected="rejected_response"),
        _columns,
        "prompt = {prompt}; chosen = {chosen}; rejected = {rejected}",
        without=frozenset({"chosen", "rejected"}),
    ),
)
"""Those of certain data sets and tools, whose columns need more than a name."""

ALONE = Shape(
    "prompts alone",  # prompts that answers are to be drafted for
    _of(prompt=PROMPT),
    _columns,
    "prompt = {prompt}; both answers are to be drafted",
)

PLAIN_SHAPES: tuple[Shape, ...] = (
    Shape(
        "prompt, chosen, rejected",  # TRL, HuggingFaceH4/ultrafeedback_binarized
        _of(prompt="prompt", chosen=CHOSEN, rejected=REJECTED),
        _columns,
        "prompt = {prompt}; chosen = {chosen}; rejected = {rejected}",
    ),
    Shape(
        "question, chosen, rejected",  # Intel/orca_dpo_pairs, Alpaca, lvwerra/stack-exchange-paired
        _of(prompt=PROMPT, chosen=CHOSEN, rejected=REJECTED),
        _columns,
        "prompt = {prompt}; chosen = {chosen}; rejected = {rejected}",
        fits=lambda values: not _is_whole(values["chosen"]),
    ),
    Shape(
        "two whole conversations",  # Anthropic/hh-rlhf, TRL implicit prompts, argilla/dpo-mix-7k
        _of(chosen=CHOSEN, rejected=REJECTED),
        _columns,
        "chosen = {chosen}; rejected = {rejected}; the prompt is what both begin with",
    ),
    *(
        Shape(
            f"a {name} answer alone",  # supervised data, half-made pairs
            {name: (name,)},
            _columns,
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
