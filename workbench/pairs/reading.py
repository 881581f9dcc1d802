"""Which shape each raw row is of, what is read out of it, and in which words people are told of it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from workbench.pairs.formats import Contents, text_in
from workbench.pairs.lines import UnreadError, UnusableError
from workbench.pairs.pair import LABELS as NOTED
from workbench.pairs.pair import TEMPLATE_COLUMNS, TEXTS, Message, plain
from workbench.pairs.shape_readers import PAIRINGS, Answers, Pairing, Ranking, TieError
from workbench.pairs.shapes import (
    ALONE,
    CHOSEN,
    HISTORY,
    INPUT,
    PLAIN_SHAPES,
    REJECTED,
    SHAPES,
    SPECIAL_SHAPES,
    SYSTEM,
    Shape,
    between,
)
from workbench.pairs.text_turns import turns_in_text

_BESIDE = {"system": SYSTEM, "history": HISTORY, "input": INPUT}
"""What belongs to a prompt, and the names in use for it."""
MAPPABLE = (*TEXTS, "id", *NOTED, *_BESIDE, "label")
"""What --map can name."""

MARKED = "workbench_pair"
"""A column of our own exports: what a row has beside its texts belongs to none of them, whatever it is called."""
MISTAKABLE = frozenset(
    name.casefold()
    for roles in (_BESIDE, *(shape.needs for shape in SHAPES), *(shape.may for shape in SHAPES))
    for role, alternatives in roles.items()
    for name in alternatives
    if role not in ("label", "strength")
) - {*TEXTS, "completion"}
"""Names of columns that would be read as a part of a pair where nothing says that they are none."""
_OWN = frozenset({"id", *NOTED, *TEMPLATE_COLUMNS})
"""Columns that the workbench has a use for, whatever the shape."""
_MAY_TELL = re.compile(
    r"(?:^|[\W_])(?:better|best|safer|prefer\w*|winner\w*|labels?|choice|votes?|verdict|rank\w*|scores?|ratings?)(?:$|[\W_])",
    re.IGNORECASE,
)
"""Names of columns that may say which of two answers is the better one."""
_TOLD = frozenset({*CHOSEN, *REJECTED})
_MOST_PLANS = 1000


@dataclass(slots=True, eq=False)
class Plan:
    """How rows with certain columns are read: the column of each role, and what comes before the prompt.

    `used` are the columns that do not stay beside the pair, `unseen` those that no role uses and that held no text yet.
    `pairing` says which pairs become of several answers.
    """

    shape: Shape
    pairing: Pairing
    columns: Mapping[str, str]
    beside: Mapping[str, str]
    used: frozenset[str]
    unseen: set[str]
    other_labels: tuple[str, ...] = ()
    """Columns that may say which answer is better, too."""
    pairs: int = 0
    """How many pairs came of such rows."""

    @property
    def words(self) -> str:
        """What becomes of the columns."""
        named = {**self.columns, "pairs": PAIRINGS[self.pairing]}
        if "input" in self.beside:
            named["prompt"] = f"{named['prompt']} + {self.beside['input']}"
        pieces = self.shape.words.format_map(named).split("; ")
        if "prompt" in named and "{prompt}" not in self.shape.words:
            pieces.insert(0, f"prompt = {named['prompt']}")
        same = [name for name in TEXTS if f"{name} = {name}" in pieces]
        told = [f"{', '.join(same)} as named"] if same else []
        told += [piece for piece in pieces if piece not in {f"{name} = {name}" for name in same}]
        if "system" in self.beside:
            told.append(f"the {self.beside['system']} column becomes a system turn before the prompt")
        if "history" in self.beside:
            told.append(f"the turns of the {self.beside['history']} column come before the prompt")
        if self.other_labels:
            told.append(f"{self.other_labels[0]} may say otherwise (--map label={self.other_labels[0]} goes by it)")
        return "; ".join(told)


@dataclass(slots=True)
class Reading:
    """A row that was read: its fields by name, the three texts as they came, and what comes before the prompt."""

    plan: Plan
    fields: dict[str, Any]
    system: Any = None
    history: Any = None

    def before(self, texts: Contents) -> Contents:
        """The texts with the system column and the history before the prompt. Raises `UnusableError`."""
        if not self.system and not self.history:
            return texts
        turns = _history(self.history)
        if self.system:
            if not isinstance(self.system, str):
                raise UnusableError("has a system column that is no text; --map system= leaves it out")
            turns = (Message("system", self.system), *turns)
        prompt = texts.prompt
        if isinstance(prompt, str):
            return texts._replace(prompt="\n\n".join([*(turn.content for turn in turns), prompt]))
        if self.system and prompt[0].role == "system":
            if plain(prompt[:1]) != self.system:
                raise UnusableError("has a system column other than its system turn; --map system= leaves it out")
            turns, prompt = (prompt[0], *turns[1:]), prompt[1:]
        return texts._replace(prompt=(*turns, *prompt))


def _history(value: Any) -> tuple[Message, ...]:
    """Earlier turns: [[question, answer], …] as Alpaca has them, or messages; as JSON in a text, too."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise UnusableError("has a history that is no list of turns; --map history= leaves it out") from None
    if not value:
        return ()
    turns: list[Any] = []
    for each in value if isinstance(value, list | tuple) else [value]:
        if isinstance(each, list | tuple) and len(each) == 2:
            turns += [{"role": "user", "content": each[0]}, {"role": "assistant", "content": each[1]}]
        else:
            turns.append(each)
    history = text_in({"history": turns}, "history")
    assert not isinstance(history, str)
    return history or ()


