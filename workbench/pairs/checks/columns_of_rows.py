"""The columns that checks read, straight out of a data set's own: no pair is made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from workbench.pairs import strength
from workbench.pairs.arrow import ints, strings
from workbench.pairs.checks.text_columns import (
    SIGNS,
    TURN,
    AloneAnswer,
    TextColumns,
    alone_shape,
    has_empty_turn,
    joined,
    numbers,
    shape,
)
from workbench.pairs.columns import LineBlock
from workbench.pairs.pair import TEMPLATE_COLUMNS, TEXTS
from workbench.pairs.reading import LABELLED
from workbench.pairs.rows import Rows

_LOOKED_AT = 200
"""Pairs that are asked whether the file has columns that the workbench does not know."""


def columns_of(rows: Rows) -> TextColumns:
    """The columns of the pairs that train, in the order of the file. `rows` must not change meanwhile."""
    columns: dict[str, list[str]] = {name: [] for name in (*TEXTS, "shape")}
    empty: set[int] = set()
    for block in rows.base.blocks:
        empty |= _read(block, columns)
    for column in columns.values():
        column.extend([""] * (len(rows) - len(column)))
    for row in np.flatnonzero(rows.swapped).tolist():
        columns["chosen"][row], columns["rejected"][row] = columns["rejected"][row], columns["chosen"][row]
        prompt, *sides = columns["shape"][row].split("|")
        columns["shape"][row] = "|".join((prompt, *sides[::-1]))
    for row in rows.texts:
        if rows.alive[row]:
            pair = rows.pair(row)
            for name in TEXTS:
                columns[name][row] = joined(getattr(pair, name))
            columns["shape"][row] = shape(pair)
            (empty.add if has_empty_turn(pair) else empty.discard)(row)
    kept = rows.trainable.tolist()
    statuses, sides = _values(rows, "status"), _values(rows, "split")
    return TextColumns(
        ids=rows.ids(rows.trainable),
        prompts=[columns["prompt"][row] for row in kept],
        chosen=[columns["chosen"][row] for row in kept],
        rejected=[columns["rejected"][row] for row in kept],
        shapes=[columns["shape"][row] for row in kept],
        statuses=[statuses[row] for row in kept],
        splits=[sides[row] or None for row in kept],
        empty_turns=[index for index, row in enumerate(kept) if row in empty],
        extras=_extras(rows, kept),
        prompt_at=lambda index: rows.text(kept[index], "prompt"),
        total=len(rows.order),
        undrafted=rows.ids(rows.to_draft),
        alone=_alone(rows, columns),
        words=(rows.words["chosen"][kept].tolist(), rows.words["rejected"][kept].tolist()),
    )


def _alone(rows: Rows, columns: dict[str, list[str]]) -> list[AloneAnswer]:
    """The answers that are judged by themselves; `columns` are those of all rows."""
    to_draft = rows.to_draft
    found = []
    for row in to_draft[rows.answered[to_draft]].tolist():
        good = bool(rows.words["chosen"][row])
        side = "chosen" if good else "rejected"
        roles = alone_shape(columns["shape"][row], good=good)
        found.append(AloneAnswer(rows.id(row), columns["prompt"][row], columns[side][row], roles, good))
    return found


def _read(block: LineBlock, columns: dict[str, list[str]]) -> set[int]:
    """Adds the texts and shapes of a block's lines to `columns`; returns the lines with an empty turn among others."""
    begin = len(columns["shape"])
    if not pa.types.is_list(block.texts["prompt"].type):
        for name in TEXTS:
            columns[name] += block.texts[name].to_pylist()
        columns["shape"] += [""] * len(block.texts["prompt"])
        return set()
    empty: set[int] = set()
    roles = []
    for name in TEXTS:
        turns = block.texts[name]
        contents = turns.values.field(1)
        columns[name] += pc.binary_join(pa.ListArray.from_arrays(turns.offsets, contents), _scalar(TURN)).to_pylist()
        roles.append(
            pc.binary_join(pa.ListArray.from_arrays(turns.offsets, _signs(turns.values.field(0))), _scalar(""))
        )
        bounds = ints(turns.offsets)
        blank = numbers(pc.indices_nonzero(pc.match_substring_regex(contents, r"^\s*$")))
        lines = np.searchsorted(bounds, blank, side="right") - 1
        lines = lines[(lines >= 0) & (lines < len(turns))]
        empty |= set((begin + lines[np.diff(bounds)[lines] > 1]).tolist())
    columns["shape"] += pc.binary_join_element_wise(*roles, _scalar("|")).to_pylist()
    return empty


def _signs(roles: Any) -> Any:
    coded = roles.dictionary_encode()
    return strings([SIGNS[role] for role in coded.dictionary.to_pylist()]).take(coded.indices)


def _scalar(text: str) -> Any:
    return strings([text])[0]


def _values(rows: Rows, name: str) -> list[str]:
    values = rows.vocabularies[name].values
    return [values[code] for code in rows.labels[name].tolist()]


def _extras(rows: Rows, kept: list[int]) -> dict[int, Mapping[str, Any]]:
    """The unknown columns of the pairs; none where the first pairs have none of those that checks know."""
    telling = strength.COLUMNS | LABELLED | set(TEMPLATE_COLUMNS)
    if not any(telling & rows.pair(row).extra.keys() for row in kept[:_LOOKED_AT]):
        return {}
    return {index: extra for index, row in enumerate(kept) if (extra := rows.pair(row).extra)}
