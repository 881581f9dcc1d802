"""What every command shares: its options, where the workspace is, and which run is meant."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

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
