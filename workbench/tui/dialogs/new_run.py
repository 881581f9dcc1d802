"""The form that starts a run: what to train on, which model, the settings that matter most, and what they will take."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Select, Static

from workbench.config import RunConfig, build_config, to_toml
from workbench.errors import WorkbenchError
from workbench.launch import Material, gather, launch
from workbench.pairs.store import load_pairs
from workbench.text import safe
from workbench.tui.dialogs.error import ErrorDialog
from workbench.tui.dialogs.new_run_fields import FIRST_METHOD, FIRST_PRESET, RunFields
from workbench.tui.dialogs.toml import TomlDialog
from workbench.tui.trying import previews
from workbench.tui.widgets.check_list import CheckList
from workbench.tui.widgets.run_preview import RunPreview
from workbench.workspace import Workspace

_NOTHING_MARKED = WorkbenchError("Which data sets?", "Mark one or more with space.")
_NO_SETS = WorkbenchError("There is no data set yet", "Bring one in: workbench import FILE --name NAME")
_PAUSE = 0.25
"""Seconds without a change after which the pairs are counted."""


@dataclass(frozen=True, slots=True)
class _Counted:
    """What was counted, and for which data sets, share and seed: other settings do not change it."""

    key: tuple[tuple[str, ...], float, int]
    material: Material


class NewRunDialog(ModalScreen[str | None]):
    """Asks for a run and starts it; the answer is its id, None where the user went back.

    Beside the fields it shows what the run will take, as that becomes known. Starting never waits for it.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "Back"),
        Binding("ctrl+s", "start", "Start"),
        Binding("ctrl+t", "toml", "Settings as TOML"),
    ]
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (136, "-wide")]  # noqa: RUF012 - no class variable in the base
    VERTICAL_BREAKPOINTS = [(0, "-short"), (32, "-tall")]  # noqa: RUF012
    DEFAULT_CSS = """
    NewRunDialog #form {
        width: 80; max-width: 100%; height: auto; max-height: 100%; padding: 0 2;
        background: $surface; border: round $accent; border-title-style: bold; border-title-color: $foreground;
        border-subtitle-color: $secondary;
    }
    NewRunDialog #rooms { layout: vertical; height: auto; max-height: 20; scrollbar-size-vertical: 1; }
    NewRunDialog RunPreview { margin-top: 1; }
    NewRunDialog .label { color: $secondary; }
    NewRunDialog .row { height: auto; }
    NewRunDialog #verdict { width: 1fr; height: auto; min-height: 1; max-height: 4; }
    NewRunDialog .dialog-buttons { width: auto; }
    NewRunDialog .dialog-buttons Button { min-width: 9; }
    NewRunDialog.-short CheckList { max-height: 3; }
    NewRunDialog.-short #summary { display: none; }
    NewRunDialog.-tall #form { padding: 1 2; }
    NewRunDialog.-tall #rooms { max-height: 80vh; }
    NewRunDialog.-tall #datasets { margin-bottom: 1; }
    NewRunDialog.-tall #summary { margin: 0 0 1 15; }
    NewRunDialog.-tall RunFields Grid, NewRunDialog.-tall #end { margin-top: 1; }
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
        self._tried: RunConfig | None = None
        self._starting = False

    def compose(self) -> ComposeResult:
        """The fields, what they will take, the verdict on them, and two buttons."""
        with Vertical(id="form") as form:
            form.border_title = "New run"
            form.border_subtitle = "ctrl+t  settings as TOML"
            with VerticalScroll(id="rooms", can_focus=False):
                yield RunFields(self._sets)
                yield RunPreview()
            with Horizontal(classes="row", id="end"):
                yield Static("", markup=False, id="verdict")
                with Horizontal(classes="dialog-buttons"):
                    yield Button("Back", id="back", compact=True)
                    yield Button("Start", id="start", variant="primary", compact=True, disabled=True)

    def on_mount(self) -> None:
        """Fills in the preset and counts the pairs."""
        self._fields.fill(FIRST_METHOD, FIRST_PRESET)
        self._count_sets()
        self.query_one(CheckList).focus()

    @property
    def _fields(self) -> RunFields:
        return self.query_one(RunFields)

    @work(group="sets", exit_on_error=False)
    async def _count_sets(self) -> None:
        """Writes beside every data set how many pairs it has."""
        sets = self.query_one(CheckList)
        for name in self._sets:
            try:
                pairs, problems = await asyncio.to_thread(load_pairs, self._workspace.pairs_file(name))
            except WorkbenchError as error:
                sets.note(name, f"▲ {error.title}", "$warning")
                continue
            dropped = sum(pair.status == "dropped" for pair in pairs)
            told = f"{len(pairs) - dropped:>7,} pairs"
            told += f", {dropped:,} dropped" if dropped else ""
            told += f", ▲ {len(problems):,} unusable" if problems else ""
            sets.note(name, told)

    @on(Select.Changed, "#preset")
    def _preset_changed(self, event: Select.Changed) -> None:
        self._fields.fill(self._fields.method, str(event.value))
        self._check()

    @on(Select.Changed, "#method")
    def _method_changed(self, event: Select.Changed) -> None:
        self._fields.fill(str(event.value), FIRST_PRESET)
        self._check()

    @on(Input.Changed)
    @on(Select.Changed, "#quantization")
    @on(CheckList.Changed)
    def _changed(self) -> None:
        self._check()

    def _check(self) -> None:
        """Says what is wrong with the form, or has the pairs counted and the run tried."""
        values = self._fields.values
        try:
            if not values["pairs"]:
                raise _NO_SETS if not self._sets else _NOTHING_MARKED
            self._config = build_config(values, preset=self._fields.preset)
        except WorkbenchError as error:
            self._config = None
            self._fields.mark_wrong(error)
            self._refuse(error)
            return
        self._fields.mark_wrong(None)
        if self._counted is not None and self._counted.key == _key(self._config):
            self._accept(self._config, self._counted.material)
        else:
            self.query_one("#start", Button).disabled = True
            self._count(self._config)
        if self._tried != self._config:
            self._tried = self._config
            self._try(self._config)

    @work(group="count", exclusive=True, exit_on_error=False)
    async def _count(self, config: RunConfig) -> None:
        """Counts the pairs that would train, once nothing changed for a moment."""
        await asyncio.sleep(_PAUSE)
        try:
            material = await asyncio.to_thread(gather, self._workspace, config)
        except WorkbenchError as error:
            if config == self._config:
                self._config = None
                self._refuse(error)
            return
        self._counted = _Counted(_key(config), material)
        if self._config is not None and _key(self._config) == self._counted.key:
            self._accept(self._config, material)

    @work(group="try", exclusive=True, exit_on_error=False)
    async def _try(self, config: RunConfig) -> None:
        """Shows what the run will take; another setting, or the end of the form, ends the process that tries it."""
        shown = self.query_one(RunPreview)
        try:
            async with aclosing(previews(self._workspace, config)) as learned:
                async for preview in learned:
                    shown.show(preview)
        except (OSError, WorkbenchError):
            shown.clear()

    def _stop_trying(self) -> None:
        self._tried = None
        self.workers.cancel_group(self, "try")
        self.query_one(RunPreview).clear()

    def _accept(self, config: RunConfig, material: Material) -> None:
        train, held = len(material.split.train), len(material.split.holdout)
        steps = config.total_steps(train)
        parts: list[tuple[str, str]] = [
            (f"{train:,}", "bold"),
            (" pairs train, ", "$secondary"),
            (f"{held:,}", "bold"),
            (" held out · ", "$secondary"),
            (f"{steps:,}", "bold"),
            (f" steps of {config.batch_size:,}", "$secondary"),
        ]
        if material.unusable:
            parts.append((f"\n▲ {material.unusable:,} unusable lines are left out", "$warning"))
        if not held:
            parts.append(("\n▲ nothing is held out to measure the run on", "$warning"))
        self.query_one("#verdict", Static).update(Content.assemble(("✔ ", "$success"), *parts))
        self.query_one("#start", Button).disabled = self._starting

    def _refuse(self, error: WorkbenchError) -> None:
        sign = ("· ", "$accent") if error is _NOTHING_MARKED else ("✘ ", "$error")
        text = Content.assemble(sign, (safe(error.title), "bold"), "\n", safe(error.message))
        self.query_one("#verdict", Static).update(text)
        self.query_one("#start", Button).disabled = True
        self._stop_trying()

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
    async def action_start(self) -> None:
        """Starts the run, if the form is right."""
        if self._config is not None and not self.query_one("#start", Button).disabled:
            self._starting = True
            self.query_one("#start", Button).disabled = True
            self._start(self._config)

    @work(group="start", exclusive=True, exit_on_error=False)
    async def _start(self, config: RunConfig) -> None:
        # The worker wants the device that a measured step would hold.
        self._stop_trying()
        try:
            folder = await asyncio.to_thread(launch, self._workspace, config)
        except WorkbenchError as error:
            self._starting = False
            self.query_one("#start", Button).disabled = False
            self.app.push_screen(ErrorDialog(error))
        else:
            self.dismiss(folder.id)


def _key(config: RunConfig) -> tuple[tuple[str, ...], float, int]:
    return tuple(config.pairs), config.holdout, config.seed
