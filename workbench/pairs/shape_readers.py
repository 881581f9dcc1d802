"""What is read out of a row's columns, by the roles that they play: votes for one of two answers, rankings of many,
conversations, answers judged alone.

A reader takes the row's values by role, as they came, and gives its texts. It raises `UnusableError` where it cannot,
and `TieError` where the row prefers neither answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from workbench.pairs.lines import UnusableError

Values = Mapping[str, Any]
"""The values of a row by role."""
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


Pairing = Literal["best-worst", "best-rest", "neighbours", "all"]
"""Which pairs are made of several answers that are ranked, or rated."""
PAIRINGS: dict[Pairing, str] = {
    "best-worst": "the best over the worst",
    "best-rest": "the best over each worse one",
    "neighbours": "each over the next worse one",
    "all": "each over every worse one",
}


@dataclass(frozen=True, slots=True)
class Rated:
    """One of several answers, its rating or rank, and who gave it (None: it is not said)."""

    value: float
    text: Any
    model: Any = None


@dataclass(frozen=True, slots=True)
class Ranking:
    """Several answers to one prompt, the best first; not all are of one value. `kind`: what a value is, for the
    columns that pairs of them have (`score_chosen`, `rank_chosen`); empty where it stands for nothing."""

    prompt: Any
    answers: Sequence[Rated]
    kind: str

    def count(self, pairing: Pairing) -> int:
        """How many pairs `paired` makes."""
        values = [each.value for each in self.answers]
        match pairing:
            case "best-worst":
                return 1
            case "best-rest":
                return len(values) - values.count(values[0])
            case "neighbours":
                return len(values) - values.count(values[-1])
            case "all":
                return (len(values) ** 2 - sum(values.count(value) for value in values)) // 2

    def paired(self, pairing: Pairing) -> Iterator[Answers]:
        """Pairs of a better answer with a worse one; of equal ones there are none."""
        answers = self.answers
        if pairing == "best-worst":
            yield self._pair(answers[0], answers[-1])
            return
        for place, better in enumerate(answers):
            worse = [each for each in answers[place + 1 :] if each.value != better.value]
            for other in worse[:1] if pairing == "neighbours" else worse:
                yield self._pair(better, other)
            if pairing == "best-rest":
                return

    def _pair(self, better: Rated, worse: Rated) -> Answers:
        columns: dict[str, Any] = {}
        if self.kind:
            columns = {f"{self.kind}_chosen": better.value, f"{self.kind}_rejected": worse.value}
        columns |= _given(model_chosen=better.model, model_rejected=worse.model)
        return Answers(self.prompt, better.text, worse.text, columns)


# Which of two answers a label prefers: above 0 the first, below 0 the second, by how much where that is known

Vote = Callable[[Values], float]


def named(first: Sequence[str], second: Sequence[str], role: str = "label") -> Vote:
    """By a label that names an answer, or is its text. Raises `UnusableError` for one that is neither, `TieError` for a
    tie."""
    known = {**dict.fromkeys(map(str.casefold, second), -1.0), **dict.fromkeys(map(str.casefold, first), 1.0)}

    def vote_of(value: Any, values: Values) -> float | None:
        name = _as_name(value)
        if name in known or name in _TIES:
            return known.get(name, 0.0)
        if isinstance(value, str) and value in (values["first"], values["second"]):
            return 1.0 if value == values["first"] else -1.0
        return None

    def vote(values: Values) -> float:
        votes = {vote_of(value, values) for value in _said(values[role])}
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
    value = parsed(value)
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


# Several answers, ranked or rated


def ranked(
    text: str, value: Callable[[Mapping[str, Any]], float], kind: str, *, lowest: bool = False
) -> Callable[[Values], Ranking]:
    """Reads the list "answers" of objects, whose answer is their `text`, by `value`; `lowest` is best for ranks."""

    def read(values: Values) -> Ranking:
        answers = parsed(values["answers"])
        if not isinstance(answers, list) or not all(isinstance(each, Mapping) for each in answers):
            raise UnusableError("has answers that are no list of objects")
        rated = [Rated(value(each), each.get(text), each.get("model")) for each in answers]
        return _ranking(values, rated, kind, lowest=lowest)

    return read


def any_ranked(values: Values) -> Ranking:
    """Reads the list "answers" of objects by the names that are in use for an answer and its rank or score."""
    answers = parsed(values["answers"])
    text, value = _named_so(answers, _TEXTS, _is_said), _named_so(answers, (*_RANKS, *_SCORES), _is_number)
    rated = [Rated(number_or_nan(each.get(value)), each.get(text), each.get("model")) for each in answers]
    by_rank = value in _RANKS
    return _ranking(values, rated, "rank" if by_rank else "score", lowest=by_rank)


def is_ranked(values: Values) -> bool:
    """Whether `any_ranked` reads them."""
    answers = parsed(values["answers"])
    if not isinstance(answers, list) or not all(isinstance(each, Mapping) for each in answers):
        return False
    return bool(_named_so(answers, _TEXTS, _is_said) and _named_so(answers, (*_RANKS, *_SCORES), _is_number))


_TEXTS = ("answer", "response", "text", "content", "completion", "output", "generation")
_RANKS = ("rank", "ranking")
_SCORES = ("score", "rating", "overall_score", "overall_rating", "pm_score", "reward", "rm_score", "votes", "upvotes")


def _named_so(answers: Sequence[Mapping[str, Any]], names: Sequence[str], fits: Callable[[Any], bool]) -> str:
    """The first of some names that two of the answers have, with a value that fits; empty for none."""
    return next((name for name in names if sum(fits(each.get(name)) for each in answers) > 1), "")


def _is_said(value: Any) -> bool:
    return isinstance(value, str | list) and bool(value)


def _is_number(value: Any) -> bool:
    return number_or_nan(value) == number_or_nan(value)


def better_and_worse(values: Values) -> Ranking:
    """Reads the lists "chosen" and "rejected" of texts: any of the one is better than any of the other."""
    sides = [[Rated(value, text) for text in values[side]] for side, value in (("chosen", 1.0), ("rejected", 0.0))]
    return Ranking(values["prompt"], [*sides[0], *sides[1]], "")


def are_lists_of_texts(values: Values) -> bool:
    """Whether `better_and_worse` reads them."""
    sides = (values["chosen"], values["rejected"])
    return all(isinstance(side, list) and side and all(isinstance(text, str) for text in side) for side in sides)


def ranked_by_people(values: Values) -> Ranking:
    """Reads the answers "1", "2", … by "label", a ranking of their columns' names, or one of each annotator, as Argilla
    exports them: the mean of their ranks counts."""
    ranks: dict[str, list[float]] = {}
    for each in _places(parsed(values["label"])):
        number = str(each.get("value", "")).rpartition("-")[2].rpartition("_")[2]
        ranks.setdefault(number, []).append(number_or_nan(each.get("rank")))
    rated = [Rated(sum(given) / len(given), values.get(number)) for number, given in ranks.items()]
    return _ranking(values, rated, "rank", lowest=True)


def _places(ranking: Any) -> Iterator[Mapping[str, Any]]:
    """The places that a ranking gives, those of every annotator whose response was submitted."""
    for each in ranking if isinstance(ranking, list) else [ranking]:
        if not isinstance(each, Mapping):
            raise UnusableError("has a ranking that is no list of answers with their ranks")
        if "rank" in each:
            yield each
        elif each.get("status", "submitted") == "submitted":
            yield from _places(each.get("value"))


def _ranking(values: Values, rated: list[Rated], kind: str, *, lowest: bool) -> Ranking:
    known = [each for each in rated if each.value == each.value and each.text]
    if len(known) < 2:
        raise UnusableError(f"has fewer than two answers with a {kind}")
    known.sort(key=lambda each: each.value, reverse=not lowest)
    if known[0].value == known[-1].value:
        raise TieError
    return Ranking(values.get("prompt"), known, kind)


def parallel_lists(kind: str, *, lowest: bool = False) -> Callable[[Values], Ranking]:
    """Reads the lists "answers" and "ratings", entry by entry."""

    def read(values: Values) -> Ranking:
        answers, ratings = parsed(values["answers"]), parsed(values["ratings"])
        if not isinstance(answers, list) or not isinstance(ratings, list) or len(answers) != len(ratings):
            raise UnusableError("has lists of answers and ratings that do not go together")
        models = parsed(values.get("models"))
        if not isinstance(models, list) or len(models) != len(answers):
            models = [None] * len(answers)
        rated = [
            Rated(number_or_nan(rating), answer, model)
            for answer, rating, model in zip(answers, ratings, models, strict=True)
        ]
        return _ranking(values, rated, kind, lowest=lowest)

    return read


def are_lists(values: Values) -> bool:
    """Whether `parallel_lists` reads them."""
    return all(isinstance(parsed(values[name]), list) for name in ("answers", "ratings"))


def parsed(value: Any) -> Any:
    """A list or an object, where a text holds one as JSON: CSV has no other way. Any other value as it is."""
    if not isinstance(value, str) or value.lstrip()[:1] not in ("[", "{"):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def number_or_nan(value: Any) -> float:
    """A number, NaN where there is none."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


