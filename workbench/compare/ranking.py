"""Answers to one prompt, put in order by a person: a model's drafts beside the pair's own, and what pairs they make."""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from workbench.behaviours.behaviour import NO_KIND, Answer
from workbench.compare.draft_flaws import flaw_of, to_last_sentence
from workbench.compare.messages import Generation, Prompt
from workbench.compare.prompt_parts import as_prompt
from workbench.errors import WorkbenchError
from workbench.pairs.pair import TEMPLATE_COLUMNS, Message, Pair, Text, plain, template_arguments

if TYPE_CHECKING:
    from workbench.pairs.store import PairStore

DRAFTS = 8
"""How many samples are asked for at a time."""
DRAFT_TOKENS = 256
"""Where a draft is cut."""

DRAFTED = "drafted answers"
"""What undo says of pairs that drafts went into."""
DRAFTED_BY = "drafted by"
"""What the source of such a pair says, before the name of the model or run."""

PairSide = Literal["chosen", "rejected"]
Making = Literal["one", "each"]
"""One pair, the best over the worst; or one for each of the others, the best over it."""


@dataclass(frozen=True, slots=True)
class AnswerCandidate:
    """An answer. `by` is who drafted it, `count` how many times; both say nothing of the pair's own (`side`).

    `cut`: a limit ended it. It is then without the sentence that it was in, or with it where that was the first:
    a model that learns from such an answer learns to break off. `mean` is the log-probability a token, in nats, under
    who drafted it; None where that is not known.
    """

    response: Text
    by: str = ""
    count: int = 1
    side: PairSide | None = None
    cut: bool = False
    mean: float | None = None
    whole: bool = True
    """Whether it ends where a sentence does."""
    tokens: int = 0
    likelihood: float | None = None
    """Its log-probability a token under the base, in nats, and of how many `tokens`."""
    shows: tuple[str, ...] | None = None
    """The behaviours that it shows; None until that is told."""

    @property
    def text(self) -> str:
        """The answer's words."""
        return plain(self.response)


@dataclass(frozen=True, slots=True)
class BestDraft:
    """The draft that stands for the others: its number, and whether it came most often or is the likeliest of them."""

    number: int
    by: Literal["commonest", "likeliest"]


@dataclass(frozen=True, slots=True)
class RankedPairs:
    """What a ranking comes to: the pair with other answers, new pairs beside it, or both."""

    edited: Pair | None = None
    new: tuple[Pair, ...] = ()

    def __bool__(self) -> bool:
        return self.edited is not None or bool(self.new)


