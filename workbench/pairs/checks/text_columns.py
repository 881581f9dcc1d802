"""The pairs as columns of text, taken out once for all checks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from workbench.pairs.pair import TEMPLATE_COLUMNS, Message, Pair, Text, column_text

SIGNS = {"system": "s", "developer": "d", "user": "u", "assistant": "a", "tool": "t"}
"""How roles are written in a shape."""
_SURROGATE = re.compile("[\ud800-\udfff]")
TURN = "\n\n"
"""Between the turns of a prompt or response."""
_NOTHING = ("",) * len(TEMPLATE_COLUMNS)


@dataclass(frozen=True, slots=True)
class AloneAnswer:
    """An answer that is judged good or bad by itself, without another; `shape` has the roles of prompt and answer."""

    id: str
    prompt: str
    answer: str
    shape: str
    good: bool

    @classmethod
    def of(cls, pair: Pair) -> AloneAnswer:
        """The answer of a pair that has one alone."""
        good = pair.alone is True
        answer = pair.chosen if good else pair.rejected
        return cls(pair.id, joined(pair.prompt), joined(answer), alone_shape(shape(pair), good=good), good)


@dataclass(frozen=True)
class TextColumns:
    """Pairs side by side: entry i of every list is of pair i.

    `prompts`, `chosen` and `rejected` are plain texts, turns parted by a blank line; `shapes` the roles of the turns
    ("su|a|a": a system and a user turn, answered twice; empty for plain text). `empty_turns` are the indices of pairs
    with an empty turn among others that are not. `total` counts dropped pairs too, which are left out. `words`, where
    they are known, are those of chosen and rejected; `extras` the unknown columns, by index, of pairs that have any.
    """

    ids: Sequence[str]
    prompts: Sequence[str]
    chosen: Sequence[str]
    rejected: Sequence[str]
    shapes: Sequence[str]
    statuses: Sequence[str]
    splits: Sequence[str | None]
    empty_turns: Sequence[int]
    extras: Mapping[int, Mapping[str, Any]]
    prompt_at: Callable[[int], Text]
    total: int
    words: tuple[Sequence[int], Sequence[int]] | None = None
    undrafted: Sequence[str] = ()
    """The ids of the pairs that lack an answer. They are not among the others: they never train as pairs."""
    alone: Sequence[AloneAnswer] = ()
    """Of these, the ones that have an answer, which is judged by itself."""

    @classmethod
    def of(cls, pairs: Iterable[Pair]) -> TextColumns:
        """The columns of `pairs`. (`columns_of_rows.columns_of` is ten times as fast for a file.)"""
        every = list(pairs)
        there = [pair for pair in every if pair.status != "dropped"]
        kept = [pair for pair in there if not pair.lacks]
        return cls(
            ids=[pair.id for pair in kept],
            prompts=[joined(pair.prompt) for pair in kept],
            chosen=[joined(pair.chosen) for pair in kept],
            rejected=[joined(pair.rejected) for pair in kept],
            shapes=[shape(pair) for pair in kept],
            statuses=[pair.status for pair in kept],
            splits=[pair.split for pair in kept],
            empty_turns=[index for index, pair in enumerate(kept) if has_empty_turn(pair)],
            extras={index: pair.extra for index, pair in enumerate(kept) if pair.extra},
            prompt_at=lambda index: kept[index].prompt,
            total=len(every),
            undrafted=[pair.id for pair in there if pair.lacks],
            alone=[AloneAnswer.of(pair) for pair in there if pair.alone is not None],
        )

    def __len__(self) -> int:
        return len(self.ids)

    def given(self, index: int) -> tuple[str, ...]:
        """What the chat template is given beside a pair's turns, as JSON."""
        extra = self.extras.get(index)
        return tuple(column_text(extra, name) for name in TEMPLATE_COLUMNS) if extra else _NOTHING

    @property
    def fields(self) -> dict[str, Sequence[str]]:
        """The texts by the name of their field."""
        return {"prompt": self.prompts, "chosen": self.chosen, "rejected": self.rejected}

    @cached_property
    def arrow(self) -> dict[str, Any]:
        """The texts as Arrow arrays, for searching; half surrogates, which it cannot hold, become NULs."""
        return {name: _array(texts) for name, texts in self.fields.items()}

    def forget_arrow(self) -> None:
        """Gives the memory of `arrow` back, until it is asked for again."""
        self.__dict__.pop("arrow", None)

    def matching(self, pattern: str, *fields: str, ignore_case: bool = False) -> list[int]:
        """The indices of the pairs in which a regular expression (RE2) matches a field, or any where none is named."""
        import numpy as np
        import pyarrow.compute as pc

        matches = np.zeros(len(self), bool)
        for name in fields or tuple(self.fields):
            hits = pc.match_substring_regex(self.arrow[name], pattern, ignore_case=ignore_case)
            matches[numbers(pc.indices_nonzero(hits))] = True
        indices: list[int] = np.flatnonzero(matches).tolist()
        return indices

    def named(self, indices: Iterable[int]) -> tuple[str, ...]:
        """The ids at these indices."""
        return tuple(self.ids[index] for index in indices)


def numbers(column: Any) -> Any:
    """The indices that `indices_nonzero` gives. (`to_numpy` would import pandas, which takes half a second.)"""
    import numpy as np

    return np.frombuffer(column.buffers()[1], np.uint64)[: len(column)].astype(np.int64) if len(column) else []


def _array(texts: Sequence[str]) -> Any:
    from workbench.pairs.arrow import strings

    try:
        return strings(texts)
    except UnicodeEncodeError:
        return strings([_SURROGATE.sub("\0", text) for text in texts])


def joined(text: Text) -> str:
    """All turns of a text."""
    if isinstance(text, str):
        return text
    return text[0].text if len(text) == 1 else TURN.join([turn.text for turn in text])


def shape(pair: Pair) -> str:
    """The roles of a pair's turns; empty for plain text."""
    if isinstance(pair.prompt, str) or isinstance(pair.chosen, str) or isinstance(pair.rejected, str):
        return ""
    return f"{_roles(pair.prompt)}|{_roles(pair.chosen)}|{_roles(pair.rejected)}"


def _roles(turns: tuple[Message, ...]) -> str:
    if len(turns) == 1:
        return SIGNS[turns[0].role]
    return "".join([SIGNS[turn.role] for turn in turns])


def alone_shape(roles: str, *, good: bool) -> str:
    """The shape of prompt and the one answer that a pair has, chosen where it is `good`."""
    prompt, _, sides = roles.partition("|")
    chosen, _, rejected = sides.partition("|")
    return f"{prompt}|{chosen if good else rejected}"


def has_empty_turn(pair: Pair) -> bool:
    """Whether a turn among several is empty."""
    for part in (pair.prompt, pair.chosen, pair.rejected):
        if len(part) > 1 and not isinstance(part, str):
            for turn in part:
                if not turn.text or turn.text.isspace():
                    return True
    return False
