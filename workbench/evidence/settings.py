"""What `evaluate` measures and demands: `[evidence]`, `[behaviour.NAME]` and `[claim.NAME]` of workbench.toml.

Behaviours and claims may also stand in `*.toml` files beside the suites. Those may come from elsewhere, so they may not
name code or models to run.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from workbench.config import unknown_setting, wrong_settings
from workbench.errors import WorkbenchError
from workbench.evidence.behaviours import PROPERTIES, Behaviour, circle, defaults
from workbench.evidence.claims import DEFAULTS, Claim
from workbench.evidence.measurements import HELD_OUT

SECTION = "evidence"
_RUNS_SOMETHING = ("function", "judge", "classifier")

Table = TypeVar("Table", bound=BaseModel)


class Settings(BaseModel):
    """Counts and bounds of the evaluation. Every key may be left out."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)

    fewest: int = Field(default=40, ge=2)
    """Fewer probes of a kind, or held-out pairs, are too few to say anything."""
    samples: int = Field(default=2, ge=0)
    """Seeded answers to every probe from base and run each, told apart by behaviours; 0 for none."""
    answer_tokens: int = Field(default=96, ge=1)
    """Tokens of such an answer at most; longer ones are cut."""
    least_probability: float = Field(default=1e-3, ge=0, lt=1)
    """Where the base gives a named response less, no claim is judged by its probability."""
    most_pairs: int = Field(default=1000, ge=1)
    """Held-out pairs that are scored; of more, as many are drawn."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Seeds samples, intervals and tests."""


@dataclass(frozen=True, slots=True)
class Plan:
    """All that an evaluation goes by: settings, behaviours and claims, by name. `root`: where files are looked for."""

    settings: Settings
    behaviours: Mapping[str, Behaviour]
    claims: Mapping[str, Claim]
    root: Path = Path()


def plan(model: str, settings: Settings | None = None) -> Plan:
    """The plan for `model` where no file says more."""
    return Plan(settings or Settings(), defaults(model), DEFAULTS)


def read_plan(path: Path, suites: Path, model: str) -> Plan:
    """The plan for `model` by the file `path` and every `*.toml` in the folder `suites`; each may be missing.

    A table that has a default's name changes the keys that it gives. Raises `WorkbenchError` for a file that is no
    TOML, an unknown key (with the nearest right one), a wrong value, an unknown behaviour, and a table beside the
    suites that would run something.
    """
    document = _document(path)
    behaviours, claims = defaults(model), dict(DEFAULTS)
    for source in [*sorted(suites.glob("*.toml")), path]:
        content = document if source == path else _document(source)
        for name, table in _tables(content, "behaviour", source).items():
            where = f"{source}, section [behaviour.{name}]"
            behaviours[name] = _behaviour(name, table, where, own=source == path)
        for name, table in _tables(content, "claim", source).items():
            given = claims[name].model_dump(exclude_none=True, exclude_unset=True) if name in claims else {}
            if name in claims and {"at_least", "at_most", "kept", "lost"} & set(table):
                given = {key: value for key, value in given.items() if key in ("kind", "behaviour", "by", "before")}
            claims[name] = _valid(Claim, given | table, f'{source}, section [claim."{name}"]')
    _check(behaviours, claims, path)
    judged = {name: claim for name, claim in claims.items() if not claim.skip}
    return Plan(read_settings(path, document), behaviours, judged, path.parent)


def read_settings(path: Path, document: Mapping[str, Any] | None = None) -> Settings:
    """The section `[evidence]` of `path`; the defaults where there is none. Raises `WorkbenchError` as `read_plan`."""
    values = (_document(path) if document is None else document).get(SECTION, {})
    if not isinstance(values, dict):
        raise WorkbenchError("Not settings", f"{path}: {SECTION} is no section.", f"Write [{SECTION}] on its own line.")
    return _valid(Settings, values, f"{path}, section [{SECTION}]")


def _document(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise WorkbenchError("The settings cannot be read", f"{path}: {error}.", "Correct that line.") from error


def _tables(document: Mapping[str, Any], section: str, path: Path) -> dict[str, dict[str, Any]]:
    tables = document.get(section, {})
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        raise WorkbenchError("Not settings", f"{path}: {section} is no section.", f"Write [{section}.NAME] above it.")
    return tables


def _behaviour(name: str, table: dict[str, Any], where: str, *, own: bool) -> Behaviour:
    if name in PROPERTIES:
        raise WorkbenchError(f"{name!r} cannot be redefined", f"{where}.", "Give your behaviour another name.")
    if not own and (named := next((key for key in _RUNS_SOMETHING if table.get(key)), None)):
        raise WorkbenchError(
            "A suite may not run code", f"{where}: {named} = {table[named]!r}.", "Move the section to workbench.toml."
        )
    return _valid(Behaviour, table, where)


def _valid(kind: type[Table], values: Mapping[str, Any], where: str) -> Table:
    for key in values:
        if key not in kind.model_fields:
            raise unknown_setting(key, kind.model_fields, f"{where}.")
    try:
        return kind(**values)
    except ValidationError as error:
        raise wrong_settings(error, "Correct it.", where) from None


def _check(behaviours: Mapping[str, Behaviour], claims: Mapping[str, Claim], path: Path) -> None:
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
    for name, claim in claims.items():
        if "samples" in claim.by and claim.kind != HELD_OUT and claim.behaviour not in known:
            raise WorkbenchError(
                f"No behaviour named {claim.behaviour!r}",
                f'{path}: [claim."{name}"] is about it.',
                f"Behaviours: {', '.join(known)}. Or define it: [behaviour.{claim.behaviour}]",
            )
