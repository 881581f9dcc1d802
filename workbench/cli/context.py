"""What every command shares: its options, where the workspace is, and which run is meant."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workbench.console import confirm, note
from workbench.errors import WorkbenchError
from workbench.workspace import Workspace

if TYPE_CHECKING:
    from workbench.runs.folder import RunFolder

Run = Annotated[str, typer.Argument(metavar="RUN", help="A run's id, or the beginning or end of one.")]
RunToEnd = Annotated[str, typer.Argument(metavar="RUN", help="A run's id, or at least 6 characters of its beginning.")]
TrustRun = Annotated[
    bool, typer.Option("--trust", help="Use a run that was not made here, without asking. See: workbench trust --help")
]
TrustCode = Annotated[
    bool,
    typer.Option("--trust-remote-code", help="Let Python that comes with the model run, if you have read it."),
]
AllowPickle = Annotated[
    bool, typer.Option("--allow-pickle", help="Read weights that are a pickle, where the model has no safetensors.")
]
Watch = Annotated[bool, typer.Option("--wait", help="Watch until the run ends. Ctrl-C leaves it running.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else there.")]
RUN = "1506-support-tone-dpo"
"""The end of a run's id, for examples."""
RUN_ID = f"2026-03-04-{RUN}"
"""The whole id."""
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


def path_given(text: str) -> Path:
    """A path from the command line. Raises `WorkbenchError` for an empty one: Python takes it for the folder here."""
    if not text.strip():
        raise WorkbenchError(
            "No path is given", "It is empty, as that of an unset variable is.", "Name a file or folder."
        )
    return Path(text)


def workspace_of(context: typer.Context) -> Workspace:
    """The workspace that the command line names."""
    options: Context = context.obj
    return options.workspace


def folder_of(context: typer.Context, run: str, *, to_end: bool = False) -> RunFolder:
    """The folder of the run that the command line names; `to_end` as in `Workspace.run_folder`.

    Raises `WorkbenchError` where there is no such, or several.
    """
    from workbench.runs.folder import RunFolder

    return RunFolder(workspace_of(context).run_folder(run, to_end=to_end))


def own_folder_of(context: typer.Context, run: str, *, trust: bool) -> RunFolder:
    """As `folder_of`, for a command that starts something from the run: one that was not made here is asked about.

    Raises `WorkbenchError` for such a run where nobody can be asked, unless `trust`.
    """
    folder = folder_of(context, run)
    ask_about(folder, trust=trust)
    return folder


def ask_about(folder: RunFolder, *, trust: bool) -> None:
    """Where the run was not made here, shows what it names and asks; from then on, as it is now, it counts as own.

    Raises `WorkbenchError` where nobody can be asked, unless `trust`.
    """
    from workbench.runs.trusting import require_own, told

    if folder.own:
        return
    if not trust and not sys.stdin.isatty():
        require_own(folder)
    note(f"{folder.id} was not made here. {told(folder)}")
    if not trust:
        confirm("Trust it?", abort=True)
    folder.sign()


def examples(*lines: str) -> str:
    """Examples for the end of a command's help."""
    return "\n".join(["\b", "Examples:", *(f"  workbench {line}" for line in lines)])
