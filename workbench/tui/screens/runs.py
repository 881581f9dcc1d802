"""The Runs screen: the table of runs above, the highlighted one below, live; and what every key does."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from textual import events, on
from textual.binding import Binding, BindingType

from workbench.config import to_toml
from workbench.runs.quantities import METRICS
from workbench.runs.series import AXES
from workbench.text import one_line
from workbench.tui.background import background
from workbench.tui.dialogs.choose import ChooseDialog
from workbench.tui.dialogs.new_run import NewRunDialog
from workbench.tui.dialogs.overlay import OverlayDialog
from workbench.tui.dialogs.read import ReadDialog
from workbench.tui.dialogs.toml import TomlDialog
from workbench.tui.screens.runs_life import ACTIONS, RunsLife
from workbench.tui.widgets.run_charts import charts_of
from workbench.tui.widgets.run_table import NAMES, RunSearch, RunTable, ascending_first, column, metrics_of
from workbench.tui.widgets.run_words import alerts_in_full, name_of

_SMOOTHING = (0.0, 0.6, 0.9, 0.97)
"""Weights of the past, from none to much."""
_ALWAYS = ("new_run", "back", "next", "sort", "search", "show_archived")


class RunsScreen(RunsLife):
    """Runs, live or past."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "new_run", "New run"),
        Binding("enter", "open", "Open, then zoom the chart", show=False),
        Binding("p", "stop", "Stop"),
        Binding("space,P", "pause", "Pause, continue", show=False),
        Binding("r", "resume", "Resume"),
        Binding("K", "kill", "Kill at once", show=False),
        Binding("plus", "overlay", "Overlay", key_display="+"),
        Binding("minus", "overlay_less", "Remove the last overlay", key_display="-", show=False),
        Binding("s", "samples", "Samples"),
        Binding("h", "alerts", "Alerts in full", show=False),
        Binding("l", "log", "Log"),
        Binding("c", "compare", "Compare"),
        Binding("e", "evaluate", "Evaluate: does it hold?", show=False),
        Binding("m", "merge", "Merge into the base", show=False),
        Binding("i", "settings", "Settings as TOML", show=False),
        Binding("w", "report", "Write the report", show=False),
        Binding("x", "axis", "Axis: steps, epochs, pairs, minutes", show=False),
        Binding("y", "smooth", "Smoothing", show=False),
        Binding("z", "zoom", "Zoom the chart", show=False),
        Binding("left_square_bracket,left", "step(-1)", "Previous chart, earlier samples", key_display="[", show=False),
        Binding("right_square_bracket,right", "step(1)", "Next chart, later samples", key_display="]", show=False),
        Binding("j,down", "next(1)", "Next run", show=False),
        Binding("k,up", "next(-1)", "Previous run", show=False),
        Binding("S", "sort", "Sort by", show=False),
        Binding("slash", "search", "Filter", key_display="/", show=False),
        Binding("t", "label", "Name, tags and note", show=False),
        Binding("A", "archive", "Archive", show=False),
        Binding("a", "show_archived", "Show archived runs", show=False),
        Binding("less_than_sign", "move_in_queue(-1)", "Earlier in the queue", key_display="<", show=False),
        Binding("greater_than_sign", "move_in_queue(1)", "Later in the queue", key_display=">", show=False),
        Binding("D", "delete", "Delete", show=False),
        Binding("escape", "back", "Back to the list", show=False),
    ]

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Dims the keys that would do nothing now."""
        del parameters
        run = self.current
        if action in ACTIONS:
            return True if run is not None and ACTIONS[action](run) else None
        if action == "alerts":
            return True if run is not None and run.state.warnings else None
        if action == "overlay_less":
            return True if self.overlaid else None
        named = action in {each.action.partition("(")[0] for each in self.BINDINGS if isinstance(each, Binding)}
        return True if run is not None or action in _ALWAYS or not named else None

    @on(RunTable.Opened)
    def action_open(self) -> None:
        """Gives the run the whole screen; there, zooms the marked chart."""
        if self.has_class("-open"):
            self.view.zoom()
        else:
            self.add_class("-open")
        self.look_now()

    def action_back(self) -> None:
        """From the zoomed chart, the log or the answers to the run, from the run to the table, then to all runs."""
        if self.view.restore():
            self.look_now()
        elif self.has_class("-open"):
            self.remove_class("-open")
            self.table.focus()
        else:
            self.query_one(RunSearch).clear()

    def action_next(self, runs: int) -> None:
        """Shows the next or the previous run, while the table is hidden too."""
        self.table.move(runs)

    def action_step(self, steps: int) -> None:
        """Marks the next or the previous chart, or shows later or earlier answers."""
        self.view.step(steps)
        self.look_now()

    def action_zoom(self) -> None:
        """Shows the marked chart alone, or all."""
        self.view.zoom()
        self.look_now()

    def action_log(self) -> None:
        """Shows the worker's log in the place of the charts, or the charts again."""
        self.view.turn_to("log")
        self.look_now()

    def action_samples(self) -> None:
        """Shows what base and aligned model answered, or the charts again."""
        self.view.turn_to("samples")
        self.look_now()

    def action_axis(self) -> None:
        """Draws the curves over the next axis."""
        axis = AXES[(AXES.index(self.look.axis) + 1) % len(AXES)]
        self.look = replace(self.look, axis=axis)
        self.look_now()

    def action_smooth(self) -> None:
        """Smooths the curves more, or not at all."""
        weight = _SMOOTHING[(_SMOOTHING.index(self.look.smoothing) + 1) % len(_SMOOTHING)]
        self.look = replace(self.look, smoothing=weight)
        self.look_now()

    @background("ask", doing="choosing overlays", exclusive=True, opens=True)
    async def action_overlay(self) -> None:
        """Asks which runs to lay over the charts."""
        others = [run for run in self.runs if run.id != self.table.current and charts_of(run.state)]
        if not others:
            self.workbench.tell("There is no other run to lay over this one.")
            return
        chosen = await self.app.push_screen_wait(OverlayDialog(others, self.overlaid))
        if chosen is not None:
            self.overlaid = chosen
            self.look_now()

    def action_overlay_less(self) -> None:
        """Takes the last run off the charts again."""
        self.overlaid = self.overlaid[:-1]
        self.look_now()

    def action_alerts(self) -> None:
        """Shows every alert with its reason and remedy."""
        run = self.current
        if run is not None and run.state.warnings:
            count = len(run.state.warnings)
            title = f"{count} alert{'s' if count > 1 else ''} · {name_of(run)}"
            self.app.push_screen(ReadDialog(title, alerts_in_full(run.state.warnings)))

    def on_click(self, event: events.Click) -> None:
        """A click on an alert shows all of it."""
        if event.widget is not None and event.widget.id == "alerts":
            self.action_alerts()

    def action_settings(self) -> None:
        """Shows the run's settings."""
        run = self.current
        if run is None:
            return
        if run.config is None:
            self.workbench.tell("The run's settings cannot be read: run.toml is missing or damaged.")
            return
        self.app.push_screen(TomlDialog(f"Settings · {name_of(run)}", to_toml(run.config)))

    @background("ask", doing="sorting the runs", exclusive=True, opens=True)
    async def action_sort(self) -> None:
        """Asks for the column to sort by; the one that is chosen already turns the order around."""
        told = metrics_of(self.runs)
        choices = {label: key for key, label in NAMES.items() if key != "reward" or "reward" in told}
        known = {metric for key in NAMES if key in METRICS for metric in METRICS[key]}
        choices |= {one_line(metric): metric for metric in told if metric not in known}
        now = next((label for label, key in choices.items() if key == self.sort), None)
        remarks = [
            (label, ("▴ upwards" if self.upwards else "▾ downwards") if label == now else "") for label in choices
        ]
        chosen = await self.app.push_screen_wait(ChooseDialog("Sort by", remarks, current=now))
        if chosen is not None:
            self.sort_by(choices[chosen])

    def sort_by(self, key: str) -> None:
        """Sorts the table by a column; by the one it is sorted by already, the other way around."""
        self.upwards = not self.upwards if key == self.sort else ascending_first(key)
        self.sort = column(key).key
        self.arrange_table()

    def on_run_table_sort_asked(self, event: RunTable.SortAsked) -> None:
        """A click on a title sorts."""
        self.sort_by(event.key)

    def action_search(self) -> None:
        """Opens the line that filters."""
        self.action_back_to_table()
        self.query_one(RunSearch).open()

    def action_back_to_table(self) -> None:
        """Shows the table."""
        self.view.restore()
        self.remove_class("-open")

    def action_show_archived(self) -> None:
        """Shows archived runs as well, or hides them again."""
        self.with_archived = not self.with_archived
        hidden = sum(run.labels.archived for run in self.runs)
        self.workbench.tell(f"{hidden} archived {'shown' if self.with_archived else 'hidden'}.")
        self.arrange_table()

    async def action_compare(self) -> None:
        """Compares the run with its base model."""
        run = self.current
        if run is None:
            return
        if not run.folder.adapter.is_dir():
            self.workbench.tell("This run has saved no adapter yet: there is nothing to compare.")
            return
        await self.workbench.compare(run=run.id)

    @background("ask", doing="starting a run", exclusive=True, opens=True)
    async def action_new_run(self) -> None:
        """Asks what to train, and starts it."""
        started = await self.app.push_screen_wait(NewRunDialog(self.workbench.workspace))
        if started is not None:
            self.workbench.run_to_open = started
            self.action_back_to_table()
            self.look_now(at_list=True)
