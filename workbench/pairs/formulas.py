"""Cells of CSV that a spreadsheet would take for formulas: a guard before them on the way out, taken off on the way in.

A cell that begins so may run a program or send what stands beside it away, once somebody opens the file
(https://owasp.org/www-community/attacks/CSV_Injection). The guard is an apostrophe, which makes text of it. A file that
has guards has a column that says so, and nobody else's apostrophes are touched.
"""

from __future__ import annotations

import re

GUARDED = "workbench_guarded"
"""The column of a CSV file whose cells and column names have guards."""
_GUARD = "'"
_FORMULA = re.compile(rf"{_GUARD}*(?:[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]|{GUARDED}\Z)")
"""How a cell begins that gets a guard: as formulas do, as one that has guards by itself, or as the column is named."""


def is_formula(cell: str) -> bool:
    """Whether the cell gets a guard."""
    return _FORMULA.match(cell) is not None


def guarded(cell: str) -> str:
    """The cell with a guard before it, where it needs one."""
    return f"{_GUARD}{cell}" if is_formula(cell) else cell


def unguarded(cell: str) -> str:
    """The cell that `guarded` was given."""
    return cell[len(_GUARD) :] if cell.startswith(_GUARD) and is_formula(cell) else cell
