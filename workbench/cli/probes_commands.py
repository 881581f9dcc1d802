"""probes: the suites of the workspace, and those that ship."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workbench.cli.context import Json, examples, note, print_json, print_table, workspace_of
from workbench.errors import WorkbenchError
from workbench.text import one_line

if TYPE_CHECKING:
    from workbench.evidence.probes import Probe

_WIDEST = 60
_HELP = "Suites of prompts that `workbench evaluate` measures a run on."


def register(app: typer.Typer) -> None:
    """Adds this module's commands to `app`."""
    probes = typer.Typer(help=_HELP, no_args_is_help=True, rich_markup_mode=None)
    lines = ("probes add --list", "probes add english-attack english-benign", "probes add --all")
    probes.command("list")(list_)
    probes.command(epilog=examples(*lines))(add)
    app.add_typer(probes, name="probes")


def list_(context: typer.Context, json: Json = False) -> None:
    """List the suites of the workspace: kinds, probes, groups, and what they name to be measured."""
    from workbench.evidence.probes import by_kind, suites

    workspace = workspace_of(context)
    listed = [
        _summary(name, kind, same_kind)
        for name, suite in suites(workspace.probes).items()
        for kind, same_kind in by_kind(suite).items()
    ]
    if json:
        print_json(listed)
    elif listed:
        header = ("suite", "kind", "probes", "groups", "responses", "tags")
        print_table(header, [[_cell(summary[key]) for key in header] for summary in listed], right=(2, 3))
    else:
        note(f"No suites in {workspace.probes} yet. Suites that ship: workbench probes add --list")


def add(
    context: typer.Context,
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME...", help="Suites that ship.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    list_only: Annotated[bool, typer.Option("--list", help="Say which there are, and add none.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Replace other suites of the same names.")] = False,
    json: Json = False,
) -> None:
    """Copy suites that ship into the workspace. They suit any English model; what they ask about is harmless."""
    from workbench.evidence.suites.placing import place
    from workbench.evidence.suites.shipped import shipped

    known = shipped()
    if list_only:
        listed = [
            {"name": suite.name, "kind": suite.kind, "probes": len(suite.rows), "groups": suite.groups}
            | {"summary": suite.summary}
            for suite in known.values()
        ]
        if json:
            print_json(listed)
        else:
            header = ("name", "kind", "probes", "groups", "summary")
            print_table(header, [[_cell(suite[key]) for key in header] for suite in listed], right=(2, 3))
        return
    chosen = list(known) if every else list(dict.fromkeys(names or []))
    unknown = [name for name in chosen if name not in known]
    if unknown or not chosen:
        raise WorkbenchError(
            f"No suite {unknown[0]!r} ships" if unknown else "Which suite?",
            f"Suites that ship: {', '.join(known)}.",
            "Name some of them, or give --all. Public ones come with: workbench probes import",
        )
    workspace = workspace_of(context)
    added = []
    for name in chosen:
        path = workspace.suite_file(name)
        new = place(path, known[name].rows, replace=replace)
        added.append({"name": name, "file": str(path), "probes": len(known[name].rows), "added": new})
        if not json:
            note(f"{name}: {len(known[name].rows)} probes" + (f" added ({path})." if new else " are there already."))
    if json:
        print_json(added)


def _summary(name: str, kind: str, probes: Sequence[Probe]) -> dict[str, Any]:
    return {
        "suite": name,
        "kind": kind,
        "probes": len(probes),
        "groups": len({probe.group for probe in probes}),
        "tags": sorted({tag for probe in probes for tag in probe.tags}),
        "responses": sorted({name for probe in probes for name in probe.responses}),
    }


def _cell(value: object) -> str:
    return one_line(", ".join(value) if isinstance(value, list) else str(value), _WIDEST)
