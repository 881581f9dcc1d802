"""The root command, and the one place where a `WorkbenchError` becomes a message and an exit status."""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from typing import Annotated

import typer

from workbench import __version__
from workbench.cli import (
    check_commands,
    compare_commands,
    doctor_commands,
    draft_commands,
    evidence_commands,
    label_commands,
    life_commands,
    model_commands,
    pairs_commands,
    probes_commands,
    run_commands,
    serve_commands,
    ship_commands,
)
from workbench.cli.context import Context, path_given
from workbench.console import guarded, note, say, show_error, show_traceback, tell_warnings
from workbench.errors import WorkbenchError
from workbench.terminal import need_screens

app = typer.Typer(
    name="workbench",
    help="Preference pairs in, 4-bit QLoRA DPO in the background, base beside aligned, token by token.",
    epilog="Without a command, the screens open. A first look: workbench demo",
    no_args_is_help=False,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for commands in (
    pairs_commands,
    check_commands,
    draft_commands,
    run_commands,
    life_commands,
    model_commands,
    compare_commands,
    probes_commands,
    evidence_commands,
    label_commands,
    ship_commands,
    serve_commands,
    doctor_commands,
):
    commands.register(app)


def _version(wanted: bool) -> None:
    if wanted:
        say(f"workbench {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    workspace: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            parser=path_given,
            help="Folder with pairs/ and runs/. Default: WORKBENCH_WORKSPACE, else the current folder.",
        ),
    ] = None,
    slow: Annotated[bool, typer.Option("--slow", help="Redraw less, for slow links.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Preference pairs in, 4-bit QLoRA DPO in the background, base beside aligned, token by token."""
    del version
    context.obj = Context(given_workspace=workspace, slow=slow, debug=debug)
    if context.invoked_subcommand is not None:
        context.call_on_close(tell_warnings())
    if context.invoked_subcommand is None:
        need_screens()
        # Nothing that a start makes is garbage: looking for some takes a tenth of the time to the first screen.
        gc.disable()
        from workbench.tui.app import run

        raise typer.Exit(run(context.obj.workspace, slow=slow, debug=debug))


def main() -> None:
    """Runs the command line. Exit status: 0 done, 1 ran and failed, 2 wrong usage or input."""
    with guarded():
        _main()


def _main() -> None:
    try:
        app()
    except WorkbenchError as error:
        if "--debug" in sys.argv:
            show_traceback(error)
        else:
            show_error(error)
        sys.exit(2)
    except Exception as error:
        told = WorkbenchError.out_of_memory(error)
        if told is None or "--debug" in sys.argv:
            show_traceback(error)
        else:
            show_error(told)
        sys.exit(1)
    except KeyboardInterrupt:
        note("Interrupted.")
        sys.exit(130)
