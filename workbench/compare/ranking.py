"""Answers to one prompt, put in order by a person: a model's drafts beside the pair's own, and what pairs they make."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from workbench.pairs.pair import Message, Pair, Text, plain
from workbench.pairs.template import TEMPLATE_COLUMNS

Making = Literal["one", "each"]
"""One pair, the best over the worst; or one for each of the others, the best over it."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An answer. `by` is what drafted it, `count` how many times; both say nothing of the pair's own (`side`)."""

    response: Text
    by: str = ""
    count: int = 1
    side: Literal["chosen", "rejected"] | None = None

    @property
    def text(self) -> str:
        """The answer's words."""
        return plain(self.response)


@dataclass(frozen=True, slots=True)
class Made:
    """What a ranking comes to: the pair with one of its answers replaced, or new pairs beside it."""

    edited: Pair | None = None
    new: tuple[Pair, ...] = ()

    def __bool__(self) -> bool:
        return self.edited is not None or bool(self.new)


@dataclass(frozen=True, slots=True)
class Ranking:
    """Candidates, and the numbers of those that are ranked, best first. Changing it gives another one."""

    pair: Pair
    candidates: tuple[Candidate, ...]
    order: tuple[int, ...] = ()
    making: Making = "one"

    @classmethod
    def of(cls, pair: Pair) -> Ranking:
        """A pair's own answers, chosen ranked best; an empty one is none."""
        sides: tuple[Literal["chosen"], Literal["rejected"]] = ("chosen", "rejected")
        own = [Candidate(getattr(pair, side), side=side) for side in sides]
        there = tuple(each for each in own if each.text.strip())
        return cls(pair, there, (0,) if there and there[0].side == "chosen" else ())

    def with_drafts(self, texts: Iterable[str], by: str) -> Ranking:
        """More drafts behind those there are; one that is there already is counted, an empty one left out."""
        found = {(each.text, each.by): each for each in self.candidates}
        for text in texts:
            known = found.get((text, by))
            if known is not None:
                found[text, by] = replace(known, count=known.count + 1)
            elif text.strip():
                response: Text = (Message("assistant", text),) if self.pair.conversational else text
                found[text, by] = Candidate(response, by)
        return replace(self, candidates=tuple(found.values()))

    def toggled(self, number: int) -> Ranking:
        """A candidate ranked below the others, or no longer ranked."""
        rest = tuple(each for each in self.order if each != number)
        return replace(self, order=rest if number in self.order else (*rest, number))

    def ranked(self, number: int, rank: int) -> Ranking:
        """A candidate at a rank from 1, or the last there is."""
        rest = [each for each in self.order if each != number]
        rest.insert(rank - 1, number)
        return replace(self, order=tuple(rest))

    def rank(self, number: int) -> int | None:
        """The rank of a candidate, from 1; None where it has none."""
        return self.order.index(number) + 1 if number in self.order else None

    def made(self) -> Made:
        """What saving comes to; nothing where fewer than two different answers are ranked.

        Of one pair whose chosen is this pair's own, this pair gets another rejected answer, and the other way round.
        """
        if len(self.order) < 2:
            return Made()
        best, *below = (self.candidates[number] for number in self.order)
        others = [each for each in below if each.text != best.text]
        if not others:
            return Made()
        if self.making == "one":
            worst = others[-1]
            match best.side, worst.side:
                case "chosen", "rejected":
                    return Made()
                case "chosen", _:
                    return Made(edited=replace(self.pair, rejected=worst.response, source=self._source(worst)))
                case _, "rejected":
                    return Made(edited=replace(self.pair, chosen=best.response, source=self._source(best)))
            return Made(new=(self._pair(best, worst),))
        return Made(
            new=tuple(self._pair(best, each) for each in others if (best.side, each.side) != ("chosen", "rejected"))
        )

    def _pair(self, best: Candidate, other: Candidate) -> Pair:
        extra = {name: value for name, value in self.pair.extra.items() if name in TEMPLATE_COLUMNS}
        return Pair(
            uuid.uuid4().hex[:12],
            self.pair.prompt,
            best.response,
            other.response,
            split=self.pair.split,
            source=self._source(best, other),
            extra=extra,
        )

    def _source(self, *drafted: Candidate) -> str:
        by = dict.fromkeys(f"drafted by {each.by}" for each in drafted if each.by)
        return "; ".join([*([self.pair.source] if self.pair.source else []), *by])
