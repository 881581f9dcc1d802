"""Puts a suite into a workspace: whole or not at all, and never over another one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from workbench.errors import WorkbenchError
from workbench.files import write_whole
from workbench.pairs.lines import not_saved


def place(path: Path, rows: Iterable[Mapping[str, Any]], *, replace: bool = False) -> bool:
    """Writes the rows of a suite to `path`; false where they stand there already.

    Raises `WorkbenchError` where another suite of that name is there (unless `replace`), and where the disk refuses.
    """
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    try:
        if path.exists():
            if path.read_bytes() == text.encode():
                return False
            if not replace:
                raise exists_already(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text)
    except OSError as error:
        raise not_saved(path, error) from error
    return True


def exists_already(path: Path) -> WorkbenchError:
    """What to tell where another suite is in the way."""
    return WorkbenchError(
        f"A suite {path.stem!r} exists already",
        f"{path} would be overwritten.",
        "Give --replace, or move that file away. What is imported can have another name: --name NAME",
    )
