"""The form that starts a run: what to train on, which model, the settings that matter most, and what they will take."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Button, Input, Select, Static

from workbench.config import RunConfig, to_toml
from workbench.errors import WorkbenchError
from workbench.launch import preview_run
from workbench.run_form import RunForm
from workbench.runs.preview import Preview, RowCounts, Trouble
from workbench.text import one_line, safe
from workbench.tui.background import background
from workbench.tui.dialogs.base import Dialog
from workbench.tui.dialogs.new_run_fields import RunFields, SettingGrid
from workbench.tui.dialogs.show import TomlDialog
from workbench.tui.widgets.fields import CheckList
from workbench.tui.widgets.run_preview import RunPreview
from workbench.workspace import Workspace

_PAUSE = 0.25
"""Seconds without a change after which the pairs are counted."""


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
        self.form = RunForm(workspace)
        self._offered_for = ""
        """The model whose runs are offered."""
        self._tried: RunConfig | None = None
        """The settings that the preview is about."""
        self._trouble: Trouble | None = None
        """Why a run with these settings would fail, as far as it was tried."""
        self._left: Widget | None = None
        """What had the focus before the other settings were shown."""

    def compose(self) -> ComposeResult:
        """The fields, what they will take, the verdict on them, and two buttons."""
        with Vertical(id="form", classes="frame") as form:
            form.border_title = "New run"
            with VerticalScroll(id="rooms", can_focus=False):
                yield RunFields(self.form)
                yield RunPreview()
            with Horizontal(classes="row", id="end"):
                yield Static("", markup=False, id="verdict")
                with Horizontal(classes="dialog-buttons"):
                    yield Button("Back", id="back", compact=True)
                    yield Button("Start", id="start", variant="primary", compact=True, disabled=True)

    def on_mount(self) -> None:
        """Fills in the preset, counts the pairs and looks for runs to build on."""
        self._check()
        self._count_sets()
        self.query_one(CheckList).focus()

    @property
    def _fields(self) -> RunFields:
        return self.query_one(RunFields)

    @background("sets", doing="counting the pairs of each data set")
    async def _count_sets(self) -> None:
        """Writes beside every data set how many pairs it has."""
        sets = self.query_one(CheckList)
        for name in self.form.sets:
            try:
                usable, dropped, undrafted, problems = await asyncio.to_thread(self.form.counts_of, name)
            except WorkbenchError as error:
                sets.note(name, f"▲ {one_line(error.title)}", "$warning")
                continue
            told = f"{usable:>6,} pairs"
            told += f", {dropped:,} dropped" if dropped else ""
            told += f", ▲ {undrafted:,} to draft" if undrafted else ""
            told += f", ▲ {problems:,} unusable" if problems else ""
            sets.note(name, told)

    @background("runs", doing="looking for runs to build on", exclusive=True)
    async def _find_runs(self) -> None:
        """Offers the runs of the model, to go on from and as rewards."""
        await self.form.find_runs()
        self._fields.offer()
        self._check()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """Says what the field is about."""
        self._fields.tell_about(event.widget.id)

    @on(Input.Changed)
    @on(Select.Changed)
    @on(CheckList.Changed)
    def _check(self) -> None:
        """Says what is wrong with the form, or has the pairs counted and the run tried."""
        form, fields = self.form, self._fields
        fields.read()
        if settings := form.follow():
            fields.fill(settings)
        if form.asked.model != self._offered_for:
            self._offered_for = form.asked.model
            self._find_runs()
        fields.tidy()
        fields.read()  # Other settings may be shown now.
        form.check()
        self._tell_keys()
        if self._tried != form.config:
            self._trouble = None
        self._show_verdict()
        if form.config is None:
            return
        if form.verdict.state == "counting":
            self._count()
        if self._tried != form.config:
            self._tried = form.config
            self._try(form.config)

    @background("count", doing="counting the pairs", exclusive=True)
    async def _count(self) -> None:
        """Has the pairs counted once nothing changed for a moment."""
        await asyncio.sleep(_PAUSE)
        await self.form.count()
        self._show_verdict()

    @background("try", doing="trying what the run will take", exclusive=True)
    async def _try(self, config: RunConfig) -> None:
        """Shows what the run will take; another setting, or the end of the form, ends the process that tries it."""
        shown = self.query_one(RunPreview)

        def show(preview: Preview) -> None:
            shown.show(preview)
            if preview.trouble != self._trouble:
                self._trouble = preview.trouble
                self._show_verdict()

        try:
            await preview_run(self.form.workspace, config, show)
        except (OSError, WorkbenchError):
            shown.clear()

    def _stop_trying(self) -> None:
        self._tried = self._trouble = None
        self.workers.cancel_group(self, "try")
        self.query_one(RunPreview).clear()

    def _show_verdict(self) -> None:
        """Shows what the form says of itself; begins where that was wanted before its pairs were counted."""
        form, verdict, text = self.form, self.form.verdict, self.query_one("#verdict", Static)
        self._fields.mark_wrong()
        self.query_one("#start", Button).disabled = not form.can_start
        if verdict.state in ("missing", "wrong"):
            sign = ("· ", "$accent") if verdict.state == "missing" else ("✘ ", "$error")
            text.update(Content.assemble(sign, (safe(verdict.title), "bold"), "\n", safe(verdict.message)))
            self._stop_trying()
        elif form.config is not None and form.rows is not None:
            text.update(_accepted(form.config, form.rows, self._trouble))
            if form.wanted and form.can_start:
                form.starting = True  # At once: a second Enter starts no second run.
                self._start()

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
        if self.form.config is None:
            self.notify("Not yet: the form is not right.", timeout=3)
        else:
            self.app.push_screen(TomlDialog("Settings of this run", to_toml(self.form.config)))

    @on(Button.Pressed, "#back")
    def action_back(self) -> None:
        """Starts nothing."""
        self.dismiss(None)

    @on(Button.Pressed, "#start")
    @on(Input.Submitted)
    def action_start(self) -> None:
        """Starts the run, if the form is right; once its pairs are counted, where they are being counted."""
        if self.form.starting:
            return
        # What the field has read may not have been told to the form yet.
        self._check()
        self.form.wanted = self.form.config is not None
        self._show_verdict()

    @background("start", doing="starting the run", exclusive=True)
    async def _start(self) -> None:
        # The worker wants the device that a measured step would hold.
        self._stop_trying()
        try:
            self.dismiss(await self.form.start())
        finally:
            self.query_one("#start", Button).disabled = not self.form.can_start


def _accepted(config: RunConfig, rows: RowCounts, trouble: Trouble | None) -> Content:
    """How many pairs would train, be held out, and in how many steps; or what stops them, told in full above."""
    online, steps = config.facts.online, config.total_steps(rows.train)
    if trouble is not None:
        return Content.assemble(("✘ ", "$error"), ("It would not train", "bold"), f"\n{safe(trouble.title)}")
    parts: list[tuple[str, str]] = [
        ("✔ ", "$success"),
        (f"{rows.train:,}", "bold"),
        (" prompts, " if online else " pair trains, " if rows.train == 1 else " pairs train, ", "$secondary"),
        (f"{rows.holdout:,}", "bold"),
        (" held out · ", "$secondary"),
        (f"{steps:,}", "bold"),
        (f" step{'' if steps == 1 else 's'} of {config.step_rows:,}{' answers' if online else ''}", "$secondary"),
    ]
    if rows.unusable:
        parts.append((f"\n▲ {rows.unusable:,} unusable lines are left out", "$warning"))
    if rows.undrafted:
        parts.append((f"\n▲ {rows.undrafted:,} pairs lack an answer and are left out", "$warning"))
    parts += [(f"\n▲ {caution.in_form}", "$warning") for caution in rows.cautions(config)]
    return Content.assemble(*parts)
