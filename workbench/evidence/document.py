"""evidence.json: what an evaluation found, as one JSON document."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.errors import WorkbenchError
from workbench.evidence.statistics import Estimate, mean
from workbench.evidence.tokens import TokenView
from workbench.evidence.verdicts import Measure, Readings, Verdict

VERSION = 1


@dataclass(frozen=True, slots=True)
class Example:
    """What base and run said to one probe, with the same seed."""

    kind: str
    prompt: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that an evaluation found about a run. `readings` are keyed by kind, family and measure."""

    run: str
    model: str
    quantization: str
    created: str
    seconds: float
    readings: Mapping[tuple[str, str, Measure], Readings]
    verdicts: Sequence[Verdict]
    examples: Sequence[Example]
    tokens: Sequence[TokenView] = ()

    @property
    def holds(self) -> bool:
        """Whether no verdict says that its claim does not hold."""
        return all(verdict.holds is not False for verdict in self.verdicts)

    def to_json(self) -> dict[str, Any]:
        """The document. "probes" has a row for every kind and family."""
        return {
            "version": VERSION,
            "run": self.run,
            "model": self.model,
            "quantization": self.quantization,
            "created": self.created,
            "seconds": self.seconds,
            "verdicts": [verdict.to_json() for verdict in self.verdicts],
            "probes": self.probe_rows(),
            "examples": [
                {"kind": each.kind, "prompt": each.prompt, "before": each.before, "after": each.after}
                for each in self.examples
            ],
            "tokens": [view.to_json() for view in self.tokens],
        }

    def probe_rows(self) -> list[dict[str, Any]]:
        """For every kind and family: mean probability and share of samples, before and after, with intervals."""
        rows = []
        for kind, family in dict.fromkeys((kind, family) for kind, family, _ in self.readings):
            probability = self.readings.get((kind, family, "probability"))
            samples = self.readings.get((kind, family, "samples"))
            rows.append(
                {
                    "kind": kind,
                    "response": family,
                    "probes": (probability or samples or _NONE).probes,
                    "probability": _measured(probability),
                    "samples": _measured(samples),
                }
            )
        return rows


_NONE = Readings((), (), (), 0)


def write_evidence(path: Path, evidence: Evidence) -> None:
    """Writes the document whole or not at all. Raises `WorkbenchError` where the disk refuses."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with unfinished.open("w", encoding="utf-8") as file:
            json.dump(evidence.to_json(), file, ensure_ascii=False, indent=2)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise WorkbenchError(
            "The evidence could not be saved", f"{path}: {error}.", "Free some space there."
        ) from error


def _measured(readings: Readings | None) -> dict[str, Any] | None:
    if readings is None:
        return None
    return {
        "count": len(readings.after),
        "before": _told(mean(readings.before, readings.groups)),
        "after": _told(mean(readings.after, readings.groups)),
    }


def _told(estimate: Estimate) -> dict[str, Any]:
    return {"mean": estimate.value, "interval": list(estimate.interval)}
