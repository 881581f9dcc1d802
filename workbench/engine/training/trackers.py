"""Services that follow a run beside its folder (report_to), through transformers' integrations with them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import TrainerControl, TrainerState, TrainingArguments
from transformers.integrations import get_reporting_integration_callbacks

from workbench.engine.training import distributed

PROJECT = "alignment-workbench"
"""What runs are filed under."""


class Trackers:
    """Those that `arguments` name; none without. They are told the settings in it beside those of the model."""

    def __init__(self, arguments: TrainingArguments | None, model: Any, tokenizer: Any) -> None:
        self._arguments, self._more = arguments, {"model": model, "processing_class": tokenizer}
        names = arguments.report_to if arguments is not None else []
        self._callbacks = [kind() for kind in get_reporting_integration_callbacks(names)]

    def begin(self, step: int) -> None:
        """The training begins."""
        self._tell("on_train_begin", step)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """What was measured; the names of what is of held-out pairs begin with "eval_"."""
        self._tell("on_log", step, logs=dict(metrics))

    def saved(self, step: int) -> None:
        """A checkpoint was written."""
        self._tell("on_save", step)

    def end(self, step: int) -> None:
        """The training has ended."""
        self._tell("on_train_end", step)

    def _tell(self, event: str, step: int, **values: Any) -> None:
        first = distributed.first()
        state = TrainerState(global_step=step, is_local_process_zero=first, is_world_process_zero=first)
        for callback in self._callbacks:
            getattr(callback, event)(self._arguments, state, TrainerControl(), **self._more, **values)


def set_tracker_folders(run: Path) -> None:
    """Where trackers file the run, and keep files of their own; what the user has set goes first."""
    files = run / "tracking"
    files.mkdir(exist_ok=True)
    for name, value in {
        "TENSORBOARD_LOGGING_DIR": str(files), "WANDB_DIR": str(files), "WANDB_PROJECT": PROJECT
    }.items():  # fmt: skip
        os.environ.setdefault(name, value)
