"""The panel of the checks alone, for tests: over a data set with known faults."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from tests.tui.runs_screen import until
from workbench.pairs.checks.background import PairChecks
from workbench.pairs.pair import Message, Pair
from workbench.pairs.store import write_pairs
from workbench.tui import app as application
from workbench.tui.dialogs.checks import ChecksDialog
from workbench.tui.steady import SteadyApp
from workbench.tui.theme import DARK

THINGS = ("router", "kettle", "bicycle", "passport", "piano", "tent", "lamp", "garden")


def talk(identity: str, prompt: str, chosen: str, rejected: str, **more: Any) -> Pair:
    sides = (Message("assistant", chosen),), (Message("assistant", rejected),)
    return Pair(identity, (Message("user", prompt),), *sides, **more)


CLEAN = [
    talk(
        f"clean-{number}",
        f"How do I look after a {thing}?",
        f"Keep the {thing} dry, and have someone look at it once a year." + " Write it down." * (number % 3),
        f"Nobody can say what a {thing} needs; it is all a matter of luck." + " Who knows?" * ((number + 1) % 3),
    )
    for number, thing in enumerate(THINGS)
]
FAULTY = [
    *CLEAN,
    replace(CLEAN[0], id="copy-1"),
    replace(CLEAN[0], id="copy-2"),
    talk("same", "May I paint the door?", "Yes, you may.", "Yes, you may."),
    replace(CLEAN[1].swapped(), id="back"),
    talk("odd \x1b]52;c;aGk=\x07", "What is [b]this[/]?", "Itâ€™s a \u202e cup.", "No idea at all."),
]


class Panel(SteadyApp):
    """Nothing but the panel; `answers` are what it answered."""

    CSS_PATH = Path(application.__file__).with_name("app.tcss")

    def __init__(self, checks: PairChecks) -> None:
        super().__init__()
        self.checks, self.answers = checks, list[Any]()

    def on_mount(self) -> None:
        self.register_theme(DARK)
        self.theme = DARK.name
        self.open()

    def open(self) -> None:
        self.push_screen(
            ChecksDialog(self.checks, self.checks.path.stem, peek="The prompt of {}".format), self.answered
        )

    def answered(self, answer: Any) -> None:
        self.answers.append(answer)

    def on_unmount(self) -> None:
        self.checks.close()


def panel(folder: Path, pairs: list[Pair], name: str = "faulty") -> Panel:
    path = folder / f"{name}.jsonl"
    write_pairs(path, pairs)
    return Panel(PairChecks(path))


async def checked(pilot: Pilot[None]) -> None:
    """Waits until the checks are done and shown."""
    app = pilot.app
    assert isinstance(app, Panel)
    await until(pilot, lambda: not app.checks.running)
    await pilot.pause(0.4)
