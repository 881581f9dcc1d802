"""Takes in what another program made of the file: its version, with what was edited here and is not in it yet.

Three versions meet: the one both began from (what the journal's steps say was there *before*), ours (what they say was
there *after*), and theirs (the file). A field of a pair that only one side changed is taken from that side; one that
both changed differently is a conflict, and stays as the file has it until someone decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from workbench.pairs.journal import Op
from workbench.pairs.lines import pair_in
from workbench.pairs.pair import EDITABLE, LABELS, TEMPLATE_COLUMNS, TEXTS, Pair, to_line, with_values
from workbench.pairs.rows import Rows
from workbench.pairs.steps import SWAP, EditStep, FieldChange, checksum


@dataclass(frozen=True, slots=True)
class Conflict:
    """A pair that was changed here and by another program, in `fields`. None: removed, or (base) new."""

    id: str
    fields: tuple[str, ...]
    mine: Pair | None
    theirs: Pair | None
    base: Pair | None

    def to_json(self) -> dict[str, Any]:
        """The conflict as JSON holds it."""
        versions = {name: getattr(self, name) for name in ("mine", "theirs", "base")}
        lines = {name: None if pair is None else to_line(pair) for name, pair in versions.items()}
        return {"fields": self.fields, **lines}

    @classmethod
    def from_json(cls, identity: str, value: dict[str, Any]) -> Conflict:
        """The conflict that `to_json` made `value` of."""
        pairs = {
            name: None if value[name] is None else pair_in(value[name].encode()) for name in ("mine", "theirs", "base")
        }
        return cls(identity, tuple(value["fields"]), **pairs)


def take_in(theirs: Rows, ops: Sequence[Op], *, saved: int, mine: Rows | None) -> list[Conflict]:
    """Applies to `theirs`, a file as it was read, the ops that no version of the file has had (those after `saved`).

    Returns the conflicts: pairs that `ops` changed and that are not in the end as they were left, the ops before
    `saved` included (another program put an older version back). `mine` is how the pairs were left, None where only
    the ops tell that (a program that ended without saving).
    """
    _replay(theirs, [op for op in ops if op.n > saved])
    theirs.settle_kind()
    befores, afters, gone = _folded(ops)
    conflicts = []
    for identity, present in gone.items():
        if present is (theirs.row(identity) is not None):
            continue
        left = mine.row(identity) if mine else None
        row = theirs.row(identity)
        ours = mine.pair(left) if mine and left is not None else None
        if ours is not None or row is not None:
            conflicts.append(Conflict(identity, (), ours, None if row is None else theirs.pair(row), None))
    differing: dict[str, list[str]] = {}
    for identity, fields in afters.items():
        if identity in gone:
            continue
        row = theirs.row(identity)
        for field, after in fields.items():
            if row is None or _value(theirs, row, field) != after:
                differing.setdefault(identity, []).append(field)
    for identity, names in differing.items():
        conflict = _conflict(identity, names, theirs, mine, befores[identity], afters[identity])
        if conflict is not None:
            conflicts.append(conflict)
    return conflicts


def _replay(theirs: Rows, ops: Sequence[Op]) -> None:
    """Applies ops as what they come to for each pair, so that no state in between is taken for theirs.

    Pairs that came or went, or were both swapped and rewritten, are taken through one op after the other.
    """
    befores, afters, there = _folded(ops)
    one_by_one = set(there) | {
        identity for identity, fields in befores.items() if SWAP in fields and not fields.keys().isdisjoint(TEXTS)
    }
    net: dict[str, list[tuple[str, Any, Any]]] = {}
    for identity, fields in befores.items():
        if identity not in one_by_one:
            for field, before in fields.items():
                if before != afters[identity][field]:
                    net.setdefault(field, []).append((identity, before, afters[identity][field]))
    if net:
        theirs.apply(EditStep("", 0, tuple(FieldChange.of(field, values) for field, values in net.items())))
    if not one_by_one:
        return
    for op in ops:
        changes = []
        for change in op.step.changes:
            values = zip(change.ids, change.before, change.after, strict=True)
            if changed := [value for value in values if value[0] in one_by_one]:
                changes.append(FieldChange.of(change.field, changed))
        theirs.apply(replace(op.step, changes=tuple(changes)))


_Fields = dict[str, dict[str, Any]]


def _folded(ops: Sequence[Op]) -> tuple[_Fields, _Fields, dict[str, bool]]:
    """Of each pair that ops changed: its fields before all of them and after, and whether it is to be there at all."""
    befores: _Fields = {}
    afters: _Fields = {}
    there: dict[str, bool] = {}
    for op in ops:
        for line in op.step.removed:
            there[line.id] = False
            afters.pop(line.id, None)
        for line in op.step.added:
            there[line.id] = True
        for change in op.step.changes:
            for identity, before, after in zip(change.ids, change.before, change.after, strict=True):
                befores.setdefault(identity, {}).setdefault(change.field, before)
                fields = afters.setdefault(identity, {})
                if change.field == SWAP:
                    chosen, rejected = fields.pop("chosen", None), fields.pop("rejected", None)
                    fields |= {"rejected": chosen} if chosen is not None else {}
                    fields |= {"chosen": rejected} if rejected is not None else {}
                elif change.field == "chosen":
                    fields.pop(SWAP, None)
                fields[change.field] = after
    return befores, afters, there


def _value(rows: Rows, row: int, field: str) -> Any:
    if field in LABELS:
        return rows.label(row, field)
    if field in TEMPLATE_COLUMNS:
        return rows.column(row, field)
    return checksum(rows.text(row, "chosen")) if field == SWAP else rows.text(row, field)


def _conflict(
    identity: str, names: list[str], theirs: Rows, mine: Rows | None, before: dict[str, Any], after: dict[str, Any]
) -> Conflict | None:
    row = theirs.row(identity)
    other = None if row is None else theirs.pair(row)
    left = mine.row(identity) if mine else None
    if mine is not None and left is not None:
        ours = mine.pair(left)
    elif other is not None:
        ours = _with(other, {name: after[name] for name in names})
    else:
        return None
    shown = tuple(
        dict.fromkeys(field for name in names for field in (("chosen", "rejected") if name == SWAP else (name,)))
    )
    return Conflict(identity, shown, ours, other, _with(ours, before))


def _with(pair: Pair, fields: dict[str, Any]) -> Pair:
    changed = with_values(pair, {name: value for name, value in fields.items() if name in EDITABLE})
    return changed.swapped() if SWAP in fields else changed