class RowReader:
    """Reads rows by what `SHAPES` knows and a `mapping` {role: column} overrules; an empty column leaves a role out.

    `pairing` says which pairs become of a row that ranks several answers; `rankings` is how many rows did, and
    `of_rankings` how many pairs each choice makes of them. `unused` collects the columns with text that no row had a
    use for.
    """

    def __init__(self, mapping: Mapping[str, str], pairing: Pairing = "best-worst") -> None:
        self._mapping, self._pairing = dict(mapping), pairing
        self._noted = {name: column for name, column in mapping.items() if name == "id" or name in NOTED}
        self._roles = {name: column for name, column in mapping.items() if name not in self._noted}
        self._between: Shape | None = None
        if all(self._roles.get(name) for name in ("chosen", "rejected", "label")):
            self._between = between(self._roles.pop("chosen"), self._roles.pop("rejected"))
        self._plans: dict[tuple[str, ...], tuple[Plan, ...]] = {}
        self._forgotten: dict[str, Plan] = {}
        self.rankings = 0
        self.of_rankings: dict[Pairing, int] = dict.fromkeys(PAIRINGS, 0)
        self.unused: dict[str, None] = {}

    @property
    def plans(self) -> list[Plan]:
        """How the rows that became pairs were read."""
        now = (plan for plans in self._plans.values() for plan in plans if plan.pairs)
        return [*self._forgotten.values(), *now]

    def read(self, row: Mapping[str, Any]) -> list[Reading]:
        """What a row holds: one pair, or several where it ranks answers. Raises `UnusableError` with the reason, and
        `TieError` where it prefers no answer."""
        names = tuple([name for name, value in row.items() if value is not None])
        plans = self._plans.get(names)
        if plans is None:
            plans = self._planned(names, row)
        for plan in plans:
            values = {role: turns_in_text(row[column], column) for role, column in plan.columns.items()}
            if plan.shape.fits(values) and (plan.shape is not ALONE or self._is_alone(plan, row)):
                break
        else:
            raise UnreadError(_nothing_in(names))
        answers = plan.shape.read(values)
        if not isinstance(answers, Ranking):
            readings = [self._reading(plan, row, answers)]
        else:
            readings = [self._reading(plan, row, each) for each in answers.paired(self._pairing)]
            self.rankings += 1
            for pairing in PAIRINGS:
                self.of_rankings[pairing] += answers.count(pairing)
        if plan.unseen:
            for column in [column for column in plan.unseen if is_text(row[column])]:
                self.unused[column] = None
                plan.unseen.discard(column)
        return readings

    def _reading(self, plan: Plan, row: Mapping[str, Any], answers: Answers) -> Reading:
        fields = {name: value for name, value in row.items() if name not in plan.used}
        reading = Reading(plan, fields)
        prompt = answers.prompt
        if plan.beside:
            reading.system, reading.history = (
                row[plan.beside[role]] if role in plan.beside else None for role in ("system", "history")
            )
            prompt = self._with_input(plan, row, fields, prompt)
        fields.update(answers.columns)
        fields["prompt"], fields["chosen"], fields["rejected"] = prompt, answers.chosen, answers.rejected
        for name, column in self._noted.items():
            if column:
                fields[name] = row[column]
        return reading

    def _with_input(self, plan: Plan, row: Mapping[str, Any], fields: dict[str, Any], prompt: Any) -> Any:
        column = plan.beside.get("input")
        if column is None or not is_text(row[column]):
            return prompt
        if isinstance(prompt, str) and isinstance(row[column], str):
            return f"{prompt}\n{row[column]}"
        # Beside turns it is whatever the data set's author meant by it: it stays a column, and is named.
        fields[column] = row[column]
        self.unused[column] = None
        return prompt

    def _is_alone(self, plan: Plan, row: Mapping[str, Any]) -> bool:
        """Whether nothing else in a row could be an answer, or people said that there is none."""
        if all(self._roles.get(name) == "" for name in ("chosen", "rejected")):
            return True
        return not any(is_text(row[column]) for column in plan.unseen)

    def _planned(self, names: tuple[str, ...], row: Mapping[str, Any]) -> tuple[Plan, ...]:
        for column in self._mapping.values():
            if column and column not in row:
                raise UnreadError(f"has no column {column!r}; its columns are {', '.join(map(repr, row))}")
        self._refuse_unread_labels(names)
        plans = tuple(filter(None, (self._plan(shape, names) for shape in self._candidates())))
        if len(self._plans) >= _MOST_PLANS:
            for plan in (plan for plans in self._plans.values() for plan in plans if plan.pairs):
                if (kept := self._forgotten.setdefault(plan.words, plan)) is not plan:
                    kept.pairs += plan.pairs
            self._plans.clear()
        self._plans[names] = plans
        return plans

    def _candidates(self) -> Sequence[Shape]:
        chosen, rejected, label = (self._roles.get(name) for name in ("chosen", "rejected", "label"))
        if self._between is not None:
            return [self._between]
        if label:
            return [shape for shape in SHAPES if "label" in shape.needs]
        if chosen is not None or rejected is not None:
            return PLAIN_SHAPES
        return SHAPES if label is None else [shape for shape in SHAPES if "label" not in shape.needs]

    def _refuse_unread_labels(self, names: Sequence[str]) -> None:
        """Raises where --map says which answer is chosen, and a column may say something else."""
        mapped = [self._roles[name] for name in ("chosen", "rejected") if self._roles.get(name)]
        if not mapped or "label" in self._roles or all(name.strip().casefold() in _TOLD for name in mapped):
            return
        labels = [name for name in names if name not in self._mapping.values() and _MAY_TELL.search(name)]
        if labels:
            raise UnreadError(
                f"has {_listed(labels)}, which may say row by row which answer is better, where --map"
                f" chosen={mapped[0]} says it of all; --map label={labels[0]} goes by it, --map label= sets it aside"
            )

    def _plan(self, shape: Shape, names: Sequence[str]) -> Plan | None:
        mapped = {column for column in self._roles.values() if column}
        free = {
            name.strip().casefold(): name
            for name in reversed(names)
            if name not in mapped and name not in self._mapping and name not in self._noted.values()
        }
        if MARKED in names:
            free = {name: column for name, column in free.items() if name not in MISTAKABLE}
        columns: dict[str, str] = {}
        for role, alternatives in (*shape.needs.items(), *shape.may.items()):
            column = self._column(role, alternatives, names, free, columns)
            if column:
                columns[role] = column
            elif role in shape.needs:
                return None
        if any(free.get(name) for name in shape.without):
            return None
        if self._roles.get("prompt") and "prompt" not in columns:
            return None
        beside = {
            role: column
            for role, alternatives in _BESIDE.items()
            if (column := self._column(role, alternatives, names, free, columns))
            and (role != "input" or "prompt" in columns)
        }
        kept = {columns[role] for role in shape.kept if role in columns}
        used = {*columns.values(), *beside.values(), *mapped, *self._noted.values(), *self._mapping, MARKED} - kept
        unseen = {name for name in names if name not in used and name not in _OWN and name not in kept}
        unseen |= {
            name for name in names if name in self._mapping and name not in (*columns.values(), *beside.values())
        }
        others = sorted(name for name in unseen if _MAY_TELL.search(name)) if "label" in columns else []
        return Plan(shape, self._pairing, columns, beside, frozenset(used), unseen, tuple(others))

    def _column(
        self,
        role: str,
        alternatives: Sequence[str],
        names: Sequence[str],
        free: Mapping[str, str],
        taken: Mapping[str, str],
    ) -> str | None:
        if role in self._roles:
            mapped = self._roles[role]
            return mapped if mapped in names else None
        for name in alternatives:
            column = free.get(name.casefold())
            if column is not None and column not in taken.values():
                return column
        return None


