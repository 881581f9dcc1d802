"""Writes a folder or a file beside its destination, and puts it there in one step once it is whole."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from workbench.engine.training.disk_faults import no_room
from workbench.errors import WorkbenchError
from workbench.runs.checkpoints import flush


def check_destination(to: Path, *, force: bool, folder: bool) -> None:
    """Raises `WorkbenchError` where something lies at `to` that may not be replaced.

    With `force` a model that was written there before may be: a file, or a folder with a config.json and no folders.
    """
    if folder and to.is_dir():
        names = [path.name for path in to.iterdir()]
        if not names:
            return
        ours = "config.json" in names and not any(
            path.is_dir() for path in to.iterdir() if path.name != "additional_chat_templates"
        )
        if not force or not ours:
            raise WorkbenchError(
                "The folder is not empty",
                f"{to} has {len(names)} entries{'' if ours else ', and they are no model'}.",
                "Name a new folder" + (", or replace the model there with --force." if ours else "."),
            )
    elif to.is_dir():
        raise WorkbenchError("That is a folder", f"{to} is one.", "Name a file, such as model.gguf.")
    elif to.exists() and (folder or not force):
        way = "Name a new folder." if folder else "Name another file, or replace it with --force."
        raise WorkbenchError("There is a file already", f"{to} exists.", way)


@contextmanager
def written(to: Path, *, keep: bool = True) -> Iterator[Path]:
    """A path beside `to` to write to; what is there when the block ends well is at `to` then, on disk.

    When it does not, an interrupt included, nothing is left; nor is it with `keep` False. What a process that was
    killed left there goes too. Raises `WorkbenchError` where the disk is full by then.
    """
    _sweep(to)
    to.parent.mkdir(parents=True, exist_ok=True)
    unfinished = to.with_name(f".{to.name}.{os.getpid()}.tmp")
    try:
        yield unfinished
        if not keep:
            return
        if unfinished.is_dir():
            flush(unfinished)
        else:
            with unfinished.open("rb") as file:
                os.fsync(file.fileno())
        _put(unfinished, to)
    except Exception as error:
        if not no_room(error):
            raise
        raise WorkbenchError(
            "The disk is full",
            f"{to} could not be written; nothing of it is left.",
            "Free some space there, or name a place on a larger disk.",
        ) from error
    finally:
        _remove(unfinished)


def _put(unfinished: Path, to: Path) -> None:
    before = to.with_name(f".{to.name}.{os.getpid()}.old")
    replaced = to.is_dir()
    if replaced:
        to.rename(before)
    try:
        unfinished.replace(to)
    except OSError:
        if replaced:
            before.rename(to)
        raise
    _remove(before)


def _sweep(to: Path) -> None:
    for path in to.parent.iterdir() if to.parent.is_dir() else ():
        pid = path.name.removeprefix(f".{to.name}.").removesuffix(".tmp")
        if path.name == f".{to.name}.{pid}.tmp" and pid.isdecimal() and not psutil.pid_exists(int(pid)):
            _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
