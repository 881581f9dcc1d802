"""Whatever the terminal says that it is: every screen opens, nothing is told by colour alone, and keys work."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.end_to_end.conftest import workbench
from tests.end_to_end.tmux import Tmux, needs_tmux
from tests.tui.pairs_data import make_workspace
from tests.tui.runs_data import beginning, make_run, training
from workbench.pairs.store import load_pairs


@pytest.mark.parametrize("term", ["dumb", "unknown", ""])
@pytest.mark.parametrize("command", [(), ("demo",)])
def test_a_terminal_that_cannot_paint_is_told_what_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, term: str, command: tuple[str, ...]
) -> None:
    monkeypatch.setenv("TERM", term)
    done = workbench(tmp_path, *command)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "\x1b" not in done.stderr
    assert f"TERM is {term or 'not set'}." in done.stderr
    assert "export TERM=xterm-256color" in done.stderr
    assert list(tmp_path.iterdir()) == []
    # The commands are as good as ever.
    done = workbench(tmp_path, "runs")
    assert done.returncode == 0, done.stderr


def test_without_a_terminal_the_screens_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    done = workbench(tmp_path)
    assert done.returncode == 2
    assert "Standard input is not one." in done.stderr
    assert "ssh -t" in done.stderr


_UNDERLINED = re.compile(r"\x1b\[(?:\d+;)*4[;m]")
TRUE = {"COLORTERM": "truecolor"}
NONE = {"COLORTERM": ""}


@needs_tmux
@pytest.mark.parametrize(
    ("environment", "few"),
    [
        pytest.param({"TERM": "linux", "NO_COLOR": "1"} | NONE, True, id="linux without colours"),
        pytest.param({"TERM": "linux"} | NONE, True, id="linux", marks=pytest.mark.slow),
        pytest.param({"TERM": "tmux-256color", "NO_COLOR": "1"} | TRUE, True, id="no colours", marks=pytest.mark.slow),
        pytest.param({"TERM": "xterm-256color"} | TRUE, False, id="xterm", marks=pytest.mark.slow),
        pytest.param({"TERM": "screen-256color"} | NONE, False, id="screen", marks=pytest.mark.slow),
        pytest.param({"TERM": "tmux-256color"} | NONE, False, id="tmux", marks=pytest.mark.slow),
    ],
)
def test_every_screen_opens_and_signs_tell_what_colours_do(
    tmp_path: Path, environment: Mapping[str, str], few: bool
) -> None:
    """What is waited for is text without colours."""
    workspace = make_workspace(tmp_path, 5)
    make_run(tmp_path, "support", [*beginning(), *training(0, 41)])
    with Tmux(tmp_path, environment=environment) as tmux:
        tmux.wait("the model will prefer")
        for key, sign in (("a", "✔ accepted"), ("x", "✘ dropped"), ("m", "⚑ flagged")):
            tmux.press(key)
            tmux.wait(f"  {sign} ")
        tmux.press("S")
        tmux.wait("Sort by")
        # What is chosen from is told by a ground, which 16 colours do not have.
        assert few is bool(_UNDERLINED.search(tmux.styled_screen())), tmux.styled_screen()
        tmux.press("Escape")
        tmux.wait(lambda seen: "Sort by" not in seen)  # Right after escape, 2 is alt+2.
        tmux.press("2")
        tmux.wait("41/100")
        tmux.press("3")
        tmux.wait("Prompt")
        tmux.press("?")
        tmux.wait("esc closes")
        tmux.press("Escape")
        tmux.wait(lambda seen: "esc closes" not in seen)
        tmux.press("q")
        tmux.wait_for_the_end()
    assert not workspace.errors.exists(), [path.read_text() for path in workspace.errors.iterdir()]
    assert {"accepted", "dropped", "flagged"} <= {
        pair.status for pair in load_pairs(workspace.pairs_file("support"))[0]
    }


@needs_tmux
def test_the_screens_outlive_a_connection(tmp_path: Path) -> None:
    """They are left by detaching, and found again from a terminal of another size as they were."""
    workspace = make_workspace(tmp_path, 5)
    # As a shell exports them, which nobody changes any more.
    exported = {"COLORTERM": "truecolor", "COLUMNS": "80", "LINES": "24"}
    with Tmux(tmp_path, environment=exported) as tmux:
        tmux.wait("the model will prefer")
        with tmux.attached((160, 50)):
            tmux.wait(lambda seen: max(map(len, seen.splitlines())) > 100)
            tmux.press("a", "e")
            tmux.wait("Edit the pair")
            tmux.type("A change that is not saved. ")
            tmux.wait("A change that is not saved.")
        for size in ((60, 20), (120, 40)):
            with tmux.attached(size):
                # One line of the terminal is tmux's own.
                tmux.wait(lambda seen, size=size: len(seen.rstrip("\n").split("\n")) == size[1] - 1)
                tmux.wait("A change that is not saved.")
        tmux.press("C-s")
        tmux.wait(lambda seen: "Edit the pair" not in seen)
        tmux.press("q")
        tmux.wait_for_the_end()
    pairs = load_pairs(workspace.pairs_file("support"))[0]
    assert pairs[0].status == "accepted"
    assert any("A change that is not saved." in str(pair) for pair in pairs)
    assert not workspace.errors.exists()
