"""The fields of the form that starts a run, and the settings that they amount to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from textual.app import ComposeResult
from textual.containers import Grid, Horizontal, Vertical
from textual.widgets import Input, Select, Static

from workbench.config import PRESETS, build_config, choices
from workbench.errors import WorkbenchError
from workbench.tui.widgets.check_list import CheckList

_FIELDS = {
    "learning_rate": "learning rate",
    "beta": "beta",
    "epochs": "epochs",
    "max_steps": "max steps",
    "batch_size": "batch size",
    "gradient_accumulation": "accumulation",
    "max_length": "max length",
    "lora_r": "adapter rank",
    "loss_type": "loss",
    "loss_weights": "loss weights",
    "holdout": "held out",
}
"""Settings that are typed in, with their labels, in the order of the form."""
_HINTS = {"max_steps": "0: no limit", "loss_weights": "1 each"}
FIRST_PRESET = "small"


class RunFields(Vertical):
    """Data sets, preset, model and settings. What changes posts the widgets' own messages."""

    DEFAULT_CSS = """
    RunFields { height: auto; }
    RunFields .row { height: auto; }
    RunFields .label { width: 15; color: $secondary; }
    RunFields CheckList, RunFields Select, RunFields Input { width: 1fr; }
    RunFields Input { background: $panel; padding: 0 1; }
    RunFields Input:focus { background-tint: $foreground 5%; }
    RunFields Input.-wrong { color: $error; text-style: underline; }
    RunFields SelectCurrent { background: $panel; padding: 0 1; }
    RunFields #summary { margin: 0 0 0 15; color: $secondary; height: auto; }
    RunFields Grid {
        grid-size: 4; grid-columns: 15 1fr 15 1fr; grid-rows: 1; grid-gutter: 0; height: auto;
    }
    RunFields .-second { padding-left: 2; }
    """

    def __init__(self, sets: Sequence[str]) -> None:
        super().__init__(id="fields")
        self._sets = sets

    def compose(self) -> ComposeResult:
        """A row each, and the settings in two columns."""
        with Horizontal(classes="row", id="datasets"):
            yield Static("data sets", classes="label")
            yield CheckList(self._sets, self._sets if len(self._sets) == 1 else [], id="pairs")
        with Horizontal(classes="row"):
            yield Static("preset", classes="label")
            yield _choice("preset", list(PRESETS), FIRST_PRESET)
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

    def fill(self, preset: str) -> None:
        """Puts the preset's values into the fields."""
        config = build_config({"pairs": ["any"]}, preset=preset)
        for key in _FIELDS:
            value = getattr(config, key)
            text = ", ".join(str(each) for each in value) if isinstance(value, list) else f"{value:g}"
            self.query_one(f"#{key}", Input).value = text
        self.query_one("#quantization", Select).value = config.quantization
        self.query_one("#summary", Static).update(PRESETS[preset].summary)

    @property
    def preset(self) -> str:
        """The name of the chosen preset."""
        return str(self.query_one("#preset", Select).value)

    @property
    def values(self) -> dict[str, Any]:
        """The fields as settings."""
        typed = {key: self.query_one(f"#{key}", Input).value.strip() for key in _FIELDS}
        return {
            "pairs": self.query_one(CheckList).marked,
            "model": self.query_one("#model", Input).value.strip(),
            "quantization": self.query_one("#quantization", Select).value,
            **typed,
        }

    def mark_wrong(self, error: WorkbenchError | None) -> None:
        """Underlines the fields that the error names, and no others."""
        wrong = {line.partition(" ")[0].rstrip(":") for line in error.message.splitlines()} if error else set()
        for key in _FIELDS:
            self.query_one(f"#{key}", Input).set_class(key in wrong, "-wrong")


def _choice(name: str, options: list[str], value: str) -> Select[str]:
    return Select([(each, each) for each in options], value=value, allow_blank=False, compact=True, id=name)
