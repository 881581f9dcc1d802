"""A run's evidence from outside: whether there can be any, and processes that evaluate the run and write its report.

No library of statistics is imported here: the screens can do without until somebody asks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from workbench import child
from workbench.errors import WorkbenchError
from workbench.runs.folder import RunFolder
from workbench.text import quoted
from workbench.workspace import Workspace

if TYPE_CHECKING:
    from workbench.evidence.capabilities import TasksAsked
    from workbench.evidence.document import Evidence


def answers(folder: RunFolder) -> bool:
    """Whether the run's model gives answers, whose probabilities can be measured. Raises `WorkbenchError`."""
    return folder.record().config.facts.answers


def check(folder: RunFolder) -> None:
    """Raises `WorkbenchError` where the run has no adapter yet, or is a reward model."""
    if not answers(folder):
        raise WorkbenchError(
            "A reward model gives no answers to measure",
            f"{folder.id} scores answers, so there are no probabilities before and after. How well it ranks held-out "
            f"pairs, its accuracy and margin, was measured while it trained: workbench report {quoted(folder.id)}",
            "Train a policy with it, and evaluate that:"
            f" workbench train --method grpo --set reward=run:{quoted(folder.id)}",
        )
    folder.saved_adapter()


def merged_model(merged: Path, folder: RunFolder) -> Path:
    """The folder `merged`, which has a model in it. Raises `WorkbenchError` where it has none."""
    merged = merged.expanduser().absolute()
    if merged.is_file():
        raise WorkbenchError(
            "Not the folder of a model",
            f"{merged} is a file.",
            "Name the folder that merge wrote. A GGUF file becomes one by workbench model import FILE --to DIR.",
        )
    if not (merged / "config.json").is_file():
        raise WorkbenchError(
            "No model there",
            f"{merged} has no config.json.",
            f"Merge the run: workbench merge {quoted(folder.id)} --to DIR",
        )
    return merged


async def evaluate(
    workspace: Workspace,
    folder: RunFolder,
    progress: Callable[[str], None],
    *,
    merged: Path | None = None,
    tasks: TasksAsked | None = None,
) -> Evidence:
    """Evaluates as `workbench evaluate` does, with the run's merged model and with tasks of lm-eval where they are
    given; `progress` is told what is done next.

    Cancelled, it ends the process and leaves nothing behind. Raises `WorkbenchError` as that command does.
    """

    def hear(message: child.Progress | child.Part) -> None:
        if isinstance(message, child.Progress):
            progress(message.text)

    request = {
        "workspace": str(workspace.root.resolve()),
        "run": str(folder.path.absolute()),
        "merged": str(merged) if merged is not None else "",
        "tasks": asdict(tasks) if tasks is not None else None,
    }
    await child.run_async(child.python("workbench.engine.evaluate_worker"), request, hear, name="The evaluation")
    return await asyncio.to_thread(known, folder)


def known(folder: RunFolder) -> Evidence:
    """What an evaluation found before. Raises `WorkbenchError` where there is none."""
    from workbench.evidence.document import read_evidence

    return read_evidence(folder.evidence)


async def write_report(folder: RunFolder) -> str:
    """Writes the page about the run into its folder, and returns its first sentence. Raises `WorkbenchError`."""
    request = {"run": str(folder.path.absolute())}
    headline = await child.run_async(child.python("workbench.evidence.report.write"), request, name="The report")
    return str(headline)