def is_text(value: Any) -> bool:
    """Whether a value holds words, or messages."""
    if isinstance(value, str):
        return bool(value.strip())
    return isinstance(value, list) and bool(value) and isinstance(value[0], str | Mapping)


def _nothing_in(names: Sequence[str]) -> str:
    labels = [name for name in names if _MAY_TELL.search(name)]
    if not labels:
        return "has no chosen and rejected"
    told = f"{_listed(labels)}, which may say which answer is better"
    both = "--map chosen=ONE --map rejected=OTHER beside it name the two answers"
    return f"has no chosen and rejected, and {told}: --map label=COLUMN reads it, and where that is not enough, {both}"


def _listed(names: Sequence[str]) -> str:
    word = "the columns" if len(names) > 1 else "the column"
    return f"{word} {', '.join(map(repr, names[:5]))}"


LABELLED = frozenset(
    name for shape in SPECIAL_SHAPES for role in ("first", "answers") for name in shape.needs.get(role, ())
)
"""Columns of answers that a label, a score or a rank tells apart, where a pair still has them."""


def labelled_the_other_way(chosen: str, rejected: str, columns: Mapping[str, Any]) -> bool:
    """Whether the columns that a pair has beside its answers hold both of them, and prefer the rejected one."""
    if not LABELLED & columns.keys():
        return False
    try:
        said = _labels().read({"prompt": "", **columns})[0].fields
    except (UnusableError, TieError):
        return False
    better, worse = (said[side] for side in ("chosen", "rejected"))
    return isinstance(better, str) and (better.strip(), str(worse).strip()) == (rejected.strip(), chosen.strip())


@cache
def _labels() -> RowReader:
    return RowReader({})
