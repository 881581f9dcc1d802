"""The dialog that lays other runs over the charts of one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from workbench import figures
from workbench.runs.catalog import Run
from workbench.tui.dialogs.base import Dialog
from workbench.tui.widgets.fields import Options
from workbench.tui.widgets.run_charts import OVERLAYS
from workbench.tui.widgets.run_table import final_of
from workbench.tui.widgets.run_words import SIGNS


class OverlayDialog(Dialog[list[str] | None]):
    """Runs to mark up to as many as fit on a chart; the answer is the ids of the marked ones in the order of marking.

    None where it is given up.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,ctrl+s", "apply", "Apply", priority=True),
        Binding("space,plus", "mark", "Mark", priority=True),
        Binding("minus", "clear", "None", priority=True),
        Binding("escape,q", "dismiss(None)", "Give up", priority=True),
    ]

    def __init__(self, runs: Sequence[Run], marked: Sequence[str]) -> None:
        super().__init__()
        self._runs = list(runs)
        known = {run.id for run in runs}
        self._marked = [run for run in marked if run in known]

    def compose(self) -> ComposeResult:
        """The runs with their signs."""
        with Vertical(classes="dialog -wide"):
            yield Static("Lay over the charts", markup=False, classes="dialog-title")
            yield Options(*(Option(self._line(run), id=run.id) for run in self._runs), markup=False, compact=True)
            hint = f"space marks, up to {len(OVERLAYS)} · - none · enter applies · esc gives up"
            yield Static(hint, markup=False, classes="dialog-hint")

    def on_mount(self) -> None:
        """Begins at the first run."""
        self.query_one(Options).highlighted = 0

    def _line(self, run: Run) -> Content:
        sign, color = ("·", "secondary")
        if run.id in self._marked:
            sign, color = OVERLAYS[self._marked.index(run.id)]
        status, status_color = SIGNS[run.status]
        margin = final_of(run, "margin")
        room = min(94, self.app.size.width * 94 // 100) - 36
        name = Content(run.name).truncate(room, ellipsis=True)
        return Content.assemble(
            (f"{sign} ", f"bold ${color}"),
            name,
            " " * (room + 2 - name.cell_length),
            (f"{status} {run.status:<9}", status_color),
            (f" margin {figures.difference(margin)}" if margin is not None else "", "$secondary"),
        )

    def _redraw(self) -> None:
        options = self.query_one(Options)
        for index, run in enumerate(self._runs):
            options.replace_option_prompt_at_index(index, self._line(run))

    def action_mark(self) -> None:
        """Marks the highlighted run, or takes its mark away."""
        index = self.query_one(Options).highlighted
        if index is None:
            return
        run = self._runs[index].id
        if run in self._marked:
            self._marked.remove(run)
        elif len(self._marked) < len(OVERLAYS):
            self._marked.append(run)
        else:
            self.notify(f"More than {len(OVERLAYS)} cannot be told apart.", markup=False, timeout=3)
        self._redraw()

    def action_clear(self) -> None:
        """Takes all marks away."""
        self._marked.clear()
        self._redraw()

    def action_apply(self) -> None:
        """Gives the marked runs back."""
        self.dismiss(list(self._marked))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Marks what was clicked on."""
        event.stop()
        self.action_mark()
