"""What went wrong on the disk, in words: a full one, or a folder that refuses."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from workbench.errors import WorkbenchError
from workbench.runs.folder import RunFolder
from workbench.text import quoted

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_TOLD = ("no space left", "disk quota exceeded", "file too large")
"""What libraries that are not written in Python say of `_FULL`."""
_TORCH_WRITES = "inline_container"
"""In what torch.save says where the disk took less than it was given, for whatever reason."""
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)


class DiskError(WorkbenchError):
    """The disk's fault, and told in full: no traceback adds anything."""


@contextmanager
def saving(what: str, run: RunFolder, needed: int) -> Iterator[None]:
    """Turns a full disk within into a `DiskError`. `needed` are the bytes that saving `what` takes.

    torch.save does not name the cause, so the disk is asked as well.
    """
    try:
        yield
    except Exception as error:
        if no_room(error) or (_TORCH_WRITES in str(error) and _free(run.path) < needed):
            raise full_disk(what, run, needed) from error
        raise


def disk_error_of(error: BaseException, run: RunFolder) -> DiskError | None:
    """The error as one to tell of, where it is the disk's; None for any other."""
    if no_room(error):
        return full_disk("what the run tells", run, 1024**2)
    if isinstance(error, OSError) and error.errno in _REFUSED:
        return DiskError(
            "The run folder cannot be written",
            f"{error.filename or run.path}: {error.strerror}.",
            f"Check its permissions, then: workbench resume {quoted(run.id)}",
        )
    return None


def full_disk(what: str, run: RunFolder, needed: int) -> DiskError:
    """A full disk, with what it takes to go on."""
    return DiskError(
        "The disk is full",
        f"{what[:1].upper() + what[1:]} could not be written to {run.path}.",
        f"Free at least {_amount(needed)} there, then: workbench resume {quoted(run.id)}",
    )


def no_room(error: BaseException | None) -> bool:
    """Whether the error, or one that it came of, is that the disk is full."""
    for _ in range(10):
        if error is None:
            break
        if isinstance(error, OSError) and error.errno in _FULL:
            return True
        if any(words in str(error).lower() for words in _TOLD):
            return True
        error = error.__cause__ or error.__context__
    return False


def _free(path: Path) -> int:
    try:
        return shutil.disk_usage(path).free
    except OSError:
        return 2**63


def _amount(size: int) -> str:
    return f"{size / 1024**3:.1f} GB" if size >= 1024**3 else f"{max(1, -(-size // 1024**2))} MB"
