"""evidence.json: what an evaluation found, as one JSON document. The fields here are the fields there."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from workbench.credentials import without_secrets
from workbench.errors import WorkbenchError
from workbench.evidence.calibration import Calibration
from workbench.evidence.capabilities import TaskReading
from workbench.evidence.cases import Example, Regression, TokenView
from workbench.evidence.claims import Claim
from workbench.evidence.length_control import LengthControl
from workbench.evidence.measurements import HELD_OUT, TASK, Key, Measure, Measurement, PairReading, ProbeReading
from workbench.evidence.probes import HOW_TO_GET
from workbench.evidence.statistics import Change, Estimate
from workbench.evidence.verdicts import Verdict
from workbench.files import json_in, write_whole
from workbench.text import quoted

VERSION = 3
SHARES_OF_PROBES: tuple[Measure, ...] = ("samples", "opening", "probability")


@dataclass(frozen=True, slots=True)
class Provenance:
    """What was measured with what: sha256 of the adapter, of every suite and of the run's pairs; package versions."""

    adapter: str
    suites: Mapping[str, str]
    pairs: str
    versions: Mapping[str, str]
    settings: Mapping[str, float | int]
    """The counts of `[evidence]` in workbench.toml, defaults included."""
    behaviours: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What told each behaviour apart: the fields of `Behaviour`."""


@dataclass(frozen=True, slots=True)
class MergedModel:
    """The run merged into its base, measured as base and run were; the divergence from the base was not.

    Here *after* is the merged model and *before* the base; in `against_run` *before* is the run. `folder` is its name,
    `revision` a sha256 of its files, `dtype` the width that it was measured in.
    """

    folder: str
    revision: str
    dtype: str
    verdicts: Sequence[Verdict]
    measurements: Sequence[Measurement]
    against_run: Sequence[Measurement]
    examples: Sequence[Example]
    probe_readings: Sequence[ProbeReading]
    pair_readings: Sequence[PairReading]


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that an evaluation found about a run. All but `created` and `seconds` is the same at every call."""

    run: str
    model: str
    quantization: str
    method: str
    beta: float
    created: str
    seconds: float
    seed: int
    provenance: Provenance
    claims: Mapping[str, Claim]
    verdicts: Sequence[Verdict]
    measurements: Sequence[Measurement]
    length_control: LengthControl | None
    """None where no pair was held out, as for `calibration`."""
    calibration: Calibration | None
    regressions: Sequence[Regression]
    """The worst ten, worst first."""
    examples: Sequence[Example]
    """Every sampled answer."""
    tokens: Sequence[TokenView]
    probe_readings: Sequence[ProbeReading]
    pair_readings: Sequence[PairReading]
    merged: MergedModel | None = None
    """What ships, where that was measured too."""
    task_readings: Sequence[TaskReading] = ()
    version: int = field(default=VERSION)

    @property
    def holds(self) -> bool:
        """Whether no verdict says that its claim does not hold, of the merged model neither where it was measured."""
        merged = self.merged.verdicts if self.merged is not None else ()
        return all(verdict.holds is not False for verdict in (*self.verdicts, *merged))

    def find(self, kind: str, response: str, measure: Measure, part: str = "") -> Change | None:
        """What was measured of that, if it was."""
        return find(self.measurements, Key(kind, part, response, measure))

    @property
    def sampled(self) -> list[Example]:
        """The sampled answers of base and run, then those of base and merged model."""
        return [*self.examples, *(self.merged.examples if self.merged is not None else ())]

    @property
    def unmeasured(self) -> str:
        """What could not be measured for want of suites, and where some are; empty where there were probes."""
        if any(measured.kind not in (HELD_OUT, TASK) for measured in self.measurements):
            return ""
        return (
            "There was no suite of probes, so what became of answers to attacks, look-alikes and neutral prompts was "
            f"not measured; {HOW_TO_GET}"
        )

    @property
    def beside_merged(self) -> list[tuple[Verdict, Verdict | None]]:
        """Every verdict on the run, with that on the merged model where there is one."""
        merged = {verdict.name: verdict for verdict in self.merged.verdicts} if self.merged is not None else {}
        return [(verdict, merged.get(verdict.name)) for verdict in self.verdicts]

    def to_json(self) -> dict[str, Any]:
        """The document; "probes" has a row for every kind and behaviour."""
        document = asdict(self) | {"claims": {name: claim.model_dump() for name, claim in self.claims.items()}}
        return {"version": document.pop("version")} | document | {"probes": probe_rows(self.measurements)}


def find(measurements: Iterable[Measurement], key: Key) -> Change | None:
    """What was measured of `key`, if it was."""
    return next((m.change for m in measurements if m.key == key), None)


def probe_rows(measurements: Iterable[Measurement]) -> list[dict[str, Any]]:
    """For every kind and behaviour of probes: share of samples, mean opening mass and probability, with intervals."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for m in measurements:
        if not m.part and m.measure in SHARES_OF_PROBES:
            empty = {"kind": m.kind, "response": m.response, "probes": m.prompts}
            row = rows.setdefault((m.kind, m.response), empty | dict.fromkeys(SHARES_OF_PROBES))
            before, after = m.change.before, m.change.after
            row[m.measure] = {"count": after.samples, "before": _numbers(before), "after": _numbers(after)}
    return list(rows.values())


def write_evidence(path: Path, evidence: Evidence) -> None:
    """Writes the document whole or not at all. Raises `WorkbenchError` where the disk refuses, or a value is NaN."""
    try:
        text = without_secrets(json.dumps(evidence.to_json(), ensure_ascii=False, indent=1, allow_nan=False) + "\n")
    except ValueError as error:
        raise WorkbenchError(
            "What was measured is no number",
            f"{path.parent.name}: {error}.",
            "The model's log-probabilities overflow: train again with a lower learning_rate.",
        ) from error
    try:
        write_whole(path, text, durable=True)
    except OSError as error:
        raise WorkbenchError(
            "The evidence could not be saved", f"{path}: {error}.", "Free some space there."
        ) from error


def read_evidence(path: Path) -> Evidence:
    """The document in `path`. Raises `WorkbenchError` where there is none, or it is of another version."""
    again = f"Measure it: workbench evaluate {quoted(path.parent.name)}"
    try:
        document = json_in(path.read_bytes())
        version = document.get("version") if isinstance(document, dict) else None
        if version != VERSION:
            raise WorkbenchError(
                "No evidence of this version", f"{path} is of version {version}, not {VERSION}.", again
            )
        return _adapter().validate_python(document)
    except FileNotFoundError:
        raise WorkbenchError("No evidence yet", f"There is no file {path}.", again) from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise WorkbenchError("The evidence cannot be read", f"{path}: {where}: {first['msg']}.", again) from None
    except (OSError, ValueError) as error:
        raise WorkbenchError("The evidence cannot be read", f"{path}: {error}.", again) from error


@cache
def _adapter() -> TypeAdapter[Evidence]:
    return TypeAdapter(Evidence)


def _numbers(estimate: Estimate) -> dict[str, Any]:
    return {"mean": estimate.value, "interval": list(estimate.interval) if estimate.has_interval else None}
