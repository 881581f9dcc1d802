"""report: what a run was asked, what it did and what is proved of it, as one page."""

from __future__ import annotations

import sys
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.context import RUN, Json, Run, examples, folder_of, note, print_json
from workbench.errors import WorkbenchError

_STDOUT = "-"


class Format(StrEnum):
    """What a report is written as."""

    HTML = "html"
    MD = "md"


def register(app: typer.Typer) -> None:
    """Adds this module's command to `app`."""
    lines = (f"report {RUN}", f"report {RUN} --to audit.html", f"report {RUN} --to - --format md > comment.md")
    app.command(epilog=examples(*lines))(report)


def report(
    context: typer.Context,
    run: Run,
    to: Annotated[
        str | None, typer.Option("--to", metavar="FILE", help="Default: report.html in the run's folder; - for stdout.")
    ] = None,
    form: Annotated[
        Format | None, typer.Option("--format", help="Default: what FILE ends in, else html. md is for pull requests.")
    ] = None,
    json: Json = False,
) -> None:
    """Write a run's report: verdicts, numbers before and after, charts, single tokens, data, settings, limits.

    The page is one file that loads nothing and runs no script. What `evaluate` found is in it; before that, it tells
    of the training alone and says so. Exit status 0 once it is written, whatever the verdicts are.
    """
    from workbench.evidence.report.write import render, save
    from workbench.evidence.run import answers

    if json and to == _STDOUT:
        raise WorkbenchError("Two documents for stdout", "--json prints one, --to - another.", "Give one of them.")
    folder = folder_of(context, run)
    form = form or (Format.MD if to is not None and to.lower().endswith((".md", ".markdown")) else Format.HTML)
    written = render(folder, form.value)
    text, evidence = written.text, written.evidence
    if evidence is None and answers(folder):
        note(f"No evidence yet: the report tells of the training alone. For more: workbench evaluate {folder.id}")
    if to == _STDOUT:
        sys.stdout.write(text)
        return
    path = Path(to) if to is not None else folder.report.with_suffix(f".{form}")
    save(written, path)
    if json:
        print_json(
            {
                "run": folder.id,
                "file": str(path.resolve()),
                "format": form.value,
                "bytes": len(text.encode()),
                "headline": written.headline,
                "verdicts": [asdict(verdict) for verdict in evidence.verdicts] if evidence else None,
            }
        )
    else:
        print(written.headline)
        print(f"{path} ({len(text.encode()) / 1e3:.0f} kB)")
