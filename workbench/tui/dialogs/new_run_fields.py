"""The fields of the form that starts a run, and the settings that they amount to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from textual.app import ComposeResult
from textual.containers import Grid, Horizontal, Vertical
from textual.widgets import Input, Select, Static

from workbench.config import PRESETS, choices, defaults, presets_of
from workbench.errors import WorkbenchError
from workbench.methods import METHODS, uses
from workbench.tui.widgets.check_list import CheckList

_FIELDS = {
    "reward": "reward",
    "learning_rate": "learning rate",
    "beta": "beta",
    "simpo_gamma_ratio": "gamma / beta",
    "desirable_weight": "good weight",
    "undesirable_weight": "bad weight",
    "epochs": "epochs",
    "max_steps": "max steps",
    "batch_size": "batch size",
    "gradient_accumulation": "accumulation",
    "group_size": "group size",
    "completion_tokens": "answer tokens",
    "temperature": "temperature",
    "max_length": "max length",
    "lora_r": "adapter rank",
    "loss_type": "loss",
    "loss_weights": "loss weights",
    "holdout": "held out",
}
"""Settings that are typed in, with their labels, in the order of the form."""
_HINTS = {"max_steps": "0: no limit", "loss_weights": "1 each", "reward": "run:ID or FILE.py:FUNCTION"}
FIRST_METHOD, FIRST_PRESET = "dpo", "small"


class RunFields(Vertical):
    """Data sets, method, preset, model and the method's settings. What changes posts the widgets' own messages."""

    DEFAULT_CSS = """
    RunFields { height: auto; }
    RunFields .row { height: auto; }
    RunFields .label { width: 15; color: $secondary; }
    RunFields CheckList, RunFields Select, RunFields Input { width: 1fr; }
    RunFields Input { background: $panel; padding: 0 1; }
    RunFields Input:focus { background-tint: $foreground 5%; }
    RunFields Input.-wrong { color: $error; text-style: underline; }
    RunFields SelectCurrent { background: $panel; padding: 0 1; }
    RunFields #when, RunFields #summary { margin: 0 0 0 15; color: $secondary; height: auto; }
    RunFields Grid {
        grid-size: 4; grid-columns: 15 1fr 15 1fr; grid-rows: 1; grid-gutter: 0; height: auto;
    }
    RunFields .-second { padding-left: 2; }
    """

    def __init__(self, sets: Sequence[str]) -> None:
        super().__init__(id="fields")
        self._sets, self._presets = sets, presets_of(FIRST_METHOD)

    def compose(self) -> ComposeResult:
        """A row each, and the settings in two columns."""
        with Horizontal(classes="row", id="datasets"):
            yield Static("data sets", classes="label")
            yield CheckList(self._sets, self._sets if len(self._sets) == 1 else [], id="pairs")
        with Horizontal(classes="row"):
            yield Static("method", classes="label")
            yield _choice("method", list(METHODS), FIRST_METHOD)
            yield Static("preset", classes="label -second")
            yield _choice("preset", presets_of(FIRST_METHOD), FIRST_PRESET)
        yield Static("", markup=False, id="when")
        yield Static("", markup=False, id="summary")
        with Horizontal(classes="row"):
            yield Static("model", classes="label")
            yield Input("tiny", placeholder="a folder, a Hugging Face id, or tiny", compact=True, id="model")
        with Grid():
            for key, label in _FIELDS.items():
                yield Static(label, classes="label", id=f"label-{key}")
                yield Input(placeholder=_HINTS.get(key, ""), compact=True, id=key, select_on_focus=True)
            yield Static("quantization", classes="label", id="label-quantization")
            yield _choice("quantization", list(choices("quantization")), "nf4")

    def fill(self, method: str, preset: str) -> None:
        """Puts the preset's values into the fields, and leaves only those that the method uses."""
        values = defaults(method, preset)
        with self.prevent(Select.Changed):
            if presets_of(method) != self._presets:
                self._presets = presets_of(method)
                self.query_one("#preset", Select).set_options([(each, each) for each in self._presets])
            self.query_one("#preset", Select).value = preset
            self.query_one("#quantization", Select).value = values["quantization"]
        for key in _FIELDS:
            value = values.get(key, "")
            text = ", ".join(str(each) for each in value) if isinstance(value, list) else _plain(value)
            self.query_one(f"#{key}", Input).value = text
        shown = [key for key in (*_FIELDS, "quantization") if key in values]
        for key in (*_FIELDS, "quantization"):
            label = self.query_one(f"#label-{key}")
            label.display = self.query_one(f"#{key}").display = key in values
            label.set_class(key in shown and shown.index(key) % 2 == 1, "-second")
        self.query_one("#when", Static).update(METHODS[method].when)
        self.query_one("#summary", Static).update(PRESETS[preset].summary)

    @property
    def method(self) -> str:
        """The name of the chosen method."""
        return str(self.query_one("#method", Select).value)

    @property
    def preset(self) -> str:
        """The name of the chosen preset."""
        return str(self.query_one("#preset", Select).value)

    @property
    def values(self) -> dict[str, Any]:
        """The fields as settings."""
        typed = {key: self.query_one(f"#{key}", Input).value.strip() for key in _FIELDS if uses(self.method, key)}
        return {
            "pairs": self.query_one(CheckList).marked,
            "method": self.method,
            "model": self.query_one("#model", Input).value.strip(),
            "quantization": self.query_one("#quantization", Select).value,
            **typed,
        }

    def mark_wrong(self, error: WorkbenchError | None) -> None:
        """Underlines the fields that the error names, and no others."""
        wrong = {line.partition(" ")[0].rstrip(":") for line in error.message.splitlines()} if error else set()
        for key in _FIELDS:
            self.query_one(f"#{key}", Input).set_class(key in wrong, "-wrong")


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def _choice(name: str, options: list[str], value: str) -> Select[str]:
    return Select([(each, each) for each in options], value=value, allow_blank=False, compact=True, id=name)
