"""The dialog that asks which model's tokens the checks shall count."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Static

from workbench.tui.dialogs.base import Dialog
from workbench.tui.widgets.fields import LineField


@dataclass(frozen=True, slots=True)
class TokensOf:
    """The model whose tokens are counted (None: words), and how many of them a pair may have."""

    model: str | None
    max_length: int


class ChecksModelDialog(Dialog[TokensOf | None]):
    """A line for the model and one for max_length; None where it is given up."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "Give up")]
    DEFAULT_CSS = """
    ChecksModelDialog .label { color: $secondary; }
    ChecksModelDialog #model, ChecksModelDialog #max_length {
        background: $panel; border: none; height: 1; padding: 0 1; margin-bottom: 1;
    }
    ChecksModelDialog .wrong { color: $error; display: none; margin-bottom: 1; }
    ChecksModelDialog .dialog-hint { margin-bottom: 0; }
    """

    def __init__(self, model: str | None, max_length: int) -> None:
        super().__init__()
        self._model, self._max_length = model, max_length

    def compose(self) -> ComposeResult:
        """Two lines and what they mean."""
        with Vertical(classes="dialog"):
            yield Static("Check with a model's tokens", markup=False, classes="dialog-title")
            yield Static("model: a folder, a hub id, or tiny; empty for words alone", markup=False, classes="label")
            yield LineField("tiny" if self._model is None else self._model, id="model")
            yield Static("max_length: tokens that a pair may have in training", markup=False, classes="label")
            yield LineField(str(self._max_length), id="max_length")
            yield Static("✘ max_length is a whole number above 0", markup=False, classes="wrong")
            yield Static("enter checks again · tab other line · esc gives up", markup=False, classes="dialog-hint")

    def on_input_submitted(self) -> None:
        """Answers; where the number is none, says so and stays."""
        model = self.query_one("#model", LineField).content.strip()
        number = self.query_one("#max_length", LineField)
        digits = number.content.strip().replace(",", "")
        if digits.isascii() and digits.isdigit() and int(digits) > 0:
            self.dismiss(TokensOf(model or None, int(digits)))
        else:
            self.query_one(".wrong").display = True
            number.focus()
