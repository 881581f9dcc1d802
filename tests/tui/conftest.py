"""Workspaces and workers for the tests of the screens."""

from __future__ import annotations

import subprocess
import sys
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from textual.css.model import RuleSet
from textual.css.stylesheet import Stylesheet

from workbench.compare.client import ScorerClient
from workbench.compare.scorers import Base, Scorers
from workbench.config import RunConfig
from workbench.errors import WorkbenchError
from workbench.runs import process
from workbench.runs.folder import RunFolder, create
from workbench.runs.watching import WatchPace
from workbench.tui.unforeseen import Unforeseen
from workbench.workspace import Workspace


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An empty workspace."""
    (tmp_path / "pairs").mkdir()
    (tmp_path / "runs").mkdir()
    return tmp_path


@pytest.fixture
def worker() -> Iterator[Callable[[RunFolder], int]]:
    """Gives a run a process that is really there; returns its PID."""
    processes = []

    def give(folder: RunFolder) -> int:
        processes.append(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]))
        process.record(folder, processes[-1].pid)
        return processes[-1].pid

    yield give
    for each in processes:
        each.kill()
        each.wait()


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[RunConfig]:
    """The configs of the runs that the form starts, which get a folder and no worker."""
    found: list[RunConfig] = []

    def launch(workspace: Workspace, config: RunConfig) -> RunFolder:
        found.append(config)
        return create(workspace.runs, config, [], {})

    monkeypatch.setattr("workbench.run_form.launch", launch)
    return found


@pytest.fixture(autouse=True, scope="session")
def _styles_parsed_once() -> Iterator[None]:
    """Every test starts an app of its own, whose hundred stylesheets are always the same."""
    parsed: dict[object, list[RuleSet]] = {}
    parse = Stylesheet._parse_rules

    def cached(self: Stylesheet, css: str, *place: object, **place_by_name: object) -> list[RuleSet]:
        key = (css, place, *place_by_name.items(), tuple(self._variables.items()))
        if key not in parsed:
            parsed[key] = parse(self, css, *place, **place_by_name)
        return parsed[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stylesheet, "_parse_rules", cached)
        yield


class _KeptWarm(Scorers):
    """Its scorers end neither with the app nor where another base is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.clients: dict[Base, ScorerClient] = {}

    def of(self, base: Base) -> ScorerClient:
        if base not in self.clients:
            self.clients[base] = ScorerClient(base.model, base.quantization)
        return self.clients[base]

    async def close(self) -> None:
        pass


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def warm_scorers() -> AsyncIterator[Scorers]:
    """For the apps of tests that only ask what the embedded model says, so that it is loaded once. Such a test runs in
    the session's loop, as the scorer does: `pytest.mark.asyncio(loop_scope="session")`.
    """
    scorers = _KeptWarm()
    yield scorers
    for client in scorers.clients.values():
        await client.close()


@pytest.fixture(autouse=True)
def _quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The Runs screen looks at its files more often than anyone would: a test waits for the next look."""
    monkeypatch.setattr("workbench.runs.watching.PACE", WatchPace(0.25, 0.4, 5.0, 0.5))


@pytest.fixture(autouse=True)
def _nothing_unforeseen(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An error that nobody foresaw is a dialog for the user, and a failure for a test."""
    met: list[str] = []
    take = Unforeseen.take

    def noted(self: Unforeseen, error: Exception, doing: str) -> WorkbenchError | None:
        met.append("".join(traceback.format_exception(error)))
        return take(self, error, doing)

    monkeypatch.setattr(Unforeseen, "take", noted)
    yield
    if met and request.node.get_closest_marker("unforeseen") is None:
        pytest.fail("\n".join(met))