@dataclass(frozen=True, slots=True)
class Ranking:
    """Candidates, and the numbers of those that are ranked, best first. Changing it gives another one.

    `wanted`: the behaviour that a draft has to show to be the best one; empty for any.
    """

    pair: Pair
    candidates: tuple[AnswerCandidate, ...]
    order: tuple[int, ...] = ()
    making: Making = "one"
    wanted: str = ""

    @classmethod
    def of(cls, pair: Pair) -> Ranking:
        """A pair's own answers, chosen ranked best; an empty one is none."""
        own = (AnswerCandidate(pair.chosen, side="chosen"), AnswerCandidate(pair.rejected, side="rejected"))
        there = tuple(candidate for candidate in own if candidate.text.strip())
        return cls(pair, there, (0,) if there and there[0].side == "chosen" else ())

    def with_drafts(self, generations: Iterable[Generation]) -> Ranking:
        """More drafts behind those there are, the commonest of them first, of equally common ones the likeliest.

        One that a limit cut off ends with its last whole sentence. An empty one is left out, and one that is there
        already is counted.
        """
        by_answer = {(candidate.text, candidate.by): candidate for candidate in self.candidates}
        for generation in generations:
            text = generation.text if generation.ended else to_last_sentence(generation.text)
            whole = bool(text.strip())
            text = text if whole else generation.text
            key = text, generation.name
            if key in by_answer:
                same = by_answer[key]
                by_answer[key] = replace(same, count=same.count + 1, cut=same.cut and not generation.ended)
            elif text.strip():
                response: Text = (Message("assistant", text),) if self.pair.conversational else text
                by_answer[key] = AnswerCandidate(
                    response,
                    generation.name,
                    cut=not generation.ended,
                    mean=generation.mean,
                    whole=whole,
                    tokens=generation.tokens,
                    likelihood=generation.likelihood,
                )
        known, new = list(by_answer.values())[: len(self.candidates)], list(by_answer.values())[len(self.candidates) :]
        return replace(self, candidates=(*known, *sorted(new, key=_how_common, reverse=True)))

    @property
    def untold(self) -> list[Answer]:
        """The candidates whose behaviours are not told yet, in their order."""
        return [
            Answer(NO_KIND, self.pair.last_user_turn, each.text, not each.whole, each.tokens, each.likelihood)
            for each in self.candidates
            if each.shows is None
        ]

    def told(self, shows: Sequence[tuple[str, ...]]) -> Ranking:
        """The behaviours of those that were `untold`, in their order."""
        known = iter(shows)
        return replace(
            self,
            candidates=tuple(
                replace(each, shows=next(known)) if each.shows is None else each for each in self.candidates
            ),
        )

    def toggled(self, number: int) -> Ranking:
        """A candidate ranked below the others, or no longer ranked."""
        rest = tuple(other for other in self.order if other != number)
        return replace(self, order=rest if number in self.order else (*rest, number))

    def ranked(self, number: int, rank: int) -> Ranking:
        """A candidate at a rank from 1, or the last there is."""
        rest = [other for other in self.order if other != number]
        rest.insert(rank - 1, number)
        return replace(self, order=tuple(rest))

    def rank(self, number: int) -> int | None:
        """The rank of a candidate, from 1; None where it has none."""
        return self.order.index(number) + 1 if number in self.order else None

    def best_draft(self, side: PairSide) -> BestDraft | None:
        """The draft to take as a side of the pair: the one that came most often, or where all differ the likeliest a
        token. None where none is without a flaw and other than the pair's other answer."""
        drafts = [
            number
            for number, candidate in enumerate(self.candidates)
            if candidate.side is None and candidate.text != self._other(side) and not self.flaw(number, side)
        ]
        if not drafts:
            return None
        best = max(drafts, key=lambda number: _how_common(self.candidates[number]))
        return BestDraft(best, "commonest" if self.candidates[best].count > 1 else "likeliest")

    def flaw(self, number: int, side: PairSide) -> str:
        """What speaks against taking a draft as a side of the pair; empty for nothing, and for the pair's own.

        Nothing is known of drafts before their behaviours are `told`.
        """
        candidate = self.candidates[number]
        if candidate.side is not None or candidate.shows is None:
            return ""
        others = [each.shows or () for each in self.candidates if each.side not in (None, side)]
        return flaw_of(candidate.shows, others[0] if others else (), self.wanted)

    def _other(self, side: PairSide) -> str:
        return plain(self.pair.rejected if side == "chosen" else self.pair.chosen)

    def as_side(self, number: int, side: PairSide) -> RankedPairs:
        """The pair with a candidate as its chosen or rejected; nothing where it says the same already.

        What is the other side's answer changes places with it.
        """
        other: PairSide = "rejected" if side == "chosen" else "chosen"
        candidate = self.candidates[number]
        if candidate.text == plain(getattr(self.pair, side)):
            return RankedPairs()
        if candidate.text == plain(getattr(self.pair, other)):
            return RankedPairs(edited=self.pair.swapped())
        pair = replace(self.pair, source=self._source(candidate))
        if side == "chosen":
            return RankedPairs(edited=replace(pair, chosen=candidate.response))
        return RankedPairs(edited=replace(pair, rejected=candidate.response))

    def made(self) -> RankedPairs:
        """What saving comes to; nothing where fewer than two different answers are ranked.

        Where the one pair's better answer is this pair's chosen, this pair gets another rejected; where its worse one
        is this pair's rejected, another chosen; where they are this pair's the other way round, it is swapped.
        """
        ranked = self._different()
        if len(ranked) < 2:
            return RankedPairs()
        best, *others = ranked
        own = (plain(self.pair.chosen), plain(self.pair.rejected))
        ways = [(self.candidates[best].text, self.candidates[number].text) for number in others]
        if self.making == "one":
            if ways[-1][0] == own[0]:
                return self.as_side(others[-1], "rejected")
            if ways[-1][1] == own[1] or ways[-1] == own[::-1]:
                return self.as_side(best, "chosen")
            return RankedPairs(new=(self._pair(best, others[-1]),))
        return RankedPairs(
            edited=self.pair.swapped() if own[::-1] in ways else None,
            new=tuple(
                self._pair(best, number)
                for number, way in zip(others, ways, strict=True)
                if way not in (own, own[::-1])
            ),
        )

    def _different(self) -> list[int]:
        """The numbers of what is ranked, best first, each text once."""
        first: dict[str, int] = {}
        for number in self.order:
            first.setdefault(self.candidates[number].text, number)
        return list(first.values())

    def _pair(self, best: int, other: int) -> Pair:
        better, worse = self.candidates[best], self.candidates[other]
        extra = {name: value for name, value in self.pair.extra.items() if name in TEMPLATE_COLUMNS}
        return Pair(
            uuid.uuid4().hex[:12],
            self.pair.prompt,
            better.response,
            worse.response,
            split=self.pair.split,
            source=self._source(better, worse),
            extra=extra,
        )

    def _source(self, *drafted: AnswerCandidate) -> str:
        """The pair's source, and who drafted what is new in it."""
        known = self.pair.source.split("; ") if self.pair.source else []
        by = dict.fromkeys(f"{DRAFTED_BY} {candidate.by}" for candidate in drafted if candidate.by)
        return "; ".join([*known, *(words for words in by if words not in known)])


