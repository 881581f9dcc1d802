"""What the screens say of terminals that cannot show them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.end_to_end.conftest import workbench


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
