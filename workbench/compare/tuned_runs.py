"""The columns that a workspace offers: runs with a finished adapter, and the base they belong to."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from workbench.compare.messages import Column
from workbench.compare.scorers import Base
from workbench.config import RunConfig
from workbench.errors import WorkbenchError
from workbench.runs.catalog import Run
from workbench.runs.state import Status
from workbench.text import quoted


@dataclass(frozen=True, slots=True)
class TunedRun:
    """A run whose adapter can be put beside its base."""

    id: str
    name: str
    """The id without the time before it."""
    base: Base
    method: str
    beta: float
    status: Status
    step: int
    adapter: str
    plain: bool = False
    """Whether it was trained on plain text, without the chat template."""
    template: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """What it gives to the chat template."""
    own: bool = True
    """Whether it was made here; see `workbench.runs.trusting`."""

    def column(self, system: str | None = None) -> Column:
        """The run's column, under a system message where one is given. Raises `WorkbenchError` where it is not own."""
        if not self.own:
            raise WorkbenchError(
                "The run was not made here",
                f"{self.id} may name what you do not want to run.",
                f"c in Runs shows what it names, and asks; so does: workbench trust {quoted(self.id)}",
            )
        return Column(name=self.name, adapter=self.adapter, system=system, template=dict(self.template))


def tuned_runs(runs: Iterable[Run]) -> list[TunedRun]:
    """The runs that have saved an adapter, newest first. Runs of one name are told apart by their ids."""
    usable = [
        (run, run.config, template)
        for run in runs
        if run.status in ("finished", "stopped")
        and run.config is not None
        and run.config.facts.answers
        and run.folder.has_adapter
        and (template := _template(run, run.config)) is not None
    ]
    names = [_short(run.id) for run, *_ in usable]
    return [
        TunedRun(
            id=run.id,
            name=name if names.count(name) == 1 else run.id,
            base=Base(config.model, config.quantization, template, config.trust_remote_code, config.allow_pickle),
            method=config.method,
            beta=config.beta,
            status=run.status,
            step=run.state.step,
            adapter=str(run.folder.adapter),
            plain=run.folder.plain,
            template=config.template,
            own=run.folder.own,
        )
        for (run, config, template), name in zip(usable, names, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class Drafter:
    """A base model, or a run's adapter on it, that answers a pair's prompt. `remark` says which it is."""

    base: Base
    column: Column
    remark: str


def drafters(runs: Sequence[TunedRun]) -> list[Drafter]:
    """The bases of `runs`, that of the newest first (the embedded model where there is no run), and then the runs."""
    bases = list(dict.fromkeys(run.base for run in runs if run.own)) or [Base()]
    models = [base.model for base in bases]
    writers = {run.base: run.name for run in reversed(runs)}
    return [
        *(
            Drafter(
                base,
                Column(name=base.model if models.count(base.model) == 1 else f"{base.model} {base.quantization}"),
                f"the base, {base.quantization}"
                + (f", in the template of {writers[base]}" if base.chat_template else ""),
            )
            for base in bases
        ),
        *(
            Drafter(run.base, run.column(), f"{run.method} · {run.status} at step {run.step}")
            for run in runs
            if run.own
        ),
    ]


def _template(run: Run, config: RunConfig) -> str | None:
    """The chat template that was chosen for a run, empty for its model's own; None where it cannot be read."""
    if not config.chat_template:
        return ""
    with suppress(WorkbenchError):
        return run.folder.template()
    return None


def _short(run: str) -> str:
    """A run's id without its date and time ("2026-05-01-1200-support-dpo" is "support-dpo")."""
    parts = run.split("-", 4)
    return parts[4] if len(parts) == 5 and all(part.isdigit() for part in parts[:4]) else run


def with_unique_name(column: Column, others: Sequence[Column]) -> Column:
    """The column under a name that none of `others` has; a system message shows in it."""
    name = f"{column.name} + system" if column.system else column.name
    taken, number, free = {other.name for other in others}, 1, name
    while free in taken:
        number += 1
        free = f"{name} {number}"
    return column.model_copy(update={"name": free})


def settings_told(column: Column, columns: Sequence[Column]) -> str:
    """What a column gives to the chat template, in words; empty where all of `columns` give the same."""
    if all(other.template == column.template for other in columns):
        return ""
    given = ", ".join(
        f"{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in column.template.items()
    )
    return given or "no template settings"
