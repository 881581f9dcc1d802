"""The one way to a terminal: what is printed has all that a terminal would obey made visible (`workbench.text`).

Names of runs, files and columns, model output and the words of errors all end here, whoever made them. `say` and `note`
are for us; `guarded` covers what libraries, click and tracebacks print. A test forbids every other way. Secrets of the
environment are not printed either (`workbench.credentials`): a worker's log is what it prints.
"""

from __future__ import annotations

import json
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TextIO, cast

from workbench.credentials import without_secrets
from workbench.errors import WorkbenchError
from workbench.text import in_json, one_line, safe

_WIDTH = 79
"""Cells of a status line."""


class SafeStream:
    """A stream of text in front of another one: what is written has controls, overrides and invisibles made visible.

    A bar that a library redraws in place (with a carriage return) becomes lines. There is no `buffer` to go round it.
    """

    def __init__(self, stream: TextIO) -> None:
        self.behind = stream

    def write(self, text: str) -> int:
        """Writes `text` made safe; returns how much of it was taken, which is all."""
        self.behind.write(_printable(text.replace("\r\n", "\n").replace("\r", "\n")))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Writes each of `lines` made safe."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        if name == "buffer":
            raise AttributeError(name)
        return getattr(self.behind, name)


@contextmanager
def guarded() -> Iterator[None]:
    """While it lasts, `sys.stdout` and `sys.stderr` let nothing through that a terminal obeys, whoever prints it."""
    plain = sys.stdout, sys.stderr
    ours = tuple(cast("TextIO", SafeStream(stream)) for stream in plain)
    sys.stdout, sys.stderr = ours
    try:
        yield
    finally:
        # Where a reader has gone away, click has put one there that bears it.
        if (sys.stdout, sys.stderr) == ours:
            sys.stdout, sys.stderr = plain


def say(text: object = "", *, end: str = "\n") -> None:
    """`text` on stdout, made safe."""
    print(_printable(str(text)), end=end, flush=True)


def note(text: object, *, end: str = "\n") -> None:
    """`text` for the person at the terminal, on stderr, made safe."""
    print(_printable(str(text)), end=end, file=sys.stderr, flush=True)


def print_json(document: Any) -> None:
    """One JSON document on stdout, what a terminal would obey in it as escapes of JSON."""
    print(in_json(without_secrets(json.dumps(document, ensure_ascii=False, indent=2))), flush=True)


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> None:
    """A table on stdout, columns two spaces apart; `right` lists the columns aligned right."""
    from rich.cells import cell_len

    lines = [[one_line(cell) for cell in row] for row in (header, *rows)]
    widths = [max(cell_len(row[column]) for row in lines) for column in range(len(header))]
    for row in lines:
        padded = [
            " " * (widths[column] - cell_len(cell)) + cell
            if column in right
            else cell + " " * (widths[column] - cell_len(cell))
            for column, cell in enumerate(row)
        ]
        say("  ".join(padded).rstrip())


def show_error(error: WorkbenchError) -> None:
    """The three parts of an error on stderr."""
    note(f"Error: {error.title}")
    for part in (error.message, error.hint):
        if part:
            note("  " + part.replace("\n", "\n  "))


def tell_warnings() -> Callable[[], None]:
    """Tells what our modules warn of, each once, on stderr, until what is returned is called."""
    import logging

    told: set[str] = set()

    class Teller(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if (message := record.getMessage()) not in told:
                told.add(message)
                note("\u25b2 " + message.replace("\n", "\n  "))

    ours, teller = logging.getLogger("workbench"), Teller(logging.WARNING)
    ours.addHandler(teller)
    return lambda: ours.removeHandler(teller)


def show_traceback(error: BaseException) -> None:
    """The traceback of an error on stderr."""
    note("".join(traceback.format_exception(error)), end="")


def confirm(question: str, *, abort: bool = False) -> bool:
    """What the person at the terminal answers, asked on stderr; with `abort`, raises click's `Abort` at a no."""
    import typer

    return typer.confirm(safe(question), err=True, abort=abort)


def ask(question: str) -> str:
    """What the person at the terminal types, asked on stderr."""
    import typer

    return str(typer.prompt(safe(question), err=True))


class StatusLine:
    """What is being done now, on a line of stderr that goes away in the end: at a terminal only, `after` seconds."""

    def __init__(self, after: float = 0.0) -> None:
        self._begin = time.monotonic() + after if sys.stderr.isatty() else float("inf")
        self._shown = self._stage = ""

    def __enter__(self) -> StatusLine:
        return self

    def __exit__(self, *_: object) -> None:
        self.show("")

    def stage(self, what: str, share: float | None = None) -> None:
        """A stage of the work: it stays on a line of its own when it begins; later calls tell how much is done."""
        if what != self._stage:
            self.show("")
            note(f"  {what}")
        elif share is not None:
            self.show(f"  {what} {share:.0%}")
        self._stage = what

    def show(self, text: str) -> None:
        """Replaces the line; untrusted text is made safe."""
        line = one_line(text, _WIDTH)
        if line != self._shown and time.monotonic() >= self._begin:
            print(f"\r\x1b[K{line}", end="", file=_behind(sys.stderr), flush=True)
            self._shown = line


class ProgressBar:
    """A bar on stderr that is redrawn in place, with lines that scroll away above it; for a terminal."""

    def __init__(self, doing: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(24),
            TextColumn("{task.fields[figures]}", markup=False),
            TimeRemainingColumn(compact=True),
        )
        self._progress = Progress(*columns, console=Console(file=_behind(sys.stderr)))
        self._task = self._progress.add_task(one_line(doing), total=None, figures="")

    def __enter__(self) -> ProgressBar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def line(self, text: str) -> None:
        """A line above the bar; untrusted text is made safe."""
        self._progress.console.print(_printable(text), markup=False, highlight=False)

    def update(self, doing: str, completed: int, total: int | None, figures: str) -> None:
        """What the bar shows now; untrusted text is made safe."""
        self._progress.update(
            self._task, description=one_line(doing, 34), completed=completed, total=total, figures=one_line(figures)
        )


def _printable(text: str) -> str:
    return safe(without_secrets(text))


def _behind(stream: TextIO) -> TextIO:
    """The stream that obeys, for what redraws a line in place."""
    return stream.behind if isinstance(stream, SafeStream) else stream
