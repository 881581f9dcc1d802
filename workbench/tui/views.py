"""What is saved of a screen: files of one name under the workspace's `views`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from workbench.errors import WorkbenchError


def save_view(folder: Path, what: str, files: Mapping[str, str]) -> Path:
    """Writes `files`, texts by suffix, under `what` and the time of day; the answer is their path without suffix.

    Raises `WorkbenchError` where that cannot be written.
    """
    path = folder / f"{what}-{time.strftime('%Y-%m-%d-%H%M%S')}"
    try:
        folder.mkdir(exist_ok=True)
        for suffix, text in files.items():
            path.with_name(path.name + suffix).write_text(text, "utf-8")
    except OSError as error:
        raise WorkbenchError(
            "The view could not be saved", f"{folder}: {error}.", "Free space, or mend the folder's rights."
        ) from error
    return path
