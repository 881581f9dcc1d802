"""What a new run can build on: earlier runs of the same model whose adapter it goes on from, or takes as its reward."""

from __future__ import annotations

from collections.abc import Iterable

from workbench.config import RunConfig
from workbench.errors import WorkbenchError
from workbench.models import resolve
from workbench.runs.catalog import Run


def starts(summaries: Iterable[Run], model: str) -> list[Run]:
    """Runs whose adapter another run on the model can go on from, in the order given."""
    return [each for each, config in _saved(summaries, model) if config.facts.answers]


def rewards(summaries: Iterable[Run], model: str) -> list[Run]:
    """Runs that can judge the answers of a run on the model: reward models, then runs with an implicit reward."""
    found = [(each, config.facts) for each, config in _saved(summaries, model) if config.facts.gives_reward]
    return [each for each, _ in sorted(found, key=lambda found: found[1].answers)]


def _saved(summaries: Iterable[Run], model: str) -> list[tuple[Run, RunConfig]]:
    """Runs on the model that have saved an adapter, with their configs."""
    known: dict[str, str | None] = {}

    def resolved(name: str) -> str | None:
        if name not in known:
            try:
                known[name] = resolve(name)
            except WorkbenchError:
                known[name] = None
        return known[name]

    wanted = resolved(model)
    return [
        (each, each.config)
        for each in summaries
        if wanted is not None
        and each.config is not None
        and resolved(each.config.model) == wanted
        and each.folder.has_adapter
    ]
