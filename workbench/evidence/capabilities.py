"""Public tasks: what was asked, what base and run scored on every item, and the claim that nothing was lost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from workbench.errors import WorkbenchError
from workbench.evidence.claims import Claim
from workbench.evidence.measurements import TASK, Key, Paired
from workbench.text import quoted

LOST = 0.05
"""The most that a task's score may lose, where no claim of the user's says otherwise."""


@dataclass(frozen=True, slots=True)
class TasksAsked:
    """Tasks of lm-eval by name. `folder` holds tasks of one's own; `limit`: items of a task at most; None for all.

    `few_shots`: solved examples before each item; None for as many as the task says.
    """

    tasks: Sequence[str]
    folder: str | None = None
    limit: int | None = None
    few_shots: int | None = None


def task_names(text: str) -> list[str]:
    """The tasks that are named in `text`, separated by commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


@dataclass(frozen=True, slots=True)
class TaskReading:
    """One task: the value of `metric` for every item, under the base and under the run."""

    task: str
    metric: str
    before: Sequence[float]
    after: Sequence[float]


def check_installed(asked: TasksAsked, model: str, adapter: Path) -> None:
    """Raises `WorkbenchError` where lm-eval is not there; it has the command that does the same without us."""
    if find_spec("lm_eval") is None:
        loaded, tasks = quoted(f"pretrained={model},peft={adapter}"), quoted(",".join(asked.tasks))
        command = f"lm_eval --model hf --model_args {loaded} --tasks {tasks}"
        raise WorkbenchError(
            "lm-eval is not installed",
            "Tasks are measured with EleutherAI's evaluation harness.",
            f"pip install 'alignment-workbench[eval]'. By itself, without the base and the intervals: {command}",
        )


def tabulate_tasks(readings: Iterable[TaskReading]) -> dict[Key, Paired]:
    """Every task's items as one quantity; each item is a cluster."""
    return {
        Key(TASK, "", reading.task, "task score"): Paired(
            reading.before, reading.after, [str(number) for number in range(len(reading.before))], len(reading.before)
        )
        for reading in readings
    }


def with_tasks(claims: Mapping[str, Claim], readings: Iterable[TaskReading]) -> dict[str, Claim]:
    """The claims, and for every task that none of them is about, one that it keeps its score."""
    about = {claim.behaviour for claim in claims.values() if claim.kind == TASK}
    return dict(claims) | {
        f"capability kept: {reading.task}": Claim(kind=TASK, behaviour=reading.task, by=["task score"], lost=LOST)
        for reading in readings
        if reading.task not in about
    }