def fine_grained(completion: Mapping[str, Any]) -> float:
    """UltraFeedback's own average; its overall_score is known to hold 10 for 1 here and there."""
    value = completion.get("fine-grained_score")
    return number_or_nan(completion.get("overall_score") if value is None else value)


# Messages


def answer_turns(value: Any) -> list[Any]:
    """An answer as a list of turns: a text or a single turn is one."""
    if isinstance(value, str):
        return [{"role": "assistant", "content": value}]
    return list(value) if isinstance(value, list | tuple) else [value]


def _is_answer(turn: Any) -> bool:
    role = turn.get("role", turn.get("from")) if isinstance(turn, Mapping) else None
    return isinstance(role, str) and role.casefold() in _ASSISTANT


def is_asked(values: Values) -> bool:
    """Whether the messages end with what is to be answered, and the answers are single turns or texts."""
    turns = values["prompt"]
    return isinstance(turns, list) and bool(turns) and not _is_answer(turns[-1])


def messages_and_rejected(values: Values) -> Answers:
    """The conversation in "messages" ends with the chosen answer; "rejected" is another one."""
    turns = values["messages"]
    if not isinstance(turns, list):
        raise UnusableError("has messages that are no list")
    end = len(turns)
    while end and _is_answer(turns[end - 1]):
        end -= 1
    if end in (0, len(turns)):
        raise UnusableError("has messages that do not end with an answer after a question")
    return Answers(turns[:end], turns[end:], answer_turns(values["rejected"]))


