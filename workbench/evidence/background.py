"""Evaluates a run and writes its report, each in a process of its own: keys never wait for either."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from workbench import child
from workbench.runs.folder import RunFolder
from workbench.workspace import Workspace

if TYPE_CHECKING:
    from workbench.evidence.document import Evidence


async def evaluate(workspace: Workspace, folder: RunFolder, progress: Callable[[str], None]) -> Evidence:
    """Evaluates as `workbench evaluate` does; `progress` is told what is done next.

    Cancelled, it ends the process and leaves nothing behind. Raises `WorkbenchError` as that command does.
    """

    def hear(message: child.Progress | child.Part) -> None:
        if isinstance(message, child.Progress):
            progress(message.text)

    request = {"workspace": str(workspace.root.resolve()), "run": str(folder.path.resolve())}
    await child.run_async(child.python("workbench.engine.evaluate_worker"), request, hear, name="The evaluation")
    return await asyncio.to_thread(known, folder)


def known(folder: RunFolder) -> Evidence:
    """What an evaluation found before. Raises `WorkbenchError` where there is none."""
    # It takes the libraries of statistics, which the screens can do without until somebody asks.
    from workbench.evidence.document import read_evidence

    return read_evidence(folder.evidence)


async def write_report(folder: RunFolder) -> str:
    """Writes the page about the run into its folder, and returns its first sentence. Raises `WorkbenchError`."""
    request = {"run": str(folder.path.resolve())}
    headline = await child.run_async(child.python("workbench.evidence.report.write"), request, name="The report")
    return str(headline)
