"""The form that starts a run: what to train on, which model, the settings that matter most, and what they will take."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Button, Input, Select, Static

from workbench.config import RunConfig, build_config, to_toml
from workbench.errors import WorkbenchError
from workbench.launch import launch, prepare, preview_run, take_rows
from workbench.pairs.store import load_rows
from workbench.runs.catalog import Catalog, Run, rewards, starts
from workbench.runs.preview import RowCounts
from workbench.text import one_line, safe
from workbench.tui.background import background
from workbench.tui.dialogs.base import Dialog
from workbench.tui.dialogs.new_run_fields import RunFields, SettingGrid
from workbench.tui.dialogs.show import TomlDialog
from workbench.tui.widgets.fields import CheckList
from workbench.tui.widgets.run_preview import RunPreview
from workbench.workspace import Workspace

_NAMING = {
    *("model", "method", "adapter", "reward", "report_to"),
    *("launcher", "launcher_config", "launcher_command", "processes"),
}
_PAUSE = 0.25
"""Seconds without a change after which the pairs are counted."""


@dataclass(frozen=True, slots=True)
class _Counted:
    """What was counted, and for which data sets, weights, share and seed: other settings do not change it."""

    key: tuple[object, ...]
    rows: RowCounts


class NewRunDialog(Dialog[str | None]):
    """Asks for a run and starts it; the answer is its id, None where the user went back.

    Beside the fields it shows what the run will take, as that becomes known. Starting never waits for it.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "Back"),
        Binding("ctrl+s", "start", "Start"),
        Binding("ctrl+o", "more", "More settings"),
        Binding("ctrl+t", "toml", "Settings as TOML"),
    ]
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (136, "-wide")]  # noqa: RUF012 - no class variable in the base
    VERTICAL_BREAKPOINTS = [(0, "-short"), (32, "-tall")]  # noqa: RUF012
    DEFAULT_CSS = """
    NewRunDialog #form {
        width: 80; max-width: 100%; height: auto; max-height: 100%; padding: 0 1 0 2;
    }
    NewRunDialog #rooms {
        layout: vertical; height: auto; scrollbar-size-vertical: 1; scrollbar-gutter: stable;
    }
    NewRunDialog #end { padding-right: 1; }
    NewRunDialog #more { display: none; }
    NewRunDialog.-more #more { display: block; }
    NewRunDialog #help { height: 1; text-wrap: nowrap; }
    NewRunDialog .label { color: $secondary; }
    NewRunDialog .row { height: auto; }
    NewRunDialog #verdict { width: 1fr; height: auto; min-height: 1; max-height: 4; }
    NewRunDialog .dialog-buttons { width: auto; }
    NewRunDialog .dialog-buttons Button { min-width: 9; }
    NewRunDialog.-short #form { height: 100%; max-height: 26; }
    NewRunDialog.-short #rooms { height: 1fr; }
    NewRunDialog.-short CheckList { max-height: 3; }
    NewRunDialog.-short #summary, NewRunDialog.-short.-more #first { display: none; }
    NewRunDialog.-tall #form { padding: 1 1 1 2; }
    NewRunDialog.-tall #rooms { max-height: 80vh; }
    NewRunDialog.-tall #help { height: 2; text-wrap: wrap; margin: 1 0; }
    NewRunDialog.-tall #row-method { margin-top: 1; }
    NewRunDialog.-tall #summary { margin: 0 0 1 15; }
    NewRunDialog.-tall SettingGrid { margin-top: 1; }
    NewRunDialog.-wide #form { width: 148; }
    NewRunDialog.-wide #rooms { layout: horizontal; }
    NewRunDialog.-wide RunFields { width: 76; }
    NewRunDialog.-wide RunPreview { width: 1fr; margin: 0 0 0 4; grid-columns: 10 1fr; }
    NewRunDialog.-wide.-tall RunPreview { grid-gutter: 1 0; }
    """

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        self._workspace, self._sets = workspace, workspace.datasets()
        self._config: RunConfig | None = None
        self._counted: _Counted | None = None
        self._prepared: RunConfig | None = None
        """What was found to be there, with all that it names."""
        self._tried: RunConfig | None = None
        self._runs: list[Run] = []
        self._starting = self._wanted = False
        self._left: Widget | None = None
        """What had the focus before the other settings were shown."""

    def compose(self) -> ComposeResult:
        """The fields, what they will take, the verdict on them, and two buttons."""
        with Vertical(id="form", classes="frame") as form:
            form.border_title = "New run"
            with VerticalScroll(id="rooms", can_focus=False):
                yield RunFields(self._sets)
                yield RunPreview()
            with Horizontal(classes="row", id="end"):
                yield Static("", markup=False, id="verdict")
                with Horizontal(classes="dialog-buttons"):
                    yield Button("Back", id="back", compact=True)
                    yield Button("Start", id="start", variant="primary", compact=True, disabled=True)

    def on_mount(self) -> None:
        """Fills in the preset, counts the pairs and looks for runs to build on."""
        self._fields.begin()
        self._tell_keys()
        self._count_sets()
        self._find_runs()
        self.query_one(CheckList).focus()

    @property
    def _fields(self) -> RunFields:
        return self.query_one(RunFields)

    @background("sets", doing="counting the pairs of each data set")
    async def _count_sets(self) -> None:
        """Writes beside every data set how many pairs it has."""
        sets = self.query_one(CheckList)
        for name in self._sets:
            try:
                usable, dropped, problems = await asyncio.to_thread(_counts, self._workspace, name)
            except WorkbenchError as error:
                sets.note(name, f"▲ {one_line(error.title)}", "$warning")
                continue
            told = f"{usable:>6,} pairs"
            told += f", {dropped:,} dropped" if dropped else ""
            told += f", ▲ {problems:,} unusable" if problems else ""
            sets.note(name, told)

    @background("runs", doing="looking for runs to build on")
    async def _find_runs(self) -> None:
        self._runs = await asyncio.to_thread(Catalog(self._workspace.runs).summaries)
        self._offer_runs()

    @on(Input.Changed, "#model")
    def _model_changed(self) -> None:
        self._fields.follow_model()
        self._offer_runs()

    def _offer_runs(self) -> None:
        if self._runs:
            self._offer(self._fields.model)

    @background("offer", doing="looking for runs of this model", exclusive=True)
    async def _offer(self, model: str) -> None:
        """Offers the runs of the model, to go on from and as rewards."""
        self._fields.offer(*await asyncio.to_thread(lambda: (starts(self._runs, model), rewards(self._runs, model))))
        self._check()

    @on(Select.Changed, "#preset")
    def _preset_changed(self) -> None:
        self._fields.take_preset()
        self._check()

    @on(Select.Changed, "#method")
    def _method_changed(self) -> None:
        self._fields.begin()
        self._check()

    @on(Input.Changed)
    @on(Select.Changed)
    @on(CheckList.Changed)
    def _changed(self, event: Input.Changed | Select.Changed | CheckList.Changed) -> None:
        if isinstance(event, Select.Changed) and event.select.id in ("method", "preset"):
            return
        self._fields.tidy()
        self._check()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """Says what the field is about."""
        self._fields.tell_about(event.widget.id)

    def _check(self) -> None:
        """Says what is wrong with the form, or has the pairs counted and the run tried."""
        before = self._config
        self._tell_keys()
        values = self._fields.values
        if not self._sets:
            self._refuse(WorkbenchError("There is no data set yet", "Bring one in: workbench import FILE --name NAME"))
            return
        if not values["pairs"]:
            self._ask("Which data sets?", "Mark one or more with space.")
            return
        if values.get("reward") == "":
            self._ask("Which reward?", "Name a function as FILE.py:FUNCTION, or train a reward model first.")
            return
        try:
            self._config = build_config(values, preset=self._fields.preset)
        except WorkbenchError as error:
            self._refuse(error)
            return
        self._wanted = self._wanted and self._config == before
        self._fields.mark_wrong({})
        if self._counted is not None and self._counted.key == _key(self._config) and self._is_prepared(self._config):
            self._accept(self._config, self._counted.rows)
        else:
            self.query_one("#start", Button).disabled = True
            self._count(self._config)
        if self._tried != self._config:
            self._tried = self._config
            self._try(self._config)

    def _is_prepared(self, config: RunConfig) -> bool:
        return self._prepared is not None and _names(self._prepared) == _names(config)

    @background("count", doing="counting the pairs", exclusive=True)
    async def _count(self, config: RunConfig) -> None:
        """Looks for what is named and counts the pairs that would train, once nothing changed for a moment."""
        await asyncio.sleep(_PAUSE)
        try:
            if not self._is_prepared(config):
                await asyncio.to_thread(prepare, self._workspace, config)
                self._prepared = config
            if self._counted is None or self._counted.key != _key(config):
                self._counted = _Counted(_key(config), await asyncio.to_thread(_row_counts, self._workspace, config))
        except WorkbenchError as error:
            if config == self._config:
                self._refuse(error)
            return
        if self._config is not None and self._is_prepared(self._config) and _key(self._config) == self._counted.key:
            self._accept(self._config, self._counted.rows)

    @background("try", doing="trying what the run will take", exclusive=True)
    async def _try(self, config: RunConfig) -> None:
        """Shows what the run will take; another setting, or the end of the form, ends the process that tries it."""
        shown = self.query_one(RunPreview)
        try:
            await preview_run(self._workspace, config, shown.show)
        except (OSError, WorkbenchError):
            shown.clear()

    def _stop_trying(self) -> None:
        self._tried = None
        self.workers.cancel_group(self, "try")
        self.query_one(RunPreview).clear()

    def _accept(self, config: RunConfig, rows: RowCounts) -> None:
        train, held = rows.train, rows.holdout
        steps = config.total_steps(train)
        online = config.facts.online
        parts: list[tuple[str, str]] = [
            (f"{train:,}", "bold"),
            (" prompts, " if online else " pairs train, ", "$secondary"),
            (f"{held:,}", "bold"),
            (" held out · ", "$secondary"),
            (f"{steps:,}", "bold"),
            (f" steps of {config.step_rows:,}{' answers' if online else ''}", "$secondary"),
        ]
        if rows.unusable:
            parts.append((f"\n▲ {rows.unusable:,} unusable lines are left out", "$warning"))
        if not held:
            parts.append(("\n▲ nothing is held out to measure the run on", "$warning"))
        self.query_one("#verdict", Static).update(Content.assemble(("✔ ", "$success"), *parts))
        self.query_one("#start", Button).disabled = self._starting
        if self._wanted and not self._starting:
            self._begin(config)

    def _ask(self, title: str, message: str) -> None:
        """Says what is only missing yet, and not wrong."""
        self._hold(Content.assemble(("· ", "$accent"), (title, "bold"), "\n", message), {})

    def _refuse(self, error: WorkbenchError) -> None:
        text = Content.assemble(("✘ ", "$error"), (safe(error.title), "bold"), "\n", safe(error.message))
        self._hold(text, error.fields)

    def _hold(self, verdict: Content, wrong: Mapping[str, str]) -> None:
        """Nothing can be started as the form is."""
        self._config, self._wanted = None, False
        self._fields.mark_wrong(wrong)
        self.query_one("#verdict", Static).update(verdict)
        self.query_one("#start", Button).disabled = True
        self._stop_trying()

    def action_more(self) -> None:
        """Shows all other settings, or hides them again; the small screen has place for either."""
        self.toggle_class("-more")
        self._tell_keys()
        if self.has_class("-more"):
            self._left = self.focused
            self.call_after_refresh(self.query_one("#more", SettingGrid).focus_first)
        elif self._left is not None and self._left.display:
            self.call_after_refresh(self._left.focus)

    def _tell_keys(self) -> None:
        changed, short = self._fields.changed_more, self.has_class("-short")
        if self.has_class("-more"):
            more = "first settings" if short else "fewer settings"
        else:
            more = f"more settings, {changed} of them changed" if changed else "more settings"
        keys = ("ctrl+o", "screen.more", more), ("ctrl+t", "screen.toml", "as TOML")
        told = " · ".join(f"[@click={action}]{key}  {what}[/]" for key, action, what in keys)
        form = self.query_one("#form")
        form.border_title = "New run · more settings" if self.has_class("-more") and short else "New run"
        form.border_subtitle = told

    def action_toml(self) -> None:
        """Shows the settings as TOML, to copy."""
        if self._config is None:
            self.notify("Not yet: the form is not right.", timeout=3)
        else:
            self.app.push_screen(TomlDialog("Settings of this run", to_toml(self._config)))

    @on(Button.Pressed, "#back")
    def action_back(self) -> None:
        """Starts nothing."""
        self.dismiss(None)

    @on(Button.Pressed, "#start")
    @on(Input.Submitted)
    def action_start(self) -> None:
        """Starts the run, if the form is right; once its pairs are counted, where they are being counted."""
        if self._starting:
            return
        # What the field has read may not have been told to the form yet.
        self._check()
        if self._config is not None:
            self._wanted = True
            if not self.query_one("#start", Button).disabled:
                self._begin(self._config)

    def _begin(self, config: RunConfig) -> None:
        self._starting, self._wanted = True, False
        self.query_one("#start", Button).disabled = True
        self._start(config)

    @background("start", doing="starting the run", exclusive=True)
    async def _start(self, config: RunConfig) -> None:
        # The worker wants the device that a measured step would hold.
        self._stop_trying()
        try:
            folder = await asyncio.to_thread(launch, self._workspace, config)
        except Exception:
            self._starting = False
            self.query_one("#start", Button).disabled = False
            raise
        self.dismiss(folder.id)


def _counts(workspace: Workspace, name: str) -> tuple[int, int, int]:
    """Pairs of a data set that may train, those that are dropped, and lines that are no pairs."""
    rows = load_rows(workspace.pairs_file(name))
    dropped = rows.is_dropped[rows.order]
    return int((~dropped).sum()), int(dropped.sum()), len(rows.base.problems)


def _row_counts(workspace: Workspace, config: RunConfig) -> RowCounts:
    return take_rows(workspace, config).counts


def _key(config: RunConfig) -> tuple[object, ...]:
    """What the counts of pairs depend on."""
    return tuple(config.pairs), tuple(config.pairs_weights), config.holdout, config.seed


def _names(config: RunConfig) -> dict[str, object]:
    """The settings that name something, which may not be there."""
    return config.model_dump(include=_NAMING)