def openai_messages(values: Values) -> Answers:
    """The prompt is an object with messages and tools; the answers are lists of turns."""
    asked = parsed(values["prompt"])
    if not isinstance(asked, Mapping):
        raise UnusableError("has an input that is no object with messages")
    return Answers(
        asked.get("messages"),
        answer_turns(values["chosen"]),
        answer_turns(values["rejected"]),
        _given(tools=asked.get("tools") or None, parallel_tool_calls=asked.get("parallel_tool_calls")),
    )


def arena_texts(values: Values) -> Answers:
    """Questions and answers are lists in a text, of one conversation each."""
    found = two_answers(one_hot("first_wins", "second_wins"))(values)
    asked, chosen, rejected = (_list_in(value) for value in (found.prompt, found.chosen, found.rejected))
    if not len(asked) == len(chosen) == len(rejected):
        raise UnusableError("has lists of questions and answers that do not go together")
    return Answers(None, _alternating(asked, chosen), _alternating(asked, rejected))


def _list_in(value: Any) -> list[Any]:
    value = parsed(value)
    if not isinstance(value, list):
        raise UnusableError("has questions or answers that are no list in a text")
    return value


def _alternating(asked: list[Any], answers: list[Any]) -> list[dict[str, Any]]:
    turns = []
    for question, answer in zip(asked, answers, strict=True):
        turns += [{"role": "user", "content": question}, {"role": "assistant", "content": answer or ""}]
    return turns


def webgpt(values: Values) -> Answers:
    """Two answers with scores; the prompt is an object around the question, or the question."""
    found = two_answers(scored("first_score", "second_score"), strength=True, scores=True)(values)
    about = parsed(found.prompt)
    if isinstance(about, Mapping):
        found.prompt = about.get("full_text")
    return found


def two_summaries(values: Values) -> Answers:
    """Two summaries in a list, of which "label" has the number of the better one; the prompt is an object."""
    about, summaries = parsed(values["prompt"]), parsed(values["answers"])
    if not isinstance(about, Mapping) or not isinstance(summaries, list) or len(summaries) != 2:
        raise UnusableError("has no two summaries of a post")
    texts = [each.get("text") if isinstance(each, Mapping) else each for each in summaries]
    choice = _as_name(values["label"])
    if choice not in ("0", "1"):
        raise UnusableError(f"has the choice {_short(values['label'])}, which is not 0 or 1")
    text = about.get("post") or about.get("article")
    return Answers(text, texts[int(choice)], texts[1 - int(choice)])


# One answer, judged by itself

_GOOD = frozenset(
    {"true", "1", "desirable", "good", "yes", "up", "+1", "thumbs_up", "thumbs up", "like", "upvote", "👍"}
)
_BAD = frozenset(
    {"false", "0", "undesirable", "bad", "no", "down", "-1", "thumbs_down", "thumbs down", "dislike", "downvote", "👎"}
)


def _judgement(values: Values) -> bool | None:
    said = _as_name(values["label"])
    return True if said in _GOOD else False if said in _BAD else None


def judged_alone(values: Values) -> Answers:
    """One answer: the chosen one where "label" says that it is good, else the rejected one."""
    good = _judgement(values)
    if good is None:
        raise UnusableError(f"has the judgement {_short(values['label'])}, which is neither true nor false")
    answer = values["answer"]
    return Answers(values.get("prompt"), answer if good else None, None if good else answer)


def judged_messages(values: Values) -> Answers:
    """The last answer of a conversation, judged as by `judged_alone`."""
    turns = values["messages"]
    split = messages_and_rejected({"messages": turns, "rejected": ""})
    return judged_alone({**values, "prompt": split.prompt, "answer": split.chosen})


def is_whole(answer: Any) -> bool:
    """Whether an answer is a whole conversation, which begins with what was asked."""
    if isinstance(answer, str):
        return answer.lstrip().startswith(("Human:", "User:", "### Human:"))
    return isinstance(answer, list) and bool(answer) and not _is_answer(answer[0])


def as_named(values: Values) -> Answers:
    """The columns named for the three texts; one that is absent is None."""
    return Answers(values.get("prompt"), values.get("chosen"), values.get("rejected"))


def turns_beside(values: Values) -> Answers:
    """A conversation and, beside it, the turn that is to follow as chosen and as rejected."""
    return Answers(values["prompt"], answer_turns(values["chosen"]), answer_turns(values["rejected"]))
