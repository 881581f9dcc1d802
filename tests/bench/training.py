"""Pairs a second and peak memory of DPO in NF4 on this machine's CPU: stock TRL and the workbench, in turns.

Run as `python -m tests.bench training [--only 1.3M,5.9M,SmolLM2,demo] [--sides stock,precomputed,cold,warm]
[--rounds 3] [--pairs N] [--append] [--to FOLDER]`. Everything is made from the shared hh rows and the starter sets;
where the rows are not there, only the demo is measured. Each measurement is a process of its own. What counts is
training from its first step to its last, with the reference's pre-pass where there is one, without loading and
tokenizing; pairs that were dropped for their length do not count.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.bench import machine, random_model
from tests.bench.child import run
from tests.bench.training_table import AIMS, SIDES, pace, summary, table
from workbench.config import RunConfig, build_config
from workbench.demo import weights
from workbench.demo.embedded import PAIRS as DEMO_PAIRS
from workbench.demo.embedded import PRESET as DEMO_PRESET
from workbench.demo.embedded import prepare as prepare_demo
from workbench.launch import take_rows
from workbench.models import resolve
from workbench.pairs.importers import import_rows
from workbench.pairs.pair import to_row
from workbench.pairs.readers import read_rows
from workbench.runs.events import EventReader, Finished, Phase, Step
from workbench.runs.folder import RunFolder, create, to_line
from workbench.runs.user_state import STATE

HH = Path("../shared/data/hh-rlhf/harmless-base-1500.jsonl.gz")
_STOCK = Path(__file__).with_name("stock_trl.py")
PAIRS = 500
REAL_PAIRS = 64
"""Of a model of 135 million parameters: stock TRL takes minutes for so many."""
_BEFORE = ("starting", "loading the model", "tokenizing the pairs")
_NEVER = 10**6
_TRL_COLUMNS = ("prompt", "chosen", "rejected")


@dataclass(frozen=True, slots=True)
class Case:
    """A model and the rows that it trains on: `about` says what they are."""

    name: str
    about: str
    config: RunConfig
    rows: list[dict[str, Any]]


def measure(case: Case, sides: Sequence[str], folder: Path) -> list[dict[str, Any]]:
    """One round: a measurement a side, in the order of `SIDES`, all in a new workspace under `folder`."""
    path = folder / "rows.jsonl"
    path.write_bytes(b"".join(map(to_line, [{side: row[side] for side in _TRL_COLUMNS} for row in case.rows])))
    found = []
    for side in SIDES:
        if side in sides or (side == "cold" and "warm" in sides):
            load = os.getloadavg()[0]  # What others did with the machine just before.
            took = _stock(case, path, folder, side) if side in ("stock", "precomputed") else _ours(case, folder, side)
            if side in sides:
                found.append({"side": side, "load": load, **took})
                print(f"{case.name}: {SIDES[side]}: {pace(took):.2f} pairs/s", file=sys.stderr)
    return found


def _stock(case: Case, rows: Path, folder: Path, side: str) -> dict[str, Any]:
    config = case.config
    arguments: dict[str, Any] = {
        "per_device_train_batch_size": config.batch_size,
        "max_length": config.max_length,
        "beta": config.beta,
        "loss_type": config.loss_type,
        "loss_weights": config.loss_weights or None,
        "learning_rate": config.learning_rate,
        "num_train_epochs": config.epochs,
        "seed": config.seed,
        "precompute_ref_log_probs": side == "precomputed",
    }
    asked = {"rows": str(rows), "model": resolve(config.model), "config": arguments}
    with tempfile.TemporaryDirectory(dir=folder) as cache:  # Or it would find the pre-pass of the round before.
        done = run([str(_STOCK), json.dumps(asked)], {"HF_DATASETS_CACHE": cache}, worker=False)
    told = json.loads(done.output.splitlines()[-1])
    return {**told, "whole_seconds": done.seconds, "peak_bytes": done.peak_bytes}


def _ours(case: Case, folder: Path, side: str) -> dict[str, Any]:
    """The worker as every run starts it, with its events and scores; no evaluation and no checkpoint but the last."""
    beta = case.config.beta * (2 if side == "warm" else 1)  # The cache holds whatever the loss.
    config = case.config.model_copy(update={"holdout": 0.0, "save_steps": _NEVER, "beta": beta})
    os.environ.setdefault(STATE, str(folder / "state"))  # The key in it signs the run, and its worker looks for that.
    made = create(folder / "runs", config, map(to_line, case.rows), {})
    watched = _Watched(made)
    done = run(["-m", "workbench.engine.train", str(made.path)], {}, watched)
    state, events = made.state(), list(EventReader(made.events).read())
    if not isinstance(state.end, Finished):
        raise SystemExit(f"the run did not finish: {state.end}")
    assert state.started is not None
    begun = next(each.time for each in events if isinstance(each, Phase) and not each.name.startswith(_BEFORE))
    training = next(each.time for each in events if isinstance(each, Phase) and each.name == "training")
    return {
        "seconds": state.steps[-1].time - training,
        "reference_seconds": training - begun,
        "pairs": state.steps[-1].pairs,
        "loss": state.steps[-1].metrics["loss"],
        "path": state.started.path,
        "processor_seconds": watched.ended - watched.began,
        "whole_seconds": done.seconds,
        "peak_bytes": done.peak_bytes,
    }


class _Watched:
    """What the worker's processor time was when training began, and when its last step was told."""

    def __init__(self, run: RunFolder) -> None:
        self._events = EventReader(run.events)
        self.began = self.ended = 0.0

    def __call__(self, process: psutil.Process) -> None:
        """Looks at what the worker has told since."""
        for event in self._events.read():
            spent = process.cpu_times()
            if isinstance(event, Phase) and event.name == "training":
                self.began = spent.user + spent.system
            elif isinstance(event, Step):
                self.ended = spent.user + spent.system


