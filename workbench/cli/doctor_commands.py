"""doctor: what this machine can run, and what is missing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from workbench.cli.context import Json, print_json, workspace_of
from workbench.cli.run_results import examples
from workbench.text import one_line

if TYPE_CHECKING:
    from workbench.doctor.findings import Finding
    from workbench.workspace import Workspace

_SIGNS = {"ok": "✔ ok", "warning": "▲ warning", "missing": "✘ missing"}


def register(app: typer.Typer) -> None:
    """Adds the command to `app`."""
    app.command(epilog=examples("doctor", "doctor --json"))(doctor)


def doctor(context: typer.Context, json: Json = False) -> None:
    """Tell what this machine can run, and what is missing, with the way out of it.

    Python and packages, memory, disk and GPU, terminal, Hugging Face, torch, and real 4-bit weights. Nothing is
    changed, and no token is shown. Exit status: 1 where something is missing; warnings leave it at 0.
    """
    found = []
    for finding in _findings(workspace_of(context)):
        found.append(finding)
        if not json:
            _print(finding)
    wanting = [each for each in found if each.level == "missing"]
    if json:
        print_json({"ok": not wanting, "checks": [asdict(each) for each in found]})
    else:
        warnings = sum(each.level == "warning" for each in found)
        print(f"\n{len(wanting)} missing, {warnings} warnings, {len(found)} checks")
    if wanting:
        raise typer.Exit(1)


def _findings(workspace: Workspace) -> Iterator[Finding]:
    """Fast ones first."""
    from workbench.doctor import hub, libraries, packages, system, terminal

    yield from packages.look()
    yield from system.look(workspace)
    yield from terminal.look()
    yield from hub.look()
    yield from libraries.look()


def _print(finding: Finding) -> None:
    print(f"{_SIGNS[finding.level]:<10} {finding.name:<15} {one_line(finding.message)}".rstrip(), flush=True)
    if finding.level != "ok" and finding.hint:
        print(f"{'':<27}{one_line(finding.hint)}", flush=True)
