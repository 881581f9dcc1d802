"""Edits a pair in the editor that a person is used to, while the screens stand aside."""

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
from pathlib import Path
from typing import Any

from textual.app import App, SuspendNotSupported

from workbench.errors import WorkbenchError
from workbench.pairs.as_text import from_text, to_text
from workbench.pairs.pair import Pair
from workbench.text import one_line
from workbench.tui.dialogs.confirm import ConfirmDialog

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
        try:
            return from_text(_decoded(after), pair)
        except WorkbenchError:
            text = _without_mistake(after)
        # The mistake's line is told as it is numbered below the remark.
        error = _mistake(_MISTAKE + "\n" + text, pair)
        if error is None:
            return from_text(text, pair)
        text = f"{_MISTAKE}{one_line(error.message)}\n{text}"
        question = ConfirmDialog(error.title, f"{error.message}\n{error.hint}", yes="Throw it away", no="Edit again")
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


def _mistake(text: str, pair: Pair) -> WorkbenchError | None:
    try:
        from_text(_decoded(text), pair)
    except WorkbenchError as error:
        return error
    return None


def _decoded(text: str) -> str:
    for number, line in enumerate(text.split("\n"), 1):
        if any("\ud800" <= letter <= "\udfff" for letter in line):
            raise WorkbenchError(
                "The text is no pair yet", f"Line {number}: there are bytes that are not UTF-8.", "Save it as UTF-8."
            )
    return text


def _without_mistake(text: str) -> str:
    lines = text.split("\n")
    while lines and lines[0].startswith(_MISTAKE.rstrip()):
        del lines[0]
    return "\n".join(lines)
