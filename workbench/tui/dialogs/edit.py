"""Edits the texts of a pair: in a dialog, or in the editor that a person is used to while the screens stand aside."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from textual.app import App, ComposeResult, SuspendNotSupported
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from workbench import figures
from workbench.errors import WorkbenchError
from workbench.pairs.as_text import from_text, to_text
from workbench.pairs.pair import ROLES, Message, Pair, Text, plain
from workbench.text import one_line
from workbench.tui.background import background
from workbench.tui.dialogs.ask import ConfirmDialog
from workbench.tui.dialogs.base import Dialog
from workbench.tui.widgets.fields import TextField
from workbench.tui.widgets.pair_table import words
from workbench.tui.widgets.pair_view import Preference

_HEADS = {"prompt": "", "chosen": "✔ chosen", "rejected": "✘ rejected"}


class EditDialog(Dialog[Pair | None]):
    """An editor for each turn of the prompt, for chosen and for rejected; None where nothing is to be saved."""

    HORIZONTAL_BREAKPOINTS = [(0, "-stacked"), (120, "-beside")]  # noqa: RUF012 (Textual declares it so)
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "save", "Save"),
        Binding("ctrl+n", "add_turn", "Add a turn below", priority=True),
        Binding("ctrl+d", "remove_turn", "Take the turn out", priority=True),
        Binding("ctrl+r", "next_role", "Change the turn's role", priority=True),
        Binding("escape", "give_up", "Give up"),
    ]
    DEFAULT_CSS = """
    EditDialog {
        #editor { width: 96%; max-width: 150; height: 94%; padding: 0 1; }
        VerticalScroll { height: 1fr; scrollbar-size-vertical: 1; padding: 1 1 0 0; }
        #prompt, #responses, #chosen, #rejected { height: auto; }
        .head { height: 1; }
        Preference { border-top: solid $border; height: 3; padding: 0; }
    }
    EditDialog.-beside #responses { layout: horizontal; }
    EditDialog.-beside #chosen { width: 1fr; margin-right: 2; }
    EditDialog.-beside #rejected { width: 1fr; }
    """

    def __init__(self, pair: Pair, title: str, *, drafted: bool = False) -> None:
        """`drafted`: the pair is in no data set yet, and is saved unchanged as well."""
        super().__init__()
        self._pair, self._title, self._drafted = pair, title, drafted
        self._told_empty = False

    def compose(self) -> ComposeResult:
        """The conversation from top to bottom; below it chosen and rejected, and what they come to."""
        with Vertical(id="editor", classes="frame") as editor:
            editor.border_title = one_line(self._title)
            turns = "^n add turn · ^d remove · ^r role · " if self._pair.conversational else ""
            editor.border_subtitle = f"^s save · tab next · {turns}esc cancel"
            with VerticalScroll(can_focus=False):
                with Vertical(id="prompt"):
                    yield from self._editors("prompt")
                with Container(id="responses"):
                    for part in ("chosen", "rejected"):
                        with Vertical(id=part):
                            yield Static(classes="head", markup=False)
                            yield from self._editors(part)
            yield Preference()

    def on_mount(self) -> None:
        """Begins where most edits are made: in the chosen response; in an empty pair, at the top."""
        self._show_outcome()
        turns = list(self.query(TurnEditor))
        if turns:
            written = any(turn.message.text for turn in turns)
            self._go_to(next((turn for turn in turns if written and turn.part == "chosen"), turns[0]))

    def on_text_area_changed(self) -> None:
        """Shows what the texts come to now."""
        self._told_empty = False
        self._show_outcome()

    @property
    def edited(self) -> Pair:
        """The pair as it stands in the editors."""
        prompt, chosen, rejected = map(self._text, _HEADS)
        return replace(self._pair, prompt=prompt, chosen=chosen, rejected=rejected)

    def action_save(self) -> None:
        """Gives the edited pair back; one with an empty text only when asked to twice."""
        pair = self.edited
        empty = [part for part in _HEADS if not plain(getattr(pair, part)).strip()]
        if empty and not self._told_empty:
            self._told_empty = True
            which = " and ".join(empty)
            self.notify(f"There is no text for {which}. ^s again saves it so.", severity="warning", markup=False)
            return
        self.dismiss(pair if self._drafted or pair != self._pair else None)

    @background("dialog", doing="giving the edit up", opens=True)
    async def action_give_up(self) -> None:
        """Closes, after a question where something was changed."""
        if self.edited != self._pair:
            question = ConfirmDialog("Discard changes?", yes="Discard", no="Keep editing")
            if not await self.app.push_screen_wait(question):
                return
        self.dismiss(None)

    async def action_add_turn(self) -> None:
        """Puts an empty turn below the one with the cursor."""
        turn = self._turn
        if turn is None or turn.role is None:
            self._tell_of_plain_text()
            return
        new = TurnEditor(turn.part, Message(turn.following_role, ""))
        await self.query_one(f"#{turn.part}").mount(new, after=turn)
        self._changed_turns(new)

    @background("dialog", doing="taking a turn out", opens=True)
    async def action_remove_turn(self) -> None:
        """Takes the turn with the cursor out, after a question where it has text."""
        turn = self._turn
        if turn is None or turn.role is None:
            self._tell_of_plain_text()
            return
        turns = self._turns(turn.part)
        if len(turns) == 1:
            self.notify(f"This is the only turn of {turn.part}.", markup=False)
            return
        if turn.message.text.strip():
            quoted = f"“{one_line(turn.message.text[:300], 60)}”"
            question = ConfirmDialog("Delete this turn?", quoted, yes="Delete", no="Keep it")
            if not await self.app.push_screen_wait(question):
                return
        place = turns.index(turn)
        neighbour = turns[place - 1] if place else turns[1]
        await turn.remove()
        self._changed_turns(neighbour)

    def action_next_role(self) -> None:
        """Gives the turn with the cursor to the next of the roles."""
        turn = self._turn
        if turn is None or turn.role is None:
            self._tell_of_plain_text()
            return
        turn.next_role()
        self._changed_turns(turn)

    @property
    def _turn(self) -> TurnEditor | None:
        """The turn with the cursor."""
        focused = self.focused
        return focused.parent if focused is not None and isinstance(focused.parent, TurnEditor) else None

    def _turns(self, part: str) -> list[TurnEditor]:
        return list(self.query_one(f"#{part}").query(TurnEditor))

    def _text(self, part: str) -> Text:
        turns = self._turns(part)
        if not self._pair.conversational:
            return turns[0].content
        untouched = getattr(self._pair, part) == () and not any(turn.message.text for turn in turns)
        return () if untouched else tuple(turn.message for turn in turns)

    def _editors(self, part: str) -> Iterator[TurnEditor]:
        text: Text = getattr(self._pair, part)
        if isinstance(text, str):
            yield TurnEditor(part, Message("", text), plain=True)
            return
        for turn in text or (Message("user" if part == "prompt" else "assistant", ""),):
            yield TurnEditor(part, turn)

    def _changed_turns(self, turn: TurnEditor) -> None:
        self._show_outcome()
        self._go_to(turn)

    def _go_to(self, turn: TurnEditor) -> None:
        field = turn.query_one(TextField)
        field.focus(scroll_visible=False)
        # How high the fields are is known only when they were laid out.
        self.call_after_refresh(turn.scroll_visible, animate=False)

    def _show_outcome(self) -> None:
        """Lengths, their difference, and the preference. The role of a lone answer goes without saying."""
        pair = self.edited
        chosen, rejected = words(plain(pair.chosen)), words(plain(pair.rejected))
        delta = rejected - chosen
        sign = "+" if delta > 0 else "−" if delta < 0 else "±"
        lengths = [figures.plural(count, "word") for count in (chosen, rejected)]
        remarks = {"chosen": lengths[0], "rejected": f"{lengths[1]} ({sign}{abs(delta):,})"}
        for part, colour in (("chosen", "$success"), ("rejected", "$error")):
            head = Content.assemble((_HEADS[part], f"bold {colour}"), (f"  {remarks[part]}", "$secondary"))
            self.query_one(f"#{part} > .head", Static).update(head)
            turns = self._turns(part)
            for turn in turns:
                usual = len(turns) == 1 and turn.role in (None, "assistant") and not turn.message.whole
                turn.set_class(usual, "-unlabelled")
        self.query_one(Preference).pair = pair

    def _tell_of_plain_text(self) -> None:
        self.notify("This pair is plain text: it has no turns.", markup=False)


_AFTER = {"user": "assistant", "tool": "assistant"}


class TurnEditor(Vertical):
    """A turn of `part` (prompt, chosen or rejected); `role` is None for plain text, which has no turns.

    What the turn has beside role and text stays as it is.
    """

    DEFAULT_CSS = """
    TurnEditor {
        height: auto;
        Static { height: 1; color: $accent; }
        TextField, TextField:focus {
            height: auto; min-height: 1; max-height: 14; padding: 0 1; margin-bottom: 1;
            border: none; background: $panel 50%;
        }
        TextField:focus { background: $panel; }
        &.-unlabelled Static { display: none; }
    }
    """

    def __init__(self, part: str, turn: Message, *, plain: bool = False) -> None:
        super().__init__()
        self.part, self._turn = part, turn
        self.role = None if plain else turn.role

    def compose(self) -> ComposeResult:
        """Role and text."""
        yield Static(self._label, markup=False)
        yield TextField(self._turn.content)

    @property
    def field(self) -> TextField:
        """Where the text is edited."""
        return self.query_one(TextField)

    @property
    def content(self) -> str:
        """The text as it is to be saved."""
        return self.field.content

    @property
    def message(self) -> Message:
        """The turn as it is to be saved."""
        if not self._turn.whole:
            return Message(self.role or "", self.content)
        return self._turn.with_fields(self.role or "", self.content, self._turn.fields)

    @property
    def following_role(self) -> str:
        """Who speaks after this turn, usually."""
        return _AFTER.get(self.role or "", "user")

    def next_role(self) -> None:
        """Gives the turn to the next of the roles."""
        if self.role is not None:
            self.role = ROLES[(ROLES.index(self.role) + 1) % len(ROLES)]
            self.query_one(Static).update(self._label)

    @property
    def _label(self) -> str:
        more = f" · with {one_line(', '.join(self._turn.fields), 60)} (R edits)" if self._turn.whole else ""
        return f"{self.role or self.part}{more}"


_USUAL = ("nano", "vim", "vi")
_MISTAKE = "# ✘ "


async def edit_pair(app: App[Any], pair: Pair) -> Pair | None:
    """The pair as it was left in $VISUAL or $EDITOR; None where nothing was changed or the editor gave up.

    Where the text is no pair, asks whether to go on editing it, with the mistake named at its top.

    Raises:
        WorkbenchError: there is no editor, or none can be opened here.
    """
    command = editor_command()
    begun = text = to_text(pair)
    while True:
        after = _edit(app, command, text)
        if after is None or after == begun:
            return None
        # A mistake's line is told as it is numbered below the remark, which itself is no part of a pair.
        text = f"{_MISTAKE}\n{_without_mistake(after)}"
        try:
            return from_text(_decoded(text), pair)
        except WorkbenchError as mistake:
            error = mistake
        text = f"{_MISTAKE}{one_line(error.message)}{text.removeprefix(_MISTAKE)}"
        question = ConfirmDialog(error.title, f"{error.message}\n{error.hint}", yes="Discard", no="Edit again")
        if await app.push_screen_wait(question):
            return None


def editor_command() -> list[str]:
    """The words of the command that edits a file, its name left out.

    Raises:
        WorkbenchError: there is none, or $EDITOR is not well quoted.
    """
    for name in ("VISUAL", "EDITOR"):
        value = os.environ.get(name, "").strip()
        if not value:
            continue
        try:
            return shlex.split(value)
        except ValueError as problem:
            raise WorkbenchError(
                "The editor cannot be started", f"${name} is {value!r}: {problem}.", f"Correct ${name}; e edits here."
            ) from problem
    found = next((path for name in _USUAL if (path := shutil.which(name))), None)
    if found is None:
        raise WorkbenchError(
            "There is no editor",
            f"Neither $VISUAL nor $EDITOR is set, and there is no {', '.join(_USUAL)}.",
            "Set $EDITOR, for instance: export EDITOR=vim. e edits here.",
        )
    return [found]


def _edit(app: App[Any], command: list[str], text: str) -> str | None:
    """The text as the editor left it; None where the editor says that it failed. Bytes that are no UTF-8 become lone
    surrogates, so that they can be written back."""
    # A folder of its own: what an editor puts beside a file (swap files, backups) is as private, and goes with it.
    with tempfile.TemporaryDirectory(prefix="workbench-") as folder:
        path = Path(folder) / "pair.md"
        path.touch(0o600, exist_ok=False)
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
        try:
            with app.suspend(), _interrupts_left_alone():
                code = subprocess.run([*command, str(path)], check=False).returncode
        except SuspendNotSupported as problem:
            raise WorkbenchError(
                "No editor can be opened here",
                "The screens do not run in a terminal of their own (in a browser, for instance).",
                "e edits the pair here.",
            ) from problem
        except OSError as problem:
            raise WorkbenchError(
                "The editor cannot be started",
                f"{shlex.join(command)}: {problem.strerror or problem}.",
                "Correct $VISUAL or $EDITOR; e edits here.",
            ) from problem
        if code:
            name = one_line(Path(command[0]).name, 30)
            app.notify(f"{name} ended with code {code}: the pair stays as it was.", severity="warning", markup=False)
            return None
        try:
            return path.read_bytes().decode("utf-8", "surrogateescape")
        except OSError as problem:
            raise WorkbenchError(
                "The edited text is gone",
                f"The editor did not leave a file: {problem.strerror or problem}.",
                "The pair stays as it was. An editor that returns at once needs an option to wait (code --wait).",
            ) from problem


@contextmanager
def _interrupts_left_alone() -> Iterator[None]:
    """ctrl+c in the editor reaches this process too, and must not end it. (A handler that is there is not inherited,
    as SIG_IGN would be.)"""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _decoded(text: str) -> str:
    for number, line in enumerate(text.split("\n"), 1):
        if any("\ud800" <= letter <= "\udfff" for letter in line):
            raise WorkbenchError(
                "The text is no pair yet", f"Line {number}: there are bytes that are not UTF-8.", "Save it as UTF-8."
            )
    return text


def _without_mistake(text: str) -> str:
    lines = text.removeprefix("\ufeff").split("\n")
    while lines and lines[0].startswith(_MISTAKE.rstrip()):
        del lines[0]
    return "\n".join(lines)
