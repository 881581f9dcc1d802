"""What `evaluate` measures and demands: `[evidence]`, `[behaviour.NAME]` and `[claim.NAME]` of workbench.toml.

Behaviours (`behaviours.reading`) and claims may also stand in `*.toml` files beside the suites.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from workbench.behaviours.behaviour import PROPERTIES, Behaviour, defaults
from workbench.behaviours.reading import KnownBehaviours, read_behaviours, sources
from workbench.errors import WorkbenchError
from workbench.evidence.claims import DEFAULTS, Claim
from workbench.evidence.measurements import HELD_OUT
from workbench.settings_file import checked, read_document, read_section, tables

SECTION = "evidence"


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
    """All that an evaluation goes by: settings, behaviours, and claims by name."""

    settings: Settings
    known: KnownBehaviours
    claims: Mapping[str, Claim]

    @property
    def behaviours(self) -> Mapping[str, Behaviour]:
        """By name."""
        return self.known.by_name


def plan(model: str, settings: Settings | None = None) -> Plan:
    """The plan for `model` where no file says more."""
    return Plan(settings or Settings(), KnownBehaviours(defaults(model)), DEFAULTS)


def read_plan(path: Path, suites: Path, model: str) -> Plan:
    """The plan for `model` by the file `path` and every `*.toml` in the folder `suites`; each may be missing.

    A table that has a default's name changes the keys that it gives. Raises `WorkbenchError` for a file that is no
    TOML, an unknown key (with the nearest right one), a wrong value, an unknown behaviour, and a table beside the
    suites that would run something.
    """
    known, claims = read_behaviours(path, suites, model), dict(DEFAULTS)
    for source in sources(path, suites):
        for name, table in tables(read_document(source), "claim", source).items():
            given = claims[name].model_dump(exclude_none=True, exclude_unset=True) if name in claims else {}
            if name in claims and {"at_least", "at_most", "kept", "lost"} & set(table):
                given = {key: value for key, value in given.items() if key in ("kind", "behaviour", "by", "before")}
            claims[name] = checked(Claim, given | table, f'{source}, section [claim."{name}"]')
    _check(known.by_name, claims, path)
    judged = {name: claim for name, claim in claims.items() if not claim.skip}
    return Plan(read_settings(path), known, judged)


def read_settings(path: Path) -> Settings:
    """The section `[evidence]` of `path`; the defaults where there is none. Raises `WorkbenchError` as `read_plan`."""
    return read_section(path, SECTION, Settings)


def _check(behaviours: Mapping[str, Behaviour], claims: Mapping[str, Claim], path: Path) -> None:
    """Raises `WorkbenchError` where a claim is about a behaviour that nobody knows."""
    known = [*behaviours, *PROPERTIES]
    for name, claim in claims.items():
        if "samples" in claim.by and claim.kind != HELD_OUT and claim.behaviour not in known:
            raise WorkbenchError(
                f"No behaviour named {claim.behaviour!r}",
                f'{path}: [claim."{name}"] is about it.',
                f"Behaviours: {', '.join(known)}. Or define it: [behaviour.{claim.behaviour}]",
            )
