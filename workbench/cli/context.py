"""What every command shares: where the workspace is, and how results and errors are printed."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workbench.errors import WorkbenchError
from workbench.text import one_line, safe
from workbench.workspace import Workspace

if TYPE_CHECKING:
    from workbench.runs.folder import RunFolder

Run = Annotated[str, typer.Argument(metavar="RUN", help="A run's id, or the beginning or end of one.")]
Watch = Annotated[bool, typer.Option("--wait", help="Watch until the run ends. Ctrl-C leaves it running.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else there.")]
RUN = "1506-support-tone-dpo"
"""A run's id, for examples."""
DASH = "\u2013"


@dataclass
class Context:
    """The options before the command."""

    given_workspace: Path | None
    slow: bool
    debug: bool

    @cached_property
    def workspace(self) -> Workspace:
        """The workspace; raises `WorkbenchError` where the folder does not exist."""
        return Workspace.find(self.given_workspace)


def workspace_of(context: typer.Context) -> Workspace:
    """The workspace that the command line names."""
    options: Context = context.obj
    return options.workspace


def folder_of(context: typer.Context, run: str) -> RunFolder:
    """The folder of the run that the command line names. Raises `WorkbenchError` where there is no such, or several."""
    from workbench.runs.folder import RunFolder

    return RunFolder(workspace_of(context).run_folder(run))


def examples(*lines: str) -> str:
    """Examples for the end of a command's help."""
    return "\n".join(["\b", "Examples:", *(f"  workbench {line}" for line in lines)])


def print_json(document: Any) -> None:
    """One JSON document on stdout."""
    print(json.dumps(document, ensure_ascii=False, indent=2))


def note(text: str) -> None:
    """A line for the person at the terminal, on stderr, untrusted text made safe."""
    print(safe(text), file=sys.stderr, flush=True)


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
        print("  ".join(padded).rstrip())


def show_error(error: WorkbenchError) -> None:
    """The three parts of an error on stderr."""
    note(f"Error: {error.title}")
    for part in (error.message, error.hint):
        if part:
            note("  " + part.replace("\n", "\n  "))


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
        line = one_line(text, 79)
        if line != self._shown and time.monotonic() >= self._begin:
            print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)
            self._shown = line
