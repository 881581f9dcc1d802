"""Deleted runs: moved aside in one step, and brought back in one."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

from workbench.errors import WorkbenchError
from workbench.runs.folder import RunFolder, runs_in
from workbench.runs.process import alive, exclusive
from workbench.text import quoted

TRASH = ".trash"
"""The folder beside the runs that deleted ones are moved to."""


def discard(runs: Path, folder: RunFolder) -> Path:
    """Moves a run to the trash of `runs` and returns where it lies: `<id>`, or `<id>-2` where one lies there already.

    Raises `WorkbenchError` where the run has a worker, or the disk refuses.
    """
    try:
        with exclusive(folder):
            if alive(folder):
                raise WorkbenchError(
                    "The run is running", f"{folder.id} has a worker.", f"First: workbench stop {quoted(folder.id)}"
                )
            (runs / TRASH).mkdir(exist_ok=True)
            target = _free(runs / TRASH / folder.id)
            folder.path.rename(target)
    except OSError as error:
        raise WorkbenchError(
            "The run could not be moved to the trash", f"{folder.path}: {error}.", "Check the folder's permissions."
        ) from error
    return target


def restore(path: Path) -> RunFolder:
    """Brings a run back from the trash, under its name there. Raises `WorkbenchError` where that is taken."""
    target = path.parent.parent / path.name
    if target.exists():
        raise WorkbenchError("The run is there already", f"{target} exists.", "Delete or rename that one first.")
    try:
        path.rename(target)
    except OSError as error:
        raise WorkbenchError(
            "The run could not be restored", f"{path}: {error}.", "Check the folder's permissions."
        ) from error
    return RunFolder(target)


def discarded(runs: Path) -> list[RunFolder]:
    """The runs in the trash of `runs`, by name."""
    return runs_in(runs / TRASH)


def empty(runs: Path) -> int:
    """Deletes for good what lies in the trash of `runs`; returns how many runs that were. Raises `WorkbenchError`."""
    count = len(discarded(runs))
    try:
        if (runs / TRASH).exists():
            shutil.rmtree(runs / TRASH)
    except OSError as error:
        raise WorkbenchError("The trash could not be emptied", str(error), "Check the folder's permissions.") from error
    return count


def _free(path: Path) -> Path:
    numbered = (path.with_name(f"{path.name}-{number}") for number in itertools.count(2))
    return next(candidate for candidate in itertools.chain([path], numbered) if not candidate.exists())
