"""The form that starts a run: what to train on, which model, and the settings that matter most."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Grid, Horizontal, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Select, Static

from workbench.config import PRESETS, RunConfig, build_config, choices
from workbench.errors import WorkbenchError
from workbench.launch import Material, gather, launch
from workbench.pairs.store import load_pairs
from workbench.text import safe
from workbench.tui.dialogs.error import ErrorDialog
from workbench.tui.widgets.check_list import CheckList
from workbench.workspace import Workspace

_FIELDS = {
    "learning_rate": "learning rate",
    "beta": "beta",
    "epochs": "epochs",
    "max_steps": "max steps",
    "batch_size": "batch size",
    "max_length": "max length",
    "holdout": "held out",
    "loss_type": "loss",
    "loss_weights": "loss weights",
}
"""Settings that are typed in, with their labels, in the order of the form."""
_HINTS = {"max_steps": "0: no limit", "loss_weights": "1 each"}
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
    """Asks for a run and starts it; the answer is its id, None where the user went back."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "Back"),
        Binding("ctrl+s", "start", "Start"),
    ]
    DEFAULT_CSS = """
    NewRunDialog #form {
        width: 80; max-width: 100%; height: auto; max-height: 100%; padding: 0 2;
        background: $surface; border: round $accent; scrollbar-size-vertical: 1;
    }
    NewRunDialog .row { height: auto; }
    NewRunDialog .label { width: 15; color: $secondary; }
    NewRunDialog CheckList, NewRunDialog Select, NewRunDialog Input { width: 1fr; }
    NewRunDialog Input { background: $panel; padding: 0 1; }
    NewRunDialog Input:focus { background-tint: $foreground 5%; }
    NewRunDialog Input.-wrong { color: $error; text-style: underline; }
    NewRunDialog SelectCurrent { background: $panel; padding: 0 1; }
    NewRunDialog #datasets { margin-bottom: 1; }
    NewRunDialog #summary { margin: 0 0 1 15; color: $secondary; height: auto; }
    NewRunDialog Grid {
        grid-size: 4; grid-columns: 15 1fr 15 1fr; grid-rows: 1; grid-gutter: 0; height: auto; margin: 1 0;
    }
    NewRunDialog .-second { padding-left: 2; }
    NewRunDialog #verdict { width: 1fr; height: auto; min-height: 2; max-height: 4; }
    NewRunDialog .dialog-buttons { width: auto; }
    NewRunDialog .dialog-buttons Button { min-width: 9; }
    """

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        self._workspace, self._sets = workspace, workspace.datasets()
        self._config: RunConfig | None = None
        self._counted: _Counted | None = None
        self._starting = False

    def compose(self) -> ComposeResult:
        """Data sets, preset, model, settings, the verdict on them, and two buttons."""
        with VerticalScroll(id="form", can_focus=False):
            yield Static("New run", classes="dialog-title")
            with Horizontal(classes="row", id="datasets"):
                yield Static("data sets", classes="label")
                yield CheckList(self._sets, self._sets if len(self._sets) == 1 else [], id="pairs")
            with Horizontal(classes="row"):
                yield Static("preset", classes="label")
                yield _choice("preset", list(PRESETS), "small")
            yield Static("", markup=False, id="summary")
            with Horizontal(classes="row"):
                yield Static("model", classes="label")
                yield Input("tiny", placeholder="a folder, a Hugging Face id, or tiny", compact=True, id="model")
            with Grid():
                for index, (key, label) in enumerate(_FIELDS.items()):
                    yield Static(label, classes="label -second" if index % 2 else "label")
                    yield Input(placeholder=_HINTS.get(key, ""), compact=True, id=key, select_on_focus=True)
                yield Static("quantization", classes="label -second")
                yield _choice("quantization", list(choices("quantization")), "nf4")
            with Horizontal(classes="row"):
                yield Static("", markup=False, id="verdict")
                with Horizontal(classes="dialog-buttons"):
                    yield Button("Back", id="back", compact=True)
                    yield Button("Start", id="start", variant="primary", compact=True, disabled=True)

    def on_mount(self) -> None:
        """Fills in the preset and counts the pairs."""
        self._fill("small")
        self._count_sets()
        self.query_one(CheckList).focus()

    def _fill(self, preset: str) -> None:
        """Puts the preset's values into the fields."""
        config = build_config({"pairs": ["any"]}, preset=preset)
        for key in _FIELDS:
            value = getattr(config, key)
            text = ", ".join(str(each) for each in value) if isinstance(value, list) else f"{value:g}"
            self.query_one(f"#{key}", Input).value = text
        self.query_one("#quantization", Select).value = config.quantization
        self.query_one("#summary", Static).update(PRESETS[preset].summary)

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

    @property
    def values(self) -> dict[str, Any]:
        """The form as settings."""
        typed = {key: self.query_one(f"#{key}", Input).value.strip() for key in _FIELDS}
        return {
            "pairs": self.query_one(CheckList).marked,
            "model": self.query_one("#model", Input).value.strip(),
            "quantization": self.query_one("#quantization", Select).value,
            **typed,
        }

    @on(Select.Changed, "#preset")
    def _preset_changed(self, event: Select.Changed) -> None:
        self._fill(str(event.value))

    @on(Input.Changed)
    @on(Select.Changed, "#quantization")
    @on(CheckList.Changed)
    def _changed(self) -> None:
        self._check()

    def _check(self) -> None:
        """Says what is wrong with the form, or has the pairs counted."""
        values = self.values
        try:
            if not values["pairs"]:
                raise _NO_SETS if not self._sets else _NOTHING_MARKED
            self._config = build_config(values, preset=str(self.query_one("#preset", Select).value))
        except WorkbenchError as error:
            self._config = None
            self._mark_wrong(error)
            self._refuse(error)
            return
        self._mark_wrong(None)
        if self._counted is not None and self._counted.key == _key(self._config):
            self._accept(self._config, self._counted.material)
        else:
            self.query_one("#start", Button).disabled = True
            self._count(self._config)

    def _mark_wrong(self, error: WorkbenchError | None) -> None:
        wrong = {line.partition(" ")[0].rstrip(":") for line in error.message.splitlines()} if error else set()
        for key in _FIELDS:
            self.query_one(f"#{key}", Input).set_class(key in wrong, "-wrong")

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
        try:
            folder = await asyncio.to_thread(launch, self._workspace, config)
        except WorkbenchError as error:
            self._starting = False
            self.query_one("#start", Button).disabled = False
            self.app.push_screen(ErrorDialog(error))
        else:
            self.dismiss(folder.id)


def _choice(name: str, options: list[str], value: str) -> Select[str]:
    return Select([(each, each) for each in options], value=value, allow_blank=False, compact=True, id=name)


def _key(config: RunConfig) -> tuple[tuple[str, ...], float, int]:
    return tuple(config.pairs), config.holdout, config.seed
