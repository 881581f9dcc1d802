"""The dialog that writes pairs to a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import OptionList, Static

from workbench.errors import WorkbenchError
from workbench.pairs.exporters import Format, check_place, format_of
from workbench.pairs.session import Which
from workbench.text import one_line
from workbench.tui.dialogs.base import Dialog
from workbench.tui.widgets.path_field import PathField
from workbench.workspace import Workspace


@dataclass(frozen=True, slots=True)
class ExportTo:
    """Where to, as what, and which pairs."""

    path: Path
    form: Format
    which: Which


class ExportDialog(Dialog[ExportTo | None]):
    """Which pairs of a data set, and a file for them; `counts` has how many each choice comes to.

    None where it is given up.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "apply", "Export"),
        Binding("down", "move('down')", "Next", priority=True, show=False),
        Binding("up", "move('up')", "Previous", priority=True, show=False),
        Binding("escape", "dismiss(None)", "Give up", priority=True),
    ]
    DEFAULT_CSS = """
    ExportDialog {
        OptionList { height: auto; border: none; padding: 0; margin-bottom: 1; background: $surface; }
        LineField, LineField:focus { background: $panel; border: none; height: 1; padding: 0 1; margin-bottom: 1; }
        #said { height: auto; margin-bottom: 1; }
        .dialog-hint { margin-bottom: 0; }
    }
    """

    def __init__(self, workspace: Workspace, name: str, counts: dict[Which, int], query: str) -> None:
        super().__init__()
        self._workspace, self._data_set = workspace, name
        shown = f"what the filter shows ({one_line(query, 24)})" if query.strip() else "all that is shown"
        words: dict[Which, str] = {
            "shown": shown,
            "undropped": "all but what was dropped",
            "accepted": "only what was accepted",
            "all": "all, dropped ones too",
        }
        self._counts = counts
        order: list[Which] = ["shown", "undropped", "accepted", "all"]
        self._choices = [(each, words[each]) for each in (order if query.strip() else order[1:])]

    def compose(self) -> ComposeResult:
        """Which, where to, what that means."""
        width = max(len(words) for _, words in self._choices)
        lines = [
            Content.assemble(f"{words:<{width}}", (f"{self._counts[which]:>11,} pairs", "$secondary"))
            for which, words in self._choices
        ]
        with Vertical(classes="dialog"):
            yield Static(f"Export {one_line(self._data_set, 40)}", markup=False, classes="dialog-title")
            options = OptionList(*lines, compact=True, markup=False)
            options.can_focus = False
            yield options
            yield PathField(f"{self._data_set}.jsonl", placeholder="a file ending in .jsonl, .parquet or .csv")
            yield Static(id="said", markup=False)
            yield Static("↑↓ which · → writes a name out · enter exports · esc gives up", classes="dialog-hint")

    def on_mount(self) -> None:
        """Begins with the file's name."""
        self.query_one(OptionList).highlighted = 0
        self.query_one(PathField).focus()
        self._check()

    def on_input_changed(self) -> None:
        """Says what would come of it."""
        self._check()

    def on_option_list_option_highlighted(self) -> None:
        """Says what would come of it."""
        self._check()

    def action_move(self, way: str) -> None:
        """Moves to another choice."""
        options = self.query_one(OptionList)
        options.action_cursor_down() if way == "down" else options.action_cursor_up()

    def on_input_submitted(self) -> None:
        """Enter in the line, once the keys before it are in it."""
        self.action_apply()

    def action_apply(self) -> None:
        """Answers, where that can be done."""
        answer = self._check()
        if answer is not None:
            self.dismiss(answer)

    def _check(self) -> ExportTo | None:
        """The answer as it stands; None, and why, where it is none."""
        said = self.query_one("#said", Static)
        path = self.query_one(PathField).path
        which = self._choices[self.query_one(OptionList).highlighted or 0][0]
        try:
            if path is None:
                raise WorkbenchError("No file is named", "")
            form = format_of(path)
            check_place(path, self._workspace.pairs)
            if path.is_dir() or not path.absolute().parent.is_dir():
                raise WorkbenchError("That is no file in a folder that exists", "")
            if not self._counts[which]:
                raise WorkbenchError("There is no such pair", "")
        except WorkbenchError as error:
            text = " ".join(filter(None, (f"▲ {error.title}.", str(error.message))))
            said.update(Content.styled(one_line(text, 200), "$error"))
            return None
        if path.exists():
            said.update(Content.styled("▲ That file exists and will be replaced.", "$warning"))
        else:
            said.update(Content.styled(f"As {form}; turns stay turns, unknown columns stay.", "$secondary"))
        return ExportTo(path, form, which)
