"""Writes a run's report in a process of its own: checking very many pairs takes a while, and keys never wait."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from workbench.errors import WorkbenchError
from workbench.runs.folder import RunFolder
from workbench.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Written:
    """A report that is written: where, and its first sentence."""

    path: Path
    headline: str


async def write_report(workspace: Workspace, folder: RunFolder) -> Written:
    """As `workbench report` does. Raises `WorkbenchError`, with what that command said where it failed."""
    arguments = ("-m", "workbench", "--workspace", str(workspace.root), "report", folder.id, "--json")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        told, wrong = await process.communicate()
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode:
        title, _, rest = wrong.decode("utf-8", "replace").strip().rpartition("Error: ")[2].partition("\n")
        raise WorkbenchError(title or "The report could not be written", rest.strip(), "")
    found = json.loads(told)
    return Written(Path(found["file"]), found["headline"])