def _how_common(candidate: AnswerCandidate) -> tuple[int, float]:
    return candidate.count, -math.inf if candidate.mean is None else candidate.mean


def question_of(pair: Pair) -> tuple[Prompt, dict[str, Any]]:
    """A pair's prompt as the scorer takes it, and further arguments of the chat template.

    Raises `WorkbenchError` where there is no prompt, or none that a chat template takes.
    """
    if not plain(pair.prompt).strip():
        raise WorkbenchError("This pair has no prompt", "There is nothing that a model could answer.", "e writes one.")
    return as_prompt(pair.prompt), template_arguments(pair.extra)


def save(store: PairStore, identity: str, made: RankedPairs) -> list[int]:
    """Changes the pair with an id, and adds what is new below it, a step each; returns the rows that changed.

    Of the pair only what was drafted is changed: others may have changed the rest meanwhile. Raises `WorkbenchError`.
    """
    edited, rows = made.edited, list[int]()
    if edited is not None:
        rows = store.update([identity], lambda now: _with_answers(now, edited), DRAFTED)
    return rows + store.add(made.new, DRAFTED, after=store.rows.row(identity))


def save_all(store: PairStore, drafted: Mapping[str, Pair]) -> list[int]:
    """Gives the pairs with these ids the answers of others, as one step; returns the rows that changed.

    As in `save`, the rest of them stays. Raises `WorkbenchError`.
    """
    there = [identity for identity in drafted if store.rows.row(identity) is not None]
    return store.update(there, lambda now: _with_answers(now, drafted[now.id]), DRAFTED)


def _with_answers(pair: Pair, edited: Pair) -> Pair:
    made = replace(pair, chosen=edited.chosen, rejected=edited.rejected, source=edited.source)
    # Who accepted an answer by itself has not seen what it is now preferred over.
    return replace(made, status="new") if pair.status == "accepted" and pair.lacks and not made.lacks else made
