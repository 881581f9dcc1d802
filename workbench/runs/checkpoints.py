"""A run's checkpoints on disk: which are complete, which are torn, and the marker that tells them apart.

A checkpoint is a folder `checkpoint-N`, N the optimizer steps done. Its marker is written last, when everything else is
on the disk for good, and has size and sha256 of all files: so whatever ends a worker or a machine, a folder that agrees
with its marker can be resumed from. Old ones are deleted only once a newer one is complete.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path, PurePosixPath
from typing import Any

from workbench.errors import WorkbenchError
from workbench.files import from_json, json_in, write_whole
from workbench.runs.folder import RunFolder

MARKER = "complete.json"
_NAME = re.compile(r"checkpoint-(\d+)")
_DELETED = ".deleted"
_UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)


@dataclass(frozen=True, slots=True)
class RunProgress:
    """How far a run has come: optimizer steps, seconds of training, and the pairs and tokens that went through a step.

    Counted from the beginning of the run, over all its workers.
    """

    step: int = 0
    seconds: float = 0.0
    pairs: int = 0
    tokens: int = 0


def checkpoint_path(checkpoints: Path, step: int) -> Path:
    """The folder of the checkpoint after so many optimizer steps, among a run's `checkpoints`."""
    return checkpoints / f"checkpoint-{step}"


def step_of(path: Path) -> int:
    """The optimizer steps done at a checkpoint."""
    return int(path.name.partition("-")[2])


def name_in_run(path: Path) -> str:
    """A checkpoint's path from its run's folder on, as events and the command line name it."""
    return f"{path.parent.name}/{path.name}"


def complete(folder: RunFolder) -> list[Path]:
    """The checkpoints that can be resumed from, oldest first."""
    return [path for path in _found(folder.checkpoints) if not check(path)]


def torn(folder: RunFolder) -> list[tuple[Path, str]]:
    """The checkpoints that cannot, oldest first, each with what is wrong."""
    return [(path, wrong) for path in _found(folder.checkpoints) if (wrong := check(path))]


def resume_point(folder: RunFolder) -> tuple[int | None, tuple[tuple[str, str], ...]]:
    """The step after which the run would go on, None where it cannot, and what is torn: names, and what is wrong."""
    usable = complete(folder)
    skipped = tuple((path.name, wrong) for path, wrong in torn(folder))
    return (step_of(usable[-1]) if usable else None), skipped


def newest_intact(folder: RunFolder) -> tuple[Path | None, list[tuple[Path, str]]]:
    """The newest checkpoint of which every byte is as it was written, None for none; and the newer ones, oldest first,
    each with what is wrong. For who resumes: it reads files to their end."""
    skipped: list[tuple[Path, str]] = []
    for path in reversed(_found(folder.checkpoints)):
        if not (wrong := verify(path)):
            return path, skipped[::-1]
        skipped.append((path, wrong))
    return None, skipped[::-1]


def check(path: Path) -> str:
    """What is wrong with a checkpoint, in words that follow its name; empty where nothing is. Quick: by sizes."""
    try:
        _, files = _marker(path)
    except FileNotFoundError:
        return "was not written to its end"
    except _UNREADABLE:
        return f"has a {MARKER} that cannot be read"
    for name, (size, _) in files.items():
        try:
            written = (path / name).stat().st_size
        except OSError:
            return f"lacks {name}"
        if written != size:
            return f"has {written:,} of the {size:,} bytes of {name}"
    return ""


def verify(path: Path) -> str:
    """As `check`, and that every file has the bytes that were written: reads them all."""
    if wrong := check(path):
        return wrong
    try:
        for name, (_, sha256) in _marker(path)[1].items():
            if _sha256(path / name) != sha256:
                return f"has other bytes in {name} than were written"
    except _UNREADABLE as error:
        return f"cannot be read: {error}"
    return ""


def progress(path: Path) -> RunProgress:
    """How far the run had come at a complete checkpoint. Raises `WorkbenchError` where that cannot be read."""
    try:
        return _marker(path)[0]
    except _UNREADABLE as error:
        raise WorkbenchError(
            "The checkpoint cannot be read", f"{path / MARKER}: {error}.", "Delete it to resume from an older one."
        ) from error


def mark_complete(path: Path, at: RunProgress) -> None:
    """Forces everything in `path` to the disk, then writes the marker. Raises `OSError`."""
    files = {
        file.relative_to(path).as_posix(): {"bytes": file.stat().st_size, "sha256": _sha256(file)}
        for file in flush(path)
        if file != path / MARKER
    }
    write_whole(path / MARKER, json.dumps({**asdict(at), "files": files}, indent=1), durable=True)
    _sync(path)
    _sync(path.parent)


def flush(path: Path) -> list[Path]:
    """Forces all files in a folder to the disk, and names them. Raises `OSError`."""
    files = [file for file in sorted(path.rglob("*")) if file.is_file()]
    for file in (*files, *{file.parent for file in files}):
        _sync(file)
    return files


def remove(path: Path) -> None:
    """Deletes a checkpoint so that, cut short, it leaves none that looks torn."""
    unwanted = path.with_name(path.name + _DELETED)
    _delete(unwanted)
    try:
        path.rename(unwanted)
    except FileNotFoundError:
        return
    _delete(unwanted)


def rotate(checkpoints: Path, keep: int) -> None:
    """Keeps the newest `keep` complete checkpoints; the others go, and with them the torn ones."""
    completeness = {path: not check(path) for path in _found(checkpoints)}
    kept = [path for path, whole in completeness.items() if whole][-keep:]
    for path in completeness:
        if kept and path not in kept:
            remove(path)
    for path in checkpoints.glob(f"checkpoint-*{_DELETED}"):
        _delete(path)


def _delete(path: Path) -> None:
    """Nothing is said where that fails. Of a link, what it points to stays."""
    if path.is_symlink() or path.is_file():
        with suppress(OSError):
            path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)


def _marker(path: Path) -> tuple[RunProgress, dict[str, tuple[int, str]]]:
    """What the marker says: how far the run had come, and of every file by its name the size and the sha256.

    Raises one of `_UNREADABLE`, also where it is that of another checkpoint or cannot be true.
    """
    raw: Any = json_in((path / MARKER).read_bytes())
    at = from_json(RunProgress, {field.name: raw[field.name] for field in fields(RunProgress)})
    files = {name: (of["bytes"], of["sha256"]) for name, of in raw["files"].items()}
    if not all(type(size) is int and isinstance(sha256, str) for size, sha256 in files.values()):
        raise TypeError("its files have no sizes and sums")
    within = all(not PurePosixPath(name).is_absolute() and ".." not in PurePosixPath(name).parts for name in files)
    possible = math.isfinite(at.seconds) and min(at.seconds, at.pairs, at.tokens) >= 0
    if at.step != step_of(path) or not files or not within or not possible:
        raise ValueError("it is not what was written for this checkpoint")
    return at, files


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _found(checkpoints: Path) -> list[Path]:
    try:
        folders = [path for path in checkpoints.iterdir() if _NAME.fullmatch(path.name) and path.is_dir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(folders, key=step_of)


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