def cases(names: Sequence[str], pairs: int | None, folder: Path) -> list[Case]:
    """The cases asked for, with their models made under `folder`; those that need the hh rows only where these are."""
    found = []
    hh = import_rows(read_rows(HH)).pairs if HH.is_file() else []
    if not hh:
        print(f"{HH} is not here: only the demo is measured.", file=sys.stderr)
    rows = [to_row(pair) | {"split": "train"} for pair in hh]
    for name in names:
        if name == "demo":
            found.append(_demo(pairs, folder / "demo"))
        elif hh and name == "SmolLM2":
            values = {"pairs": ["hh"], "model": weights.find(name), "batch_size": 4, "max_length": 512}
            found.append(Case(name, "SmolLM2-135M-Instruct", build_config(values), rows[: pairs or REAL_PAIRS]))
        elif hh:
            model = folder / name
            fitted = folder / "hh.jsonl"
            fitted.write_bytes(b"".join(map(to_line, rows)))
            asked = json.dumps(random_model.SHAPES[name])
            done = run(["-m", "tests.bench.random_model", str(fitted), str(model), asked])
            parameters = json.loads(done.output.splitlines()[-1])["parameters"]
            values = {"pairs": ["hh"], "model": str(model), "batch_size": 8, "max_length": 512}
            about = (
                f"random Llama of {parameters / 1e6:.1f} M parameters, {random_model.VOCABULARY:,} tokens fitted to hh"
            )
            found.append(Case(name, about, build_config(values), rows[: pairs or PAIRS]))
    return found


def _demo(pairs: int | None, folder: Path) -> Case:
    config = build_config({"pairs": list(DEMO_PAIRS)}, preset=DEMO_PRESET)
    rows = [json.loads(line) for line in take_rows(prepare_demo(folder), config).lines()]
    rows = [row for row in rows if row["split"] == "train"][:pairs]
    return Case("demo", "the embedded model on the demo's pairs, preset demo", config, rows)


def main(given: Sequence[str]) -> int:
    """Measures, writes results after every round, and prints the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench training", description=__doc__)
    parser.add_argument("--only", default=",".join(AIMS))
    parser.add_argument("--sides", default=",".join(SIDES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pairs", type=int, help=f"at most so many; {PAIRS} of hh, {REAL_PAIRS} for SmolLM2")
    parser.add_argument("--append", action="store_true", help="add to what the results have, for medians of all")
    parser.add_argument("--to", type=Path, default=machine.RESULTS)
    asked = parser.parse_args(given)
    before = machine.read("training", asked.to) if asked.append else {}
    found = {"machine": machine.machine(), "cases": before.get("cases", {})}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = cases(asked.only.split(","), asked.pairs, folder)
        for case in made:
            earlier = found["cases"].get(case.name, {}).get("measurements", [])
            found["cases"][case.name] = {**_described(case, folder), "measurements": earlier}
        for number in range(asked.rounds):
            for case in made:
                with tempfile.TemporaryDirectory(dir=folder) as workspace:
                    took = measure(case, asked.sides.split(","), Path(workspace))
                found["cases"][case.name]["measurements"] += took
                machine.save("training", {**found, "summary": summary(found)}, table(found), asked.to)
                print(f"{case.name}: round {number + 1} of {asked.rounds} is done", file=sys.stderr)
    print(table(found))
    return 0


def _described(case: Case, folder: Path) -> dict[str, Any]:
    path = folder / f"{case.name}.jsonl"
    path.write_bytes(b"".join(map(to_line, case.rows)))
    config = case.config
    limits = (str(config.max_length), str(config.batch_size))
    counted = run(["-m", "tests.bench.tokens", str(path), config.model, *limits])
    return {
        "about": case.about,
        "batch": config.batch_size,
        "max_length": config.max_length,
        "tokens": json.loads(counted.output.splitlines()[-1]),
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
