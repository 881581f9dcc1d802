"""The dialogs that ask for a text: a line, some lines, tags."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import OptionList, Static

from workbench.pairs.as_text import tags_from_text, tags_to_text
from workbench.text import one_line, safe
from workbench.tui.dialogs.base import Dialog
from workbench.tui.widgets.fields import LineField, TextField


class AskDialog(Dialog[str | None]):
    """A question and a line to answer it in; None where it is given up. `content` may be untrusted."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "Give up")]
    DEFAULT_CSS = """
    AskDialog LineField, AskDialog LineField:focus {
        background: $panel; border: none; height: 1; padding: 0 1; margin-bottom: 1;
    }
    AskDialog .dialog-hint { margin-bottom: 0; }
    """

    def __init__(self, question: str, content: str = "", *, hint: str = "") -> None:
        super().__init__()
        self._question, self._content, self._hint = question, content, hint

    def compose(self) -> ComposeResult:
        """Question, line, what the keys do."""
        with Vertical(classes="dialog"):
            yield Static(self._question, markup=False, classes="dialog-title")
            yield LineField(self._content)
            hint = f"{self._hint}\n" if self._hint else ""
            yield Static(f"{hint}enter saves · esc gives up", markup=False, classes="dialog-hint")

    def on_input_submitted(self) -> None:
        """Answers."""
        self.dismiss(self.query_one(LineField).content)


class WriteDialog(Dialog[tuple[str, ...] | None]):
    """Labelled texts to edit; the last one has the focus, all of it selected. None where it is given up."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,ctrl+enter,ctrl+s", "apply", "Apply", priority=True),
        Binding("ctrl+j,shift+enter", "new_line", "New line", priority=True),
        Binding("escape", "dismiss(None)", "Give up", priority=True),
    ]
    DEFAULT_CSS = """
    WriteDialog .dialog { width: 94; }
    WriteDialog .label { color: $secondary; }
    WriteDialog TextField, WriteDialog TextField:focus {
        height: auto; min-height: 1; max-height: 12; padding: 0 1; margin-bottom: 1;
        border: none; background: $panel 50%;
    }
    WriteDialog TextField:focus { background: $panel; }
    WriteDialog .dialog-hint { margin-bottom: 0; }
    """

    def __init__(self, title: str, fields: Sequence[tuple[str, str]], *, note: str = "") -> None:
        """`fields` are (label, content); contents may be untrusted."""
        super().__init__()
        self._title, self._fields, self._note = title, fields, note

    def compose(self) -> ComposeResult:
        """Title, fields, what the keys do."""
        with Vertical(classes="dialog"):
            yield Static(self._title, markup=False, classes="dialog-title")
            for label, content in self._fields:
                if label:
                    yield Static(label, markup=False, classes="label")
                yield TextField(content)
            if self._note:
                yield Static(safe(self._note), markup=False, classes="dialog-hint")
            hint = "enter applies · ctrl+j new line · esc gives up"
            if len(self._fields) > 1:
                hint = hint.replace(" · esc", " · tab other field · esc")
            yield Static(hint, markup=False, classes="dialog-hint")

    def on_mount(self) -> None:
        """Begins in the last field."""
        field = list(self.query(TextField))[-1]
        field.focus()
        field.select_all()

    def action_apply(self) -> None:
        """Gives the texts back; an empty last one is no answer."""
        texts = tuple(field.content for field in self.query(TextField))
        if texts[-1].strip():
            self.dismiss(texts)
        else:
            self.notify("Type something first.", severity="warning", markup=False)

    def action_new_line(self) -> None:
        """Breaks the line."""
        if isinstance(self.focused, TextField):
            self.focused.insert("\n")


class TagsDialog(Dialog[tuple[str, ...] | None]):
    """Tags to edit, those known offered; None where it is given up. All may be untrusted."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Give up"),
    ]
    DEFAULT_CSS = "TagsDialog .dialog-hint { margin-bottom: 0; }"

    def __init__(self, tags: Sequence[str], known: Sequence[str]) -> None:
        super().__init__()
        self._tags, self._known = tags, known

    def compose(self) -> ComposeResult:
        """A line, offers, what the keys do."""
        with Vertical(classes="dialog"):
            yield Static("Tags, parted by commas", classes="dialog-title")
            yield TagField(self._tags, self._known)
            yield Static("↑↓ tab writes a known one out · enter saves · esc gives up", classes="dialog-hint")

    def on_mount(self) -> None:
        """Begins in the line."""
        self.query_one(LineField).focus()

    def on_input_submitted(self) -> None:
        """Answers."""
        self.dismiss(self.query_one(TagField).tags)


_OFFERED = 6


class TagField(Vertical):
    """Tags parted by commas; `known` ones that go on as the last begins are below it, and tab writes one out."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "complete", "Write the tag out", priority=True),
        Binding("down", "move(1)", "Next tag", priority=True, show=False),
        Binding("up", "move(-1)", "Previous tag", priority=True, show=False),
    ]
    DEFAULT_CSS = """
    TagField {
        height: auto;
        LineField, LineField:focus { background: $panel; border: none; height: 1; padding: 0 1; }
        OptionList {
            height: 6; border: none; padding: 0; margin-bottom: 1; background: $surface; scrollbar-size-vertical: 0;
        }
    }
    """

    def __init__(self, tags: Sequence[str], known: Sequence[str]) -> None:
        super().__init__()
        self._tags, self._known = tags, known
        self._offered: list[str] = []

    def compose(self) -> ComposeResult:
        """Line and offers."""
        line = LineField()
        line.value = f"{tags_to_text(self._tags)}, " if self._tags else ""
        line.select_on_focus = False
        yield line
        offers = OptionList(compact=True, markup=False)
        offers.can_focus = False
        yield offers

    def on_mount(self) -> None:
        """Begins at the end of the line."""
        self._offer()

    @property
    def tags(self) -> tuple[str, ...]:
        """What was typed."""
        return tags_from_text(self.query_one(LineField).value)

    def on_input_changed(self) -> None:
        """Offers what goes on as the last tag begins."""
        self._offer()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Writes out what was clicked on."""
        event.stop()
        self._take(event.option_index)

    def action_move(self, by: int) -> None:
        """Moves to another offer."""
        offers = self.query_one(OptionList)
        if self._offered:
            offers.highlighted = ((offers.highlighted or 0) + by) % len(self._offered)

    def action_complete(self) -> None:
        """Writes the offer out."""
        self._take(self.query_one(OptionList).highlighted)

    def _take(self, number: int | None) -> None:
        if number is None or number >= len(self._offered):
            return
        line = self.query_one(LineField)
        before, comma, _ = line.value.rpartition(",")
        line.value = f"{before}{comma}{' ' if comma else ''}{tags_to_text([self._offered[number]])}, "
        line.cursor_position = len(line.value)

    def _offer(self) -> None:
        before, _, begun = self.query_one(LineField).value.rpartition(",")
        there, begun = tags_from_text(before), begun.strip().casefold()
        fitting = [tag for tag in self._known if tag not in there and begun in tag.casefold()]
        fitting.sort(key=lambda tag: not tag.casefold().startswith(begun))
        self._offered = fitting[:_OFFERED]
        offers = self.query_one(OptionList)
        offers.clear_options()
        offers.add_options(Content.styled(one_line(tag, 60), "$secondary") for tag in self._offered)
        offers.highlighted = 0 if self._offered else None
