"""The dialogs that ask: yes or no, one of several, lines, texts, tags."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Button, Input, OptionList, Static

from workbench.pairs.as_text import tags_from_text, tags_to_text
from workbench.text import one_line, safe
from workbench.tui.dialogs.base import Dialog
from workbench.tui.widgets.fields import LineField, Options, TextField


class ConfirmDialog(Dialog[bool]):
    """A question with two answers; the safe one has the focus. `question` and `detail` may be untrusted."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "dismiss(True)", "Yes"),
        Binding("n,escape", "dismiss(False)", "No"),
    ]

    def __init__(self, question: str, detail: str = "", *, yes: str = "Yes", no: str = "No") -> None:
        super().__init__()
        self._question, self._detail, self._yes, self._no = question, detail, yes, no

    def compose(self) -> ComposeResult:
        """Question, detail and two buttons."""
        with Vertical(classes="dialog"):
            yield Static(safe(self._question), markup=False, classes="dialog-title")
            if self._detail:
                yield Static(safe(self._detail), markup=False, classes="dialog-text")
            with Horizontal(classes="dialog-buttons"):
                yield Button(self._no, id="no", variant="primary", compact=True)
                yield Button(self._yes, id="yes", compact=True)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Answers."""
        self.dismiss(event.button.id == "yes")


class ChooseDialog(Dialog[int | None]):
    """A list of (name, remark); the answer is the number of the chosen one, None where it is given up.

    All texts may be untrusted.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "dismiss(None)", "Give up"),
    ]

    def __init__(
        self,
        question: str,
        choices: Sequence[tuple[str, str]],
        *,
        current: int | None = None,
        hint: str = "enter opens · esc gives up",
    ) -> None:
        """`current` is the number of the one to begin at."""
        super().__init__()
        self._question, self._choices, self._current, self._hint = question, choices, current, hint

    def compose(self) -> ComposeResult:
        """Question and list."""
        width = max((len(one_line(name)) for name, _ in self._choices), default=0)
        lines = [
            Content.assemble(f"{one_line(name):<{width}}", "   ", (one_line(remark), "$secondary"))
            for name, remark in self._choices
        ]
        with Vertical(classes="dialog"):
            yield Static(self._question, markup=False, classes="dialog-title")
            yield Options(*lines, compact=True)
            yield Static(self._hint, markup=False, classes="dialog-hint")

    def on_mount(self) -> None:
        """Begins at what is open now."""
        self.query_one(OptionList).highlighted = self._current or 0

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Answers."""
        self.dismiss(event.option_index)


class AskDialog(Dialog[tuple[str, ...] | None]):
    """Lines to fill in, given as (label, content, placeholder); None where it is given up. They may be untrusted.

    `does` says what enter does. `check` says of the answers what is wrong with them, empty where nothing is.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "apply", "Save"),
        Binding("escape", "dismiss(None)", "Give up", priority=True),
    ]
    DEFAULT_CSS = "AskDialog .wrong { color: $error; display: none; margin-bottom: 1; }"

    def __init__(
        self,
        title: str,
        fields: Sequence[tuple[str, str, str]] = (("", "", ""),),
        *,
        does: str = "saves",
        check: Callable[[tuple[str, ...]], str] = lambda _: "",
    ) -> None:
        super().__init__()
        self._title, self._fields, self._does, self._check = title, fields, does, check

    def compose(self) -> ComposeResult:
        """Title, lines, what the keys do."""
        with Vertical(classes="dialog"):
            yield Static(one_line(self._title), markup=False, classes="dialog-title")
            for label, content, placeholder in self._fields:
                if label:
                    yield Static(label, markup=False, classes="label")
                yield LineField(content, placeholder=placeholder)
            yield Static(markup=False, classes="wrong")
            others = "tab next · " if len(self._fields) > 1 else ""
            yield Static(f"{others}enter {self._does} · esc gives up", markup=False, classes="dialog-hint")

    @on(Input.Submitted)
    def action_apply(self) -> None:
        """Answers; where something is wrong, says so and stays."""
        answers = tuple(field.content for field in self.query(LineField))
        wrong = self._check(answers)
        if not wrong:
            self.dismiss(answers)
        self.query_one(".wrong", Static).update(f"✘ {wrong}")
        self.query_one(".wrong").display = bool(wrong)


class WriteDialog(Dialog[tuple[str, ...] | None]):
    """Labelled texts to edit; the last one has the focus, all of it selected. None where it is given up."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,ctrl+enter,ctrl+s", "apply", "Apply", priority=True),
        Binding("ctrl+j,shift+enter", "new_line", "New line", priority=True),
        Binding("escape", "dismiss(None)", "Give up", priority=True),
    ]

    def __init__(self, title: str, fields: Sequence[tuple[str, str]], *, note: str = "") -> None:
        """`fields` are (label, content); contents may be untrusted."""
        super().__init__()
        self._title, self._fields, self._note = title, fields, note

    def compose(self) -> ComposeResult:
        """Title, fields, what the keys do."""
        with Vertical(classes="dialog -wide"):
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
    DEFAULT_CSS = "TagField { height: auto; }"

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

    @on(Input.Changed)
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
