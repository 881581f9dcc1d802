"""Pairs per second of a stock TRL script and of the workbench's worker: same model, same pairs, same machine, in turns.

Run as `python -m tests.bench.training [ROUNDS] [MODEL]`.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from workbench.config import build_config
from workbench.models import resolve
from workbench.pairs.importers import import_rows
from workbench.pairs.pair import to_row
from workbench.pairs.readers import read_rows
from workbench.runs.events import Finished
from workbench.runs.folder import create
from workbench.runs.process import ENVIRONMENT

SOURCE = Path("../shared/data/hh-rlhf/harmless-base-1500.jsonl.gz")
PAIRS, BATCH = 200, 8
STOCK = Path(__file__).with_name("stock_trl.py")
_SIDES = ("prompt", "chosen", "rejected")


def main(rounds: int = 3, model: str = "tiny") -> None:
    """Prints a table; asserts nothing about seconds."""
    if not SOURCE.is_file():
        print(f"Training: skipped, {SOURCE} is not here.")
        return
    pairs = import_rows(read_rows(SOURCE)).pairs[:PAIRS]
    rows = [to_row(pair) | {"split": "train"} for pair in pairs]
    found: dict[str, list[tuple[float, float]]] = {"stock TRL": [], "workbench": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "rows.jsonl"
        path.write_text("".join(json.dumps({side: row[side] for side in _SIDES}) + "\n" for row in rows))
        sides: dict[str, Callable[[], tuple[float, float]]] = {
            "stock TRL": lambda: _stock(path, model),
            "workbench": lambda: _workbench(folder, rows, model),
        }
        for number in range(rounds):
            for side in sorted(sides, reverse=bool(number % 2)):
                found[side].append(sides[side]())
                print(f"round {number + 1}: {side} {found[side][-1][0]:.2f} pairs/s", file=sys.stderr)
    print(f"Training: {len(rows)} pairs of hh, {model}, NF4, LoRA r 16, batch {BATCH}, one epoch, median of {rounds}")
    print(f"{'':12}{'pairs/s':>10}{'best':>10}{'whole process':>16}")
    for side, results in found.items():
        speeds, wholes = [speed for speed, _ in results], [whole for _, whole in results]
        print(f"{side:12}{statistics.median(speeds):10.2f}{max(speeds):10.2f}{statistics.median(wholes):14.1f} s")


def _stock(path: Path, model: str) -> tuple[float, float]:
    seconds, output = _timed([sys.executable, str(STOCK), str(path), resolve(model), str(BATCH)])
    result = json.loads(output.splitlines()[-1])
    return result["pairs"] / result["seconds"], seconds


def _workbench(folder: Path, rows: list[dict[str, Any]], model: str) -> tuple[float, float]:
    config = build_config({"pairs": ["hh"], "model": model, "batch_size": BATCH, "holdout": 0.0})
    run = create(folder / "runs", config, rows, {})
    seconds, _ = _timed([sys.executable, "-m", "workbench.engine.train", str(run.path)])
    state = run.state()
    assert isinstance(state.end, Finished)
    assert state.started is not None
    # All the time between the first step and the last event of training counts, not the steps alone.
    begun = next(line for line in map(json.loads, run.events.open()) if line.get("name") == "training")["time"]
    return state.started.train_pairs / (state.steps[-1].time - begun), seconds


def _timed(command: list[str]) -> tuple[float, str]:
    """Seconds of a whole process, and its output. Both sides get the environment that the worker is started with."""
    began = time.perf_counter()
    environment = {**ENVIRONMENT, **os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return time.perf_counter() - began, done.stdout


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]), *sys.argv[2:])
