"""The dialog that puts another column beside the base."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import OptionList, Static

from workbench.compare.scorers import Base
from workbench.compare.tuned_runs import TunedRun
from workbench.text import one_line
from workbench.tui.dialogs.base import Dialog
from workbench.tui.widgets.fields import TextField

_NAME = 40


@dataclass(frozen=True, slots=True)
class ColumnChoice:
    """A run, or the base where `run` is None, under a system message where one was typed."""

    run: TunedRun | None
    system: str | None


class ColumnDialog(Dialog[ColumnChoice | None]):
    """Runs and the base to pick from, and a system message that the picked one gets; None where it is given up."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,ctrl+enter,ctrl+s", "apply", "Add", priority=True),
        Binding("escape", "dismiss(None)", "Give up", priority=True),
    ]

    def __init__(self, runs: Sequence[TunedRun], base: Base) -> None:
        """`base` is what is compared now; a run of another base begins the comparison anew."""
        super().__init__()
        self._runs, self._base = runs, base

    def compose(self) -> ComposeResult:
        """Runs, base, system message."""
        names = [one_line(run.name, _NAME) for run in self._runs]
        width = max([len("base"), *(cell_len(name) for name in names)])
        lines = [
            Content.assemble(name, " " * (width - cell_len(name) + 3), (self._remark(run), "$secondary"))
            for name, run in zip(names, self._runs, strict=True)
        ]
        base = Content.assemble("base".ljust(width + 3), ("with the system message below", "$secondary"))
        with Vertical(classes="dialog -wide"):
            yield Static("Put beside the base", markup=False, classes="dialog-title")
            yield OptionList(*lines, base, compact=True)
            yield Static("system message (for a run: optional)", markup=False, classes="label")
            yield TextField("")
            yield Static("↑↓ choose · tab system message · enter adds · esc gives up", classes="dialog-hint")

    def on_mount(self) -> None:
        """Begins at the newest run; without runs, in the system message."""
        self.query_one(OptionList).highlighted = 0
        self.query_one(TextField if not self._runs else OptionList).focus()

    @on(OptionList.OptionSelected)
    def action_apply(self) -> None:
        """Gives the choice back; the base without a system message is there already."""
        number = self.query_one(OptionList).highlighted or 0
        run = self._runs[number] if number < len(self._runs) else None
        field = self.query_one(TextField)
        system = field.content.strip() or None
        if run is None and system is None:
            field.focus()
            self.notify("The base itself is there already: type a system message for it.", markup=False)
            return
        self.dismiss(ColumnChoice(run, system))

    def _remark(self, run: TunedRun) -> str:
        parts = [run.method, f"{run.status} at step {run.step}"]
        if run.base != self._base:
            parts.append(f"begins anew with {one_line(run.base.model, 30)} {run.base.quantization}")
        return " · ".join(parts)
