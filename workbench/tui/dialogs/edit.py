"""The dialog that edits the texts of a pair."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from workbench.pairs.pair import Message, Pair, Text, plain
from workbench.tui.dialogs.confirm import ConfirmDialog
from workbench.tui.widgets.fields import TextField

_PARTS = {"prompt": "", "chosen": "✔ chosen", "rejected": "✘ rejected"}


class EditDialog(ModalScreen[Pair | None]):
    """An editor for each turn of the prompt, for chosen and for rejected; None where nothing is to be saved."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "save", "Save", priority=True),
        Binding("escape", "give_up", "Give up", priority=True),
    ]
    DEFAULT_CSS = """
    EditDialog #editor {
        width: 94%; max-width: 130; height: 94%; padding: 0 1; background: $surface;
        border: round $accent; border-title-color: $foreground; border-title-style: bold;
        border-subtitle-color: $secondary;
    }
    EditDialog VerticalScroll { height: 1fr; scrollbar-size-vertical: 1; padding: 1 1 0 0; }
    EditDialog .label { color: $accent; }
    EditDialog .label.-chosen { color: $success; }
    EditDialog .label.-rejected { color: $error; }
    EditDialog TextField {
        height: auto; max-height: 16; padding: 0 1; margin-bottom: 1; border: none; background: $panel 50%;
    }
    EditDialog TextField:focus { background: $panel; }
    """

    def __init__(self, pair: Pair, title: str) -> None:
        super().__init__()
        self._pair, self._title = pair, title

    def compose(self) -> ComposeResult:
        """Editors from top to bottom, in the order of the conversation."""
        with Vertical(id="editor") as editor:
            editor.border_title = self._title
            editor.border_subtitle = "ctrl+s saves · tab next text · esc gives up"
            with VerticalScroll(can_focus=False):
                for part in _PARTS:
                    for label, content in _fields(self._pair, part):
                        yield Static(label, markup=False, classes=f"label -{part}")
                        yield TextField(content)

    def on_mount(self) -> None:
        """Begins where most edits are made: in the chosen response; in an empty pair, at the top."""
        fields = list(self.query(TextField))
        empty = not any(field.content for field in fields)
        field = fields[0 if empty else self._count("prompt")]
        field.focus(scroll_visible=False)
        # How high the fields are is known only when they were laid out.
        self.call_after_refresh(field.scroll_visible, animate=False)

    def action_save(self) -> None:
        """Gives the edited pair back."""
        pair, contents = self._pair, iter([field.content for field in self.query(TextField)])
        after = replace(
            pair,
            prompt=_refilled(pair.prompt, contents),
            chosen=_refilled(pair.chosen, contents),
            rejected=_refilled(pair.rejected, contents),
        )
        empty = [part for part in _PARTS if not plain(getattr(after, part)).strip()]
        if empty:
            self.notify(f"A pair needs a text for: {', '.join(empty)}.", severity="warning", markup=False)
        else:
            self.dismiss(after if after != pair else None)

    @work
    async def action_give_up(self) -> None:
        """Closes, after a question where something was changed."""
        if any(field.changed for field in self.query(TextField)):
            question = ConfirmDialog("Throw the changes away?", yes="Throw away", no="Keep editing")
            if not await self.app.push_screen_wait(question):
                return
        self.dismiss(None)

    def _count(self, part: str) -> int:
        text: Text = getattr(self._pair, part)
        return 1 if isinstance(text, str) else len(text)


def _fields(pair: Pair, part: str) -> Iterator[tuple[str, str]]:
    """(label, content) of every text in a part of the pair."""
    text: Text = getattr(pair, part)
    if isinstance(text, str):
        yield _PARTS[part] or "prompt", text
        return
    for turn in text:
        label = " · ".join(each for each in (_PARTS[part], turn.role) if each)
        yield (_PARTS[part] if part != "prompt" and turn.role == "assistant" else label), turn.content


def _refilled(text: Text, contents: Iterator[str]) -> Text:
    if isinstance(text, str):
        return next(contents)
    return tuple(Message(turn.role, next(contents)) for turn in text)
