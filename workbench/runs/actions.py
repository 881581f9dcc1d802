"""What can be done to a run while it goes on or has ended: when, what is asked before, and what is told after.

Each is a function of a run and of how to ask. No screen is known here; what takes long is done in a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from workbench.figures import duration, ordinal
from workbench.runs import checkpoints, labels, lease, process, trash
from workbench.runs.catalog import Run
from workbench.runs.trusting import told
from workbench.workspace import Workspace


class Ask(Protocol):
    """Asks a question with two answers, and says whether the answer was yes."""

    def __call__(self, question: str, detail: str, /, *, yes: str, no: str) -> Awaitable[bool]:
        """`detail` says what will happen; both texts are safe to show."""


@dataclass(frozen=True, slots=True)
class Action:
    """`possible` says when; `do` asks, acts, and returns what to tell, empty where there is nothing to tell.

    It raises `WorkbenchError` where the run cannot be acted on after all.
    """

    possible: Callable[[Run], bool]
    do: Callable[[Run, Ask], Awaitable[str]]


async def stop(run: Run, ask: Ask) -> str:
    """Asks the worker to stop and to save what it has; a second time ends it at once."""
    if run.stopping:
        return await kill(run, ask)
    if run.status == "queued":
        sure = await ask(
            f"Take {run.name} out of the queue?",
            "It has not begun. It stays in the list, and r puts it back at the end of the line.",
            yes="Take it out",
            no="Let it wait",
        )
    else:
        grace = duration(run.config.stop_grace if run.config is not None else 0)
        sure = await ask(
            f"Stop {run.name}?",
            "It finishes the step it is at, saves a checkpoint and the adapter, and ends; r goes on from there. "
            f"If it has not ended within {grace}, it is killed.",
            yes="Stop and save",
            no="Let it run",
        )
    if not sure:
        return ""
    await asyncio.to_thread(process.request_stop, run.folder)
    return "Taken out of the queue." if run.status == "queued" else "Stopping after this step …"


async def kill(run: Run, ask: Ask) -> str:
    """Ends the worker by force."""
    if run.state.checkpoints:
        last = max(checkpoint.step for checkpoint in run.state.checkpoints)
        lost = f"What it learned since its last checkpoint (step {last:,}) is lost."
    else:
        lost = "It has saved no checkpoint yet: all that it learned is lost."
    if await ask(f"Kill {run.name} now?", f"{lost} r resumes it.", yes="Kill", no="Let it finish"):
        await asyncio.to_thread(process.kill, run.folder)
    return ""


async def pause(run: Run, ask: Ask) -> str:
    """Asks the worker to wait after the step it is at, or lets it go on."""
    del ask
    if run.folder.pause.exists():
        await asyncio.to_thread(process.request_continue, run.folder)
        return "Going on."
    await asyncio.to_thread(process.request_pause, run.folder)
    return "Pausing after this step. It keeps its memory; space continues."


async def trusted(run: Run, ask: Ask) -> bool:
    """Whether the run was made here, or the user takes it for own after a look at what it names."""
    if await asyncio.to_thread(lambda: run.folder.own):
        return True
    detail = await asyncio.to_thread(told, run.folder)
    if not await ask(f"Trust {run.name}?", detail, yes="Trust", no="Leave it"):
        return False
    await asyncio.to_thread(run.folder.sign)
    return True


async def resume(run: Run, ask: Ask) -> str:
    """Starts a worker again, from the last complete checkpoint."""
    if not await trusted(run, ask):
        return ""
    step, torn = await asyncio.to_thread(checkpoints.resume_point, run.folder)
    if step is None:
        detail = "It has no complete checkpoint: it begins again from the first step."
    else:
        again = run.state.step - step
        detail = f"It goes on after step {step:,} with the data order, optimizer and schedule of then."
        detail += f" The {again:,} steps after it are made again." if again > 0 else ""
    detail += "".join(f"\n{name} {wrong}: it is skipped." for name, wrong in torn)
    if await ask(f"Resume {run.name}?", detail, yes="Resume", no="Leave it"):
        await asyncio.to_thread(process.resume, run.folder)
    return ""


async def move(run: Run, ask: Ask, *, by: int) -> str:
    """Moves a waiting run `by` places back in its line, or forward where negative."""
    del ask
    place = await asyncio.to_thread(lease.move, run.folder, by)
    return f"{run.name} is {ordinal(place)} in line."


async def archive(run: Run, ask: Ask) -> str:
    """Hides a run from lists, or shows it again."""
    del ask
    archived = not run.labels.archived
    await asyncio.to_thread(labels.write, run.folder, replace(run.labels, archived=archived))
    return f"{run.name} is archived. a shows archived runs." if archived else f"{run.name} is back."


async def delete(run: Run, ask: Ask, workspace: Workspace) -> str:
    """Moves the run's folder to the trash. What it tells is empty only where the answer was no."""
    detail = "Its folder, with adapter, checkpoints, events and log, moves to runs/.trash and can be moved back."
    if not await ask(f"Delete {run.name}?", detail, yes="Delete", no="Keep"):
        return ""
    path = await asyncio.to_thread(trash.discard, workspace.runs, run.folder)
    return f"Moved to {path.relative_to(workspace.root)}."


def _going(run: Run) -> bool:
    return run.going


def _waits(run: Run) -> bool:
    return run.status == "queued"


ACTIONS: Mapping[str, Action] = {
    "stop": Action(_going, stop),
    "kill": Action(_going, kill),
    "pause": Action(lambda run: run.status in ("running", "paused") and not run.stopping, pause),
    "resume": Action(lambda run: run.status in ("stopped", "failed", "lost"), resume),
    "earlier": Action(_waits, partial(move, by=-1)),
    "later": Action(_waits, partial(move, by=1)),
    "archive": Action(lambda run: not run.going, archive),
}
"""What needs nothing but a run and an answer."""
