"""train --dry-run: what a run would use, need and take, before anything is started."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from workbench.cli.context import note, print_json, print_table
from workbench.config import RunConfig, to_toml
from workbench.errors import WorkbenchError
from workbench.text import safe
from workbench.workspace import Workspace

if TYPE_CHECKING:
    from workbench.runs.preview import Preview, Told


def dry_run(workspace: Workspace, config: RunConfig, *, json: bool) -> None:
    """Prints the preview of a run. Exit status 1 where it would not fit; raises `WorkbenchError` where it cannot be."""
    from workbench.launch import prepare, try_run
    from workbench.runs.preview import Doing, begin

    config, _ = prepare(workspace, config)
    preview = begin(workspace.runs, config)

    def hear(told: Told) -> None:
        nonlocal preview
        if isinstance(told, Doing):
            note(f"{told.name} …")
        preview = preview.after(told)

    try_run(workspace, config, hear)
    trouble = preview.trouble
    if trouble is not None and not trouble.memory:
        raise WorkbenchError(trouble.title, trouble.message, trouble.hint)
    if json:
        print_json(_document(preview))
    else:
        _print(preview)
    if preview.fits is False:
        raise typer.Exit(1)


def _print(preview: Preview) -> None:
    from workbench.runs.preview import disk_line, fit_lines, memory_rows, rows_line, time_line, tokens_line

    lines = [("rows", rows_line(preview)), ("tokens", tokens_line(preview)), ("time", time_line(preview))]
    for name, text in lines:
        if text:
            print(safe(f"{name:<8}{text}"))
    print(safe(f"disk    {disk_line(preview)}\n"))
    rows = memory_rows(preview)
    if rows:
        print_table(["memory", ""], rows, right=[1])
        print()
    for line in fit_lines(preview):
        print(safe(line))
    print(f"\nSettings\n{safe(to_toml(preview.config)).rstrip()}")


def _document(preview: Preview) -> dict[str, Any]:
    """The preview for scripts. Bytes and seconds."""
    found, machine = preview.estimate, preview.machine
    checkpoints, adapter = preview.disk
    return {
        "fits": preview.fits,
        "rows": asdict(preview.rows) if preview.rows else None,
        "counts": asdict(preview.counts) if preview.counts else None,
        "steps": preview.steps,
        "seconds": preview.seconds,
        "step_seconds": preview.step_seconds,
        "measured": asdict(preview.measured) if preview.measured else None,
        "unmeasured": asdict(preview.unmeasured) if preview.unmeasured else None,
        "memory": {
            "device": machine.device,
            "needed": preview.needed,
            "free": machine.free,
            "estimate": found.total if found else None,
            "libraries": found.libraries if found else None,
            "parts": [asdict(part) for part in found.parts] if found else None,
            "unknown": preview.unknown,
        },
        "gpus": [asdict(each) for each in machine.gpus],
        "disk": {"checkpoints": checkpoints, "adapter": adapter, "free": machine.disk_free},
        "changes": preview.changes,
        "config": preview.config.model_dump(mode="json"),
        "toml": to_toml(preview.config),
    }
