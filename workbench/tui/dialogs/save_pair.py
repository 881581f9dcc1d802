"""The dialog that makes a pair of two answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import OptionList, Static

from workbench.compare.comparison import Answer
from workbench.compare.messages import Response
from workbench.text import cut, one_line
from workbench.tui.dialogs.base import Dialog
from workbench.tui.widgets.fields import LineField

_WIDE, _LABEL, _FRAME = 96, 24, 6
"""The dialog, a label and the room around the text, in cells."""
_MARKS = {"chosen": ("✔", "$success"), "rejected": ("✘", "$error"), "": (" ", "")}


@dataclass(frozen=True, slots=True)
class PairChoice:
    """What was chosen and rejected, and the name of the data set. Either may be empty: to be written."""

    chosen: Response
    rejected: Response
    data_set: str


class SavePairDialog(Dialog[PairChoice | None]):
    """Answers to choose from; None where it is given up. One that is still missing is written in the next dialog."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("c", "mark('chosen')", "Chosen"),
        Binding("r", "mark('rejected')", "Rejected"),
        Binding("enter", "apply", "Go on", priority=True),
        Binding("escape", "dismiss(None)", "Give up", priority=True),
    ]
    DEFAULT_CSS = """
    SavePairDialog OptionList > .option-list--option { text-wrap: nowrap; text-overflow: ellipsis; }
    SavePairDialog #prefers { height: auto; margin-bottom: 1; }
    """

    def __init__(
        self, answers: Sequence[Answer], first: tuple[int | None, int | None], data_sets: Sequence[str], data_set: str
    ) -> None:
        """`first` are the numbers of chosen and rejected to begin with; `data_sets` are those there are."""
        super().__init__()
        self._answers = answers
        self._sides: dict[str, int | None] = dict(zip(("chosen", "rejected"), first, strict=True))
        self._data_sets, self._data_set = data_sets, data_set

    def compose(self) -> ComposeResult:
        """Answers, what they come to, the data set."""
        with Vertical(classes="dialog -wide"):
            yield Static("Save as a pair", classes="dialog-title")
            yield OptionList(*self._lines(), compact=True)
            yield Static(id="prefers", markup=False)
            known = ", ".join(one_line(name, 20) for name in self._data_sets[:4])
            yield Static(f"data set (there are: {known})" if known else "new data set", markup=False, classes="label")
            yield LineField(self._data_set)
            yield Static("c chosen · r rejected · tab data set · enter goes on to the texts", classes="dialog-hint")

    def on_mount(self) -> None:
        """Begins at the answer that is to be chosen."""
        options = self.query_one(OptionList)
        options.highlighted = self._sides["chosen"] or 0
        options.focus()
        self._show()

    def action_mark(self, side: Literal["chosen", "rejected"]) -> None:
        """Takes the answer under the cursor for one side; it cannot be both."""
        here, other = self.query_one(OptionList).highlighted, "rejected" if side == "chosen" else "chosen"
        if here is None:
            return
        if self._sides[other] == here:
            self._sides[other] = self._sides[side]
        self._sides[side] = here
        self._show()

    def on_option_list_option_selected(self) -> None:
        """A click is only a look."""

    def action_apply(self) -> None:
        """Gives the choice back."""
        name = self.query_one(LineField).content.strip()
        if name:
            self.dismiss(PairChoice(self._response("chosen"), self._response("rejected"), name))
        else:
            self.notify("Name a data set.", severity="warning", markup=False)

    def _response(self, side: str) -> Response:
        number = self._sides[side]
        return "" if number is None else self._answers[number].response

    def _text(self, side: str) -> str:
        number = self._sides[side]
        return "" if number is None else self._answers[number].text

    def _show(self) -> None:
        options = self.query_one(OptionList)
        for number, line in enumerate(self._lines()):
            options.replace_option_prompt_at_index(number, line)
        room = self._room - len("the model will prefer: ") - 2
        quoted = [one_line(self._text(side), room) or "(to be written)" for side in ("chosen", "rejected")]
        self.query_one("#prefers", Static).update(
            Content.assemble(
                ("the model will prefer: ", "$secondary"),
                (f"“{quoted[0]}”", "$success"),
                ("\n                 over: ", "$secondary"),
                (f"“{quoted[1]}”", "$error"),
            )
        )

    @property
    def _room(self) -> int:
        """Cells of a line of the dialog."""
        return min(_WIDE, int(self.app.size.width * 0.9)) - _FRAME

    def _lines(self) -> list[Content]:
        lines = []
        for number, answer in enumerate(self._answers):
            side = next((name for name, chosen in self._sides.items() if chosen == number), "")
            mark, color = _MARKS[side]
            label = cut(one_line(answer.label), _LABEL)
            lines.append(
                Content.assemble(
                    (f"{mark} {side:<9}", f"bold {color}" if color else ""),
                    (f"{label:<{_LABEL + 1}}", "$secondary"),
                    one_line(answer.text, self._room - _LABEL - 12),
                )
            )
        return lines
