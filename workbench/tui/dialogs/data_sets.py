"""The dialog with the data sets of the workspace: to open, to bring pairs into, to merge, to begin."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from workbench import figures
from workbench.errors import WorkbenchError
from workbench.text import cut
from workbench.tui.background import background
from workbench.tui.dialogs.ask import AskDialog
from workbench.tui.dialogs.base import Dialog
from workbench.tui.widgets.fields import Options
from workbench.workspace import Workspace

_NAME = 22


@dataclass(frozen=True, slots=True)
class OpenSet:
    """Open a data set."""

    name: str


@dataclass(frozen=True, slots=True)
class NewSet:
    """Begin an empty one and open it."""

    name: str


@dataclass(frozen=True, slots=True)
class CopyTo:
    """Copy or move what is shown into a data set, which may be a new one."""

    name: str
    move: bool


@dataclass(frozen=True, slots=True)
class MergeFrom:
    """Copy all pairs of a data set into the one that is open."""

    name: str


Answer = OpenSet | NewSet | CopyTo | MergeFrom


class DataSetsDialog(Dialog[Answer | None]):
    """The data sets; `current` is open, and shows `shown` pairs. None where it is given up."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,d", "dismiss(None)", "Give up"),
        Binding("c", "transfer(False)", "Copy what is shown into it"),
        Binding("m", "transfer(True)", "Move what is shown into it"),
        Binding("g", "merge", "Merge it into the open one"),
        Binding("n", "begin", "New data set"),
    ]
    DEFAULT_CSS = "DataSetsDialog #said { height: 1; color: $warning; }"

    def __init__(self, workspace: Workspace, current: str | None, shown: int) -> None:
        super().__init__()
        self._workspace, self._current, self._shown = workspace, current, shown
        self._names = workspace.datasets()

    def compose(self) -> ComposeResult:
        """The list, and what can be done."""
        with Vertical(classes="dialog"):
            yield Static("Data sets", classes="dialog-title")
            yield Options(
                *(Option(self._line(name), id=name) for name in self._names),
                Option(Content.styled("+ a new one", "$secondary")),
                compact=True,
                markup=False,
            )
            yield Static(id="said", markup=False)
            keys = "enter opens · n new · esc gives up"
            if self._current is not None:
                pairs = "the 1 pair" if self._shown == 1 else f"the {self._shown:,} pairs"
                keys += f"\nc copies, m moves {pairs} now shown into it · g merges it into {cut(self._current, 20)}"
            yield Static(keys, markup=False, classes="dialog-hint")

    def on_mount(self) -> None:
        """Begins at the one that is open, and counts."""
        place = self._names.index(self._current) if self._current in self._names else 0
        self.query_one(OptionList).highlighted = place
        self._count()

    @background("count", doing="counting the pairs of each data set")
    async def _count(self) -> None:
        options = self.query_one(OptionList)
        for name in self._names:
            described = await asyncio.to_thread(_described, self._workspace.pairs_file(name))
            options.replace_option_prompt(name, self._line(name, described))

    def _line(self, name: str, described: str = "") -> Content:
        sign = "● " if name == self._current else "  "
        return Content.assemble((sign, "$accent"), f"{cut(name, _NAME):<{_NAME}}", (described, "$secondary"))

    @property
    def _under_cursor(self) -> str | None:
        """The data set under the cursor; None for a new one."""
        place = self.query_one(OptionList).highlighted or 0
        return self._names[place] if place < len(self._names) else None

    def on_option_list_option_selected(self) -> None:
        """Opens it."""
        name = self._under_cursor
        if name is None:
            self.action_begin()
        else:
            self.dismiss(OpenSet(name))

    @background("dialog", doing="beginning a data set", opens=True)
    async def action_begin(self) -> None:
        """Asks for a name."""
        name = await self._new_name("Name of the new data set")
        if name is not None:
            self.dismiss(NewSet(name))

    @background("dialog", doing="copying or moving pairs", opens=True)
    async def action_transfer(self, move: bool) -> None:
        """Into the one under the cursor; asks for a new one's name."""
        if not self._shown:
            self._say("Nothing is shown that could go there.")
        elif self._under_cursor is not None and self._under_cursor == self._current:
            self._say("They are in it. Choose another, or a new one.")
        else:
            name = self._under_cursor or await self._new_name(f"{'Move' if move else 'Copy'} into a new data set named")
            if name is not None:
                self.dismiss(CopyTo(name, move))

    def action_merge(self) -> None:
        """Takes the one under the cursor into the one that is open."""
        if self._current is None or self._under_cursor is None or self._under_cursor == self._current:
            self._say("Choose another data set to merge into the open one.")
        else:
            self.dismiss(MergeFrom(self._under_cursor))

    async def _new_name(self, question: str) -> str | None:
        answers = await self.app.push_screen_wait(AskDialog(question))
        name = answers[0] if answers else ""
        if not name:
            return None
        try:
            if self._workspace.pairs_file(name).exists():
                raise WorkbenchError(f"{name!r} exists already", "")
        except WorkbenchError as error:
            self._say(f"{error.title}. {error.hint}")
            return None
        return name

    def _say(self, text: str) -> None:
        self.query_one("#said", Static).update(f"▲ {cut(text, 64)}")


def _described(path: Path) -> str:
    """Lines, size and age of a file, as far as it can be read."""
    try:
        stat = path.stat()
        with path.open("rb") as file:
            lines = sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(2**20), b""))
    except OSError as error:
        return f"▲ {error.strerror}"
    pairs = figures.plural(lines, "pair")
    return f"{pairs:>14}  {figures.size(stat.st_size):>8}  {figures.rough(max(time.time() - stat.st_mtime, 0)):>10} ago"
