"""doctor: what this machine can run, and what is missing."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from workbench.cli.context import Json, examples, workspace_of
from workbench.console import print_json, say
from workbench.text import one_line

if TYPE_CHECKING:
    from workbench.doctor import Finding

_SIGNS = {"ok": "✔ ok", "warning": "▲ warning", "missing": "✘ missing"}


def register(app: typer.Typer) -> None:
    """Adds the command to `app`."""
    app.command(epilog=examples("doctor", "doctor --json"))(doctor)


def doctor(context: typer.Context, json: Json = False) -> None:
    """Tell what this machine can run, and what is missing, with the way out of it.

    Python and packages, memory, disk and GPU, terminal, Hugging Face, torch, and real 4-bit weights. Nothing is
    changed, and no token is shown. Exit status: 1 where something is missing; warnings leave it at 0.
    """
    from workbench.doctor import examine

    findings = []
    for finding in examine(workspace_of(context)):
        findings.append(finding)
        if not json:
            _print(finding)
    missing = [finding for finding in findings if finding.level == "missing"]
    if json:
        print_json({"ok": not missing, "checks": [asdict(finding) for finding in findings]})
    else:
        warnings = sum(finding.level == "warning" for finding in findings)
        say(f"\n{len(missing)} missing, {warnings} warnings, {len(findings)} checks")
    if missing:
        raise typer.Exit(1)


def _print(finding: Finding) -> None:
    say(f"{_SIGNS[finding.level]:<10} {finding.name:<15} {one_line(finding.message)}".rstrip())
    if finding.level != "ok" and finding.hint:
        say(f"{'':<27}{one_line(finding.hint)}")
