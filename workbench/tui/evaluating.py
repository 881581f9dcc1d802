"""Measures a run in a process of its own, as `workbench evaluate` does, and tells how far it is."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from workbench.errors import WorkbenchError
from workbench.runs.folder import RunFolder
from workbench.workspace import Workspace

if TYPE_CHECKING:
    from workbench.evidence.document import Evidence

_DID = (0, 1)
"""Exit statuses: measured, and measured with a verdict that does not hold."""


async def evaluate(workspace: Workspace, folder: RunFolder, progress: Callable[[str], None]) -> Evidence:
    """What was found; `progress` is told what is done next. Cancelled, it ends the process and leaves nothing behind.

    Raises `WorkbenchError`, with what that command said where it failed.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "workbench", "--workspace", str(workspace.root), "evaluate", folder.id, "--json"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    said: list[str] = []
    try:
        assert process.stderr is not None
        async for line in process.stderr:
            said.append(line.decode("utf-8", "replace").rstrip())
            if said[-1].startswith("  "):
                progress(said[-1].strip())
        await process.wait()
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode not in _DID:
        title, _, rest = "\n".join(said).rpartition("Error: ")[2].partition("\n")
        raise WorkbenchError(title or "The run could not be measured", rest.strip(), "")
    return await asyncio.to_thread(known, folder)


def known(folder: RunFolder) -> Evidence:
    """What was found before. Raises `WorkbenchError` where there is none."""
    from workbench.evidence.document import read_evidence

    return read_evidence(folder.evidence)
