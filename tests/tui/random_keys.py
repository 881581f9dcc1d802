"""Keys at random through a pseudo-terminal: one at a time, and many in one write."""

from __future__ import annotations

import contextlib
import multiprocessing
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench.terminal import Terminal
from tests.tui.pairs_data import make_workspace
from tests.tui.runs_data import beginning, make_run, trained

# Without ctrl+c, ctrl+q and ctrl+z, which end or stop the program. (The palette of ctrl+p may end it too.)
_LETTERS = [*"abcdefghijklmnoprstuvwxyzABCDEFGHIJKLMNOPRSTUVWXYZ0123456789/?+-<>[], .#", *"123123"]
_OTHERS = [
    "\r",
    "\x1b",
    "\t",
    "\x1b[Z",
    "\x1b[A",
    "\x1b[B",
    "\x1b[C",
    "\x1b[D",
    "\x1b[5~",
    "\x1b[6~",
    "\x1b[H",
    "\x1b[F",
]
_PALETTE = "\x10"
_CONTROLS = [_PALETTE, "\x7f", "\x13", "\x0e", "\x12", "\x04", "\x0f", "\x14", "\x18", "\n"]
_KEYS = [*_LETTERS, *_OTHERS, *_OTHERS, *_CONTROLS, "\r", "\r", "\x1b", "\x1b"]


def type_at_random(folder: Path, seed: int, count: int, patch: pytest.MonkeyPatch) -> None:
    """Types `count` keys and quits. Asserts that the program lived until q, met nothing unforeseen, ended with 0.

    Where the palette was opened and its command to quit was run, the program is started anew.
    """
    patch.chdir(folder)  # Exports go where the program runs.
    patch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    patch.setenv("VISUAL", "true")
    make_workspace(folder, 30)
    make_workspace(folder, 12, "other")
    for age, method in enumerate(("reward", "dpo")):
        trained(folder, "support", method, age=age)
    make_run(folder, "support", beginning(), age=5)
    rng = random.Random(seed)
    sent: list[str] = []
    while sum(map(len, sent)) < count:
        with Terminal(folder) as terminal:
            terminal.read_until("Keys")
            begun = len(sent)
            while sum(map(len, sent)) < count and terminal.runs:
                keys = rng.randint(2, 12) if rng.random() < 0.5 else 1
                sent.append("".join(rng.choice(_KEYS) for _ in range(keys)))
                with contextlib.suppress(OSError):  # The terminal is closed: the process ends.
                    terminal.press(sent[-1])
                    terminal.count(0.02 if keys > 1 or rng.random() < 0.7 else 0.25)
                assert _written(folder) == "", sent[-8:]
            assert terminal.runs or any(_PALETTE in keys for keys in sent[begun:]), sent[-8:]
            status = _leave(terminal)
            assert status == 0, (status, sent[-8:])
    assert _written(folder) == "", sent[-8:]


def _written(folder: Path) -> str:
    """The tracebacks of what nobody foresaw."""
    return "\n".join(path.read_text("utf-8") for path in (folder / ".cache" / "errors").glob("*.txt"))


def _leave(terminal: Terminal) -> int | None:
    """Closes whatever is open and presses q; the exit status, None where the program stays."""
    with contextlib.suppress(OSError):  # The terminal is closed: the process ends.
        # The program may have hundreds of keys to catch up with, and a model to load, before it comes to these.
        for key in ("\x1b", "y", "\x1b", "q") * 90:
            terminal.press(key)
            terminal.count(0.4)
    try:
        return terminal._process.wait(20)
    except subprocess.TimeoutExpired:
        return None


@contextlib.contextmanager
def load(processes: int) -> Iterator[None]:
    """Keeps cores busy."""
    busy = [multiprocessing.get_context("fork").Process(target=_burn, daemon=True) for _ in range(processes)]
    for process in busy:
        process.start()
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.join()


def _burn() -> None:
    while True:
        pass
