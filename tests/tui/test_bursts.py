"""Keys that arrive in one write, as over SSH: what comes with a key that opens something goes to what it opens.

The witness is the journal: none of these bursts changes a pair, though s swaps, a accepts, x drops and D deletes.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.screen import ModalScreen
from textual.widgets import Input

from tests.bench.terminal import Terminal
from tests.tui.dialogs import at_once
from tests.tui.pairs_data import make_workspace
from tests.tui.pairs_screen import opened
from tests.tui.runs_data import trained
from tests.tui.runs_screen import until
from workbench.pairs.store import load_pairs
from workbench.workspace import Workspace

_OPENING = ["/", "e", "E", "c", "t", "o", "n", "r", "D", "f", "S", "v", "d", "i", "w", "question_mark", "ctrl+p"]


def state(workspace: Workspace) -> list[tuple[str, bytes]]:
    """What a key could have changed: pairs with their journal's edits, and the runs' folders."""
    pairs = [(name, repr(load_pairs(workspace.pairs_file(name))).encode()) for name in workspace.datasets()]
    runs = [(str(path), path.read_bytes()) for path in sorted(workspace.runs.rglob("*")) if path.is_file()]
    return pairs + runs


@pytest.mark.parametrize("key", _OPENING)
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


# Through a real terminal


def changed(workspace: Workspace, *bursts: str) -> bool:
    """Whether writes to the terminal changed anything; ends the program by q, or fails."""
    before = state(workspace)
    with Terminal(workspace.root) as terminal:
        terminal.read_until("the model will prefer")
        terminal.count(1)
        for burst in bursts:
            terminal.press(burst)
            terminal.count(2)
        return state(workspace) != before


@pytest.mark.parametrize("burst", ["/sax", "v\r\r", "d\r\r\r", "esax\x1b", "3sax"])
def test_a_burst_through_a_terminal_changes_nothing(burst: str, tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, 8)
    trained(tmp_path, "support", "dpo", age=1)
    assert not changed(workspace, burst)
    assert not list((tmp_path / ".cache" / "errors").glob("*"))


def test_the_witness_sees_a_change(tmp_path: Path) -> None:
    """Without this, the tests above would prove nothing."""
    assert changed(make_workspace(tmp_path, 8), "x")
