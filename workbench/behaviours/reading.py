"""Which behaviours a workspace knows: `[behaviour.NAME]` of workbench.toml and of `*.toml` beside the suites.

Files beside the suites may come from elsewhere, so those may not name code or models to run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.behaviours.behaviour import PROPERTIES, Behaviour, circle, defaults
from workbench.errors import WorkbenchError
from workbench.settings_file import checked, read_document, tables
from workbench.workspace import Workspace

_RUNS_SOMETHING = ("function", "judge", "classifier")


@dataclass(frozen=True, slots=True)
class KnownBehaviours:
    """Behaviours by name. `root`: where the files of functions and the folders of models are looked for."""

    by_name: Mapping[str, Behaviour]
    root: Path = Path()


def read_behaviours(path: Path, suites: Path, model: str) -> KnownBehaviours:
    """The behaviours of `model` by the file `path` and every `*.toml` in the folder `suites`; each may be missing.

    A table that has a default's name replaces it. Raises `WorkbenchError` for a file that is no TOML, an unknown key
    (with the nearest right one), a wrong value, an unknown behaviour, and a table beside the suites that would run
    something.
    """
    behaviours = defaults(model)
    for source in sources(path, suites):
        for name, table in tables(read_document(source), "behaviour", source).items():
            where = f"{source}, section [behaviour.{name}]"
            behaviours[name] = _behaviour(name, table, where, own=source == path)
    _check(behaviours, path)
    return KnownBehaviours(behaviours, path.parent)


def behaviours_of(workspace: Workspace, model: str) -> KnownBehaviours:
    """The behaviours by which the workspace tells answers of `model`. Raises `WorkbenchError` as `read_behaviours`."""
    return read_behaviours(workspace.settings, workspace.probes, model)


def sources(path: Path, suites: Path) -> list[Path]:
    """The files that have behaviours and claims, in the order in which they count: the last says it."""
    return [*sorted(suites.glob("*.toml")), path]


def _behaviour(name: str, table: dict[str, Any], where: str, *, own: bool) -> Behaviour:
    if name in PROPERTIES:
        raise WorkbenchError(f"{name!r} cannot be redefined", f"{where}.", "Give your behaviour another name.")
    if not own and (named := next((key for key in _RUNS_SOMETHING if table.get(key)), None)):
        raise WorkbenchError(
            "A suite may not run code", f"{where}: {named} = {table[named]!r}.", "Move the section to workbench.toml."
        )
    return checked(Behaviour, table, where)


def _check(behaviours: Mapping[str, Behaviour], path: Path) -> None:
    """Raises `WorkbenchError` where a name means nothing, or behaviours exclude each other in a circle."""
    known = [*behaviours, *PROPERTIES]
    for name, behaviour in behaviours.items():
        for other in behaviour.unless:
            if other not in known:
                raise WorkbenchError(
                    f"No behaviour named {other!r}",
                    f"{path}: [behaviour.{name}] excludes it.",
                    f"Behaviours: {', '.join(known)}.",
                )
    if found := circle(behaviours):
        raise WorkbenchError(
            "Behaviours exclude each other", f"{path}: {' → '.join(found)}.", "Take a name out of one `unless`."
        )
