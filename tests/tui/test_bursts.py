"""Keys that arrive in one write, as over SSH: what comes with a key that opens something goes to what it opens.

The witness is the journal: none of these bursts changes a pair, though s swaps, a accepts, x drops and D deletes.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from textual.binding import Binding
from textual.pilot import Pilot
from textual.screen import ModalScreen
from textual.widgets import Input

from tests.bench.terminal import Terminal
from tests.tui.dialogs import at_once
from tests.tui.pairs_data import make_workspace
from tests.tui.pairs_screen import opened
from tests.tui.runs_data import beginning, make_run, trained, training
from tests.tui.runs_screen import runs_screen, shows, until
from workbench.compare.scorers import Scorers
from workbench.pairs.store import load_pairs
from workbench.runs.actions import ACTIONS
from workbench.runs.folder import RunFolder
from workbench.tui.screens.compare import CompareScreen
from workbench.tui.screens.pair_browser import PairBrowser
from workbench.tui.screens.pairs import PairsScreen
from workbench.tui.screens.runs import RunsScreen
from workbench.workspace import Workspace


def opening(*kinds: type[Any]) -> Iterator[Binding]:
    """The keys of these screens and widgets whose actions open a dialog or a line, or may."""
    for kind in kinds:
        for binding in kind.BINDINGS:
            assert isinstance(binding, Binding)
            method = getattr(kind, f"action_{binding.action.partition('(')[0]}", None)
            source = inspect.getsource(inspect.unwrap(method)) if method is not None else ""
            if any(call in source for call in ("push_screen", ".open(", "self._ask")) or binding.action == "draft":
                yield binding


def state(workspace: Workspace) -> list[tuple[str, bytes]]:
    """What a key could have changed: pairs with their journal's edits, and the runs' folders."""
    pairs = [(name, repr(load_pairs(workspace.pairs_file(name))).encode()) for name in workspace.datasets()]
    runs = [(str(path), path.read_bytes()) for path in sorted(workspace.runs.rglob("*")) if path.is_file()]
    return pairs + runs


_ON_PAIRS = [binding.key for binding in opening(PairsScreen, PairBrowser) if binding.action != "conflicts"]


@pytest.mark.parametrize("key", [*_ON_PAIRS, "E", "question_mark", "ctrl+p"])
async def test_letters_with_a_key_that_opens_something_on_pairs_change_nothing(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISUAL", "true")
    workspace = make_workspace(tmp_path, 8)
    before = state(workspace)
    async with opened(workspace) as screen:
        await at_once(screen.pilot, key, *"sax")
        assert state(workspace) == before


async def test_a_word_with_the_slash_is_searched_for(tmp_path: Path) -> None:
    async with opened(make_workspace(tmp_path, 8)) as screen:
        await at_once(screen.pilot, "/", *"sax")
        await until(screen.pilot, lambda: screen.pairs_screen.query_one(Input).value == "sax")


async def test_keys_after_one_that_closes_a_dialog_go_to_the_screen_below(tmp_path: Path) -> None:
    async with opened(make_workspace(tmp_path, 8)) as screen:
        await at_once(screen.pilot, "o", *"late", "enter", "a")
        await until(screen.pilot, lambda: not isinstance(screen.pilot.app.screen, ModalScreen))
        await until(screen.pilot, lambda: screen.on_disk()[0].status == "accepted")
        assert screen.on_disk()[0].note == "late"


async def closed(pilot: Pilot[None]) -> None:
    """Presses esc until the screen has its keys back."""
    for _ in range(9):
        if isinstance(pilot.app.screen, RunsScreen | CompareScreen) and not isinstance(pilot.app.focused, Input):
            return
        await at_once(pilot, "escape")
    raise AssertionError(pilot.app.screen)


def possible(screen: Any, binding: Binding) -> bool:
    """Whether the key would open something now."""
    name, _, parameter = binding.action.partition("(")
    if name == "act":
        do = ACTIONS[parameter.strip("')")].do
        if "ask(" not in inspect.getsource(do.func if isinstance(do, partial) else do):  # type: ignore[arg-type]
            return False
    if name == "compare" and not screen.current.folder.has_adapter:
        return False
    return screen.check_action(name, (parameter.strip("')"),)) is True


@pytest.mark.parametrize(("run", "asked"), [(0, {"n", "p", "K", "S", "t", "i"}), (1, {"D", "e", "m", "i", "slash"})])
async def test_letters_with_a_key_that_opens_something_on_runs_change_nothing(
    run: int, asked: set[str], root: Path, worker: Callable[[RunFolder], int]
) -> None:
    trained(root, "tone", "dpo", age=9).evidence.write_text("{}")
    worker(make_run(root, "tone", [*beginning(), *training(0, 5)]))
    async with runs_screen(root) as pilot:
        await shows(pilot, "5/100")
        screen = pilot.app.screen
        assert isinstance(screen, RunsScreen)
        before, tried = sorted(root.rglob("*")), set()
        for binding in opening(RunsScreen):
            screen.table.go_to(screen.runs[run].id)
            while screen.view.run_shown != screen.current:
                await closed(pilot)  # What the last key asked for may be told late, on a loaded machine.
                await pilot.pause(0.02)
            if possible(screen, binding):
                key = binding.key.split(",")[0]
                tried.add(key)
                # A archives the run, D asks whether to delete it, P pauses it.
                await at_once(pilot, key, *"APs")
                await closed(pilot)
                assert sorted(root.rglob("*")) == before, key
                if isinstance(pilot.app.screen, CompareScreen):
                    await at_once(pilot, "2")
        assert asked <= tried


async def test_letters_with_a_key_that_opens_something_on_compare_change_nothing(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Scorers, "of", lambda *_: Silent())
    workspace = make_workspace(root, 8)
    trained(root, "tone", "dpo", age=9)
    async with runs_screen(root) as pilot:
        await at_once(pilot, "3")
        screen = pilot.app.screen
        assert isinstance(screen, CompareScreen)
        screen.open(load_pairs(workspace.pairs_file("support"))[0][0])
        await until(pilot, lambda: len(screen.comparison.columns) == 2 and len(screen.comparison.answers) == 2)
        before = screen.comparison
        keys = [binding.key for binding in opening(CompareScreen)]
        assert {"p", "r", "plus", "f", "d", "P"} <= set(keys)
        for key in keys:
            # - takes the column away, space turns to a probe.
            await at_once(pilot, key, *"- x")
            await closed(pilot)
            assert screen.comparison == before, key


class Silent:
    """A scorer whose model never comes."""

    running = True

    async def start(self) -> None:
        await asyncio.Event().wait()


# Through a real terminal


def changed(workspace: Workspace, *bursts: str) -> bool:
    """Whether writes to the terminal changed anything. All of them have worked once q has ended the program."""
    before = state(workspace)
    with Terminal(workspace.root) as terminal:
        terminal.read_until("the model will prefer")
        terminal.count(1)
        for key in (*bursts, "\x1b", "\x1b"):
            terminal.press(key)
            terminal.count(0.4)
        terminal.quit()
    return state(workspace) != before


@pytest.mark.parametrize(
    "bursts",
    [
        ("/sax",),
        ("v\r\r",),
        *(pytest.param(bursts, marks=pytest.mark.slow) for bursts in (("d\r\r\r",), ("esax\x1b", "y"), ("3sax",))),
    ],
)
def test_a_burst_through_a_terminal_changes_nothing(bursts: tuple[str, ...], tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, 8)
    trained(tmp_path, "support", "dpo", age=1)
    assert not changed(workspace, *bursts)
    assert not list((tmp_path / ".cache" / "errors").glob("*"))


def test_the_witness_sees_a_change(tmp_path: Path) -> None:
    """Without this, the tests above would prove nothing."""
    assert changed(make_workspace(tmp_path, 8), "x")
