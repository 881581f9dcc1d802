"""Which column of a file is what: guessed from its first rows, for a person to look at before anything is imported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from workbench.pairs.importers import Imported, import_rows
from workbench.pairs.readers import RawRow, read_rows

SAMPLE = 5
"""How many pairs are shown."""
_ROWS = 200
_TEXTS = ("prompt", "chosen", "rejected")
_OTHER_NAMES: Mapping[str, tuple[str, ...]] = {
    "prompt": ("question", "instruction", "input", "query", "context", "messages", "conversation"),
    "chosen": ("good", "better", "preferred", "positive", "winner", "response_j", "accepted", "output_1"),
    "rejected": ("bad", "worse", "dispreferred", "negative", "loser", "response_k", "refused", "output_2"),
}


@dataclass(frozen=True, slots=True)
class Beginning:
    """The first rows of a file, and the columns that they have."""

    rows: tuple[RawRow, ...]
    columns: tuple[str, ...]

    def sample(self, mapping: Mapping[str, str]) -> Imported:
        """What the first rows become with a mapping {field: column}, `SAMPLE` pairs at most."""
        return import_rows(self.rows, mapping=mapping, limit=SAMPLE)


def beginning(path: Path) -> Beginning:
    """The first rows of a file; raises `WorkbenchError` where it cannot be read."""
    rows = tuple(islice(read_rows(path), _ROWS))
    columns = dict.fromkeys(str(name) for _, row in rows if isinstance(row, dict) for name in row)
    return Beginning(rows, tuple(columns))


def guess(columns: Sequence[str]) -> dict[str, str]:
    """The column of each of prompt, chosen and rejected, where a column has one of the names in use for it."""
    found: dict[str, str] = {}
    folded = {column.strip().casefold(): column for column in reversed(columns)}
    for field in _TEXTS:
        for name in (field, *_OTHER_NAMES[field]):
            near = [
                column for known, column in folded.items() if known in (name, f"{name}_response", f"response_{name}")
            ]
            if near and near[0] not in found.values():
                found[field] = near[0]
                break
    return found
