"""What a run costs on public ground: tasks of EleutherAI's lm-eval, item by item, base beside run."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from workbench.engine.scoring.asked_model import AskedModel
from workbench.errors import WorkbenchError
from workbench.evidence.capabilities import TaskReading, TasksAsked

_BATCH = 8
Scores = dict[str, tuple[str, dict[int, float]]]
"""By task: the metric's name, and by the item's number its value."""


def read_tasks(models: AskedModel, asked: TasksAsked, seed: int) -> list[TaskReading]:
    """Every task's items under both. Raises `WorkbenchError` where lm-eval does not know a task, or fails."""
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=asked.folder)
    if unknown := [task for task in asked.tasks if task not in manager.all_tasks]:
        where = f" nor in {asked.folder}" if asked.folder else ""
        raise WorkbenchError(
            f"lm-eval has no task {unknown[0]!r}",
            f"It is not among its {len(manager.all_tasks):,} tasks{where}.",
            "`lm_eval ls tasks` lists them; --task-folder names a folder with tasks of your own.",
        )
    before, after = (_scores(models, column, asked, manager, seed) for column in models.columns)
    readings = []
    for task, (metric, values) in before.items():
        then = after[task][1]
        items = [item for item in values if item in then]
        if items:
            readings.append(TaskReading(task, metric, [values[item] for item in items], [then[item] for item in items]))
    return readings


def _scores(models: AskedModel, column: tuple[str, Path | None], asked: TasksAsked, manager: Any, seed: int) -> Scores:
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM

    name, adapter = column
    models.progress(f"asking {name} the items of {', '.join(asked.tasks)}")
    model = HFLM(
        pretrained=models.scorer.adapters.switched(adapter), tokenizer=models.scorer.tokenizer, batch_size=_BATCH
    )
    try:
        results = simple_evaluate(
            model,
            tasks=list(asked.tasks),
            num_fewshot=asked.few_shots,
            limit=asked.limit,
            task_manager=manager,
            bootstrap_iters=0,
            random_seed=seed,
            numpy_random_seed=seed,
            torch_random_seed=seed,
            fewshot_random_seed=seed,
        )
    except (OSError, ValueError, KeyError, RuntimeError, ConnectionError) as error:
        raise WorkbenchError(
            "lm-eval did not finish",
            f"{', '.join(asked.tasks)}: {type(error).__name__}: {error}",
            "Its data sets come from Hugging Face: is there a network? Tasks on local files need none.",
        ) from error
    samples: Mapping[str, list[dict[str, Any]]] = results["samples"]
    return {task: scored for task, items in samples.items() if (scored := _items(items))}


def _items(samples: Sequence[Mapping[str, Any]]) -> tuple[str, dict[int, float]] | None:
    """The task's first metric with a number for every item, of its first filter."""
    filters = [sample.get("filter") for sample in samples]
    first = [sample for sample, name in zip(samples, filters, strict=True) if name == filters[0]]
    metrics: Sequence[str] = first[0].get("metrics", []) if first else []
    read: Callable[[Any], bool] = lambda value: isinstance(value, int | float) and math.isfinite(value)  # noqa: E731
    metric = next((name for name in metrics if all(read(sample.get(name)) for sample in first)), None)
    return None if metric is None else (metric, {int(sample["doc_id"]): float(sample[metric]) for sample in first})
