"""The dialog that asks what is measured besides a run and its base: the merged model, tasks of lm-eval."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Input, Static

from workbench.errors import WorkbenchError
from workbench.evidence.jobs import merged_model
from workbench.runs.folder import RunFolder
from workbench.text import one_line, safe
from workbench.tui.dialogs.base import Dialog
from workbench.tui.widgets.fields import LineField, PathField

if TYPE_CHECKING:
    from workbench.evidence.capabilities import TasksAsked


@dataclass(frozen=True, slots=True)
class MeasuredBesides:
    """What is measured besides base and run; None for what is not."""

    merged: Path | None = None
    tasks: TasksAsked | None = None


class EvaluateDialog(Dialog[MeasuredBesides | None]):
    """Asks for a merged model and for tasks; enter measures. None where it is given up."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "apply", "Measure"),
        Binding("down", "app.focus_next", "Next field", priority=True, show=False),
        Binding("up", "app.focus_previous", "Field before", priority=True, show=False),
        Binding("escape", "dismiss(None)", "Cancel", priority=True),
    ]
    DEFAULT_CSS = """
    EvaluateDialog .wrong { color: $error; display: none; margin-bottom: 1; height: auto; }
    """

    def __init__(self, folder: RunFolder, merged: Path | None) -> None:
        """`merged` is the run's merged model, where one is known."""
        super().__init__()
        self._folder, self._merged = folder, merged

    def compose(self) -> ComposeResult:
        """A field each, what the keys do."""
        with Vertical(classes="dialog -wide"):
            yield Static(f"Measure {one_line(self._folder.id, 60)}", markup=False, classes="dialog-title")
            yield Static("folder of the merged model, measured beside base and run", markup=False, classes="label")
            yield PathField(str(self._merged or ""), placeholder="none: m merges the run", id="merged")
            yield Static("tasks of lm-eval, separated by commas", markup=False, classes="label")
            yield LineField(placeholder="none; for example arc_easy,hellaswag", id="tasks")
            yield Static("items of each task at most", markup=False, classes="label")
            yield LineField(placeholder="all", id="limit")
            yield Static(markup=False, classes="wrong")
            yield Static("enter measures · tab next · → completes a path · esc cancels", classes="dialog-hint")

    def on_mount(self) -> None:
        """Begins in the first field."""
        self.query_one("#merged").focus()

    @on(Input.Submitted)
    def action_apply(self) -> None:
        """Answers; where something is wrong, says so and stays."""
        try:
            self.dismiss(self._asked())
        except WorkbenchError as error:
            wrong = self.query_one(".wrong", Static)
            wrong.update(safe(f"✘ {error.title}: {error.message} {error.hint}"))
            wrong.display = True

    def _asked(self) -> MeasuredBesides:
        # It brings libraries of statistics, which the screens do without until somebody measures.
        from workbench.evidence.capabilities import TasksAsked, check_installed, task_names

        path, limit = self.query_one(PathField).path, self.query_one("#limit", LineField).content.strip()
        names = task_names(self.query_one("#tasks", LineField).content)
        if limit and not (limit.isascii() and limit.isdigit() and int(limit) > 0):
            raise WorkbenchError("No number of items", f"{limit!r} is not one.", "Leave it empty for all.")
        tasks = TasksAsked(names, limit=int(limit) if limit else None) if names else None
        if tasks is not None:
            check_installed(tasks, self._folder.record().config.model, self._folder.adapter)
        return MeasuredBesides(merged_model(path, self._folder) if path is not None else None, tasks)
