"""What each method makes of the demo's pairs: the probes before and after, seconds, peak memory.

Run as `python -m tests.bench methods [METHOD …] [--json]`. Each run is a worker of its own on the embedded model in
four bits, started as the command line does it; the recipes are below. GRPO and RLOO take the DPO run's implicit reward.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from workbench.cli.watch import watch
from workbench.config import build_config
from workbench.demo.embedded import PAIRS, prepare
from workbench.engine.libraries import quiet_libraries
from workbench.engine.model.inference import fitting_threads
from workbench.engine.model.token_ids import encode
from workbench.engine.scoring.scorer import Scorer
from workbench.evidence.probes import Probe, read_suites
from workbench.launch import launch
from workbench.methods import METHODS
from workbench.runs.events import Finished
from workbench.workspace import Workspace

RECIPES: Mapping[str, Mapping[str, Any]] = {
    "dpo": {"preset": "demo"},
    "simpo": {"learning_rate": 2e-4, "epochs": 2},
    "orpo": {"learning_rate": 1e-3},
    "kto": {"learning_rate": 3e-4},
    "reward": {"learning_rate": 1e-3},
    "grpo": {"learning_rate": 1e-3, "max_steps": 20, "completion_tokens": 32},
    "rloo": {"learning_rate": 1e-3, "max_steps": 20, "completion_tokens": 32},
}
"""What is changed of the method's own preset: the embedded model needs higher learning rates than large ones."""


def measure(workspace: Workspace, method: str, recipe: Mapping[str, Any]) -> dict[str, Any]:
    """One row of the table."""
    values = {"pairs": list(PAIRS), "method": method, **recipe}
    folder = launch(workspace, build_config(values, preset=values.pop("preset", None)))
    state = watch(folder)
    if not isinstance(state.end, Finished):
        raise SystemExit(f"{folder.id}: {state.end}")
    row: dict[str, Any] = {
        "method": method,
        "run": folder.id,
        "steps": state.step,
        "seconds": folder.state().seconds_to_end,
        "peak_memory_bytes": state.end.peak_memory_bytes,
        "eval": [state.evals[0].metrics, state.evals[-1].metrics] if state.evals else [],
    }
    if method != "reward":
        row["probes"] = probabilities(folder.adapter, read_suites(workspace.probes))
    return row


def probabilities(adapter: Path, probes: Sequence[Probe]) -> dict[str, list[float]]:
    """By kind of probes and family of response: the mean probability of the response, before and after."""
    scorer = Scorer("tiny", "nf4")
    named = [
        (f"{probe.kind} {family}", probe.prompt, text) for probe in probes for family, text in probe.responses.items()
    ]
    found: dict[str, list[list[float]]] = {}
    with fitting_threads(scorer.adapters.model):
        for place, folder in enumerate((None, adapter)):
            scored = scorer.score_ids([encode(scorer.tokenizer, prompt, text) for _, prompt, text in named], folder)
            for (name, _, _), logps in zip(named, scored, strict=True):
                found.setdefault(name, [[], []])[place].append(math.exp(logps.double().sum().item()))
    return {name: [statistics.fmean(side) for side in sides] for name, sides in found.items()}


def main(arguments: Sequence[str] = ()) -> None:
    """Prints a line a method, or one JSON document."""
    quiet_libraries()
    chosen = [each for each in arguments if not each.startswith("-")] or list(METHODS)
    workspace = prepare(Path(tempfile.mkdtemp(prefix="workbench-bench-")))
    rows: list[dict[str, Any]] = []
    for method in chosen:
        recipe = dict(RECIPES[method])
        if METHODS[method].online:
            if not any(row["method"] == "dpo" for row in rows):
                rows.append(measure(workspace, "dpo", RECIPES["dpo"]))
            recipe["reward"] = f"run:{next(row['run'] for row in rows if row['method'] == 'dpo')}"
        rows.append(measure(workspace, method, recipe))
        print(json.dumps(rows[-1]), file=sys.stderr)
    if "--json" in arguments:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        told = "  ".join(
            f"{name} {before:.3f} → {after:.3f}" for name, (before, after) in row.get("probes", {}).items()
        )
        memory = row["peak_memory_bytes"] / 2**20
        print(f"{row['method']:<7} {row['steps']:>4} steps {row['seconds']:>6.1f} s {memory:>6.0f} MiB  {told}")


if __name__ == "__main__":
    main(sys.argv[1:])
