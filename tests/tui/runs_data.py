"""Writes runs as a worker would, for the tests of the Runs screen."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from workbench.config import build_config
from workbench.pairs.pair import Pair
from workbench.pairs.store import write_pairs
from workbench.runs.checkpoints import RunProgress, mark_complete
from workbench.runs.events import Eval, Event, Finished, Phase, Sample, Started, Step, Warned, encode
from workbench.runs.folder import RunFolder, create

BEGAN = datetime(2026, 3, 14, 15, 9)
TIME = 1_773_500_000.0
LLAMA = "meta-llama/Llama-3.1-8B"


def make_run(
    root: Path, name: str, events: Sequence[Event], *, age: int = 0, log: str = "", **settings: Any
) -> RunFolder:
    """A run on the data set `name`, `age` minutes older than BEGAN."""
    config = build_config({"pairs": [name], "model": LLAMA, **settings})
    folder = create(root / "runs", config, [], {}, now=BEGAN - timedelta(minutes=age))
    append(folder, events)
    if log:
        folder.log.write_text(log)
    return folder


def append(folder: RunFolder, events: Sequence[Event]) -> None:
    with folder.events.open("a", encoding="utf-8") as file:
        file.writelines(encode(event) for event in events)


def beginning(total: int = 100) -> list[Event]:
    started = Started(
        time=TIME + 9,
        total_steps=total,
        train_pairs=450,
        holdout_pairs=50,
        dropped=0,
        truncated=37,
        identical=1,
        trainable_parameters=41_943_040,
        total_parameters=8_072_204_288,
        reference="the base model: the same weights with the adapter switched off",
        device="NVIDIA H200",
        model_revision="abc",
    )
    return [Phase(time=TIME, name="loading the model"), started, Phase(time=TIME + 10, name="training")]


def trained(root: Path, name: str, method: str, *, age: int, model: str = "tiny", **settings: Any) -> RunFolder:
    """A run that has left an adapter."""
    folder = make_run(root, name, whole_run(), age=age, model=model, method=method, **settings)
    save_adapter(folder)
    return folder


def save_adapter(folder: RunFolder) -> None:
    folder.adapter.mkdir(parents=True)
    (folder.adapter / "adapter_config.json").write_text("{}", "utf-8")
    (folder.adapter / "adapter_model.safetensors").write_bytes(b"weights")


def metrics(part: float, rng: random.Random, noise: float = 1.0) -> dict[str, float]:
    """What a healthy run logs when this part of it is done."""
    return {
        "loss": math.log(2) * math.exp(-1.9 * part) + abs(rng.gauss(0, 0.03)) * noise,
        "rewards/margins": 2.6 * (1 - math.exp(-3 * part)) + rng.gauss(0, 0.12) * noise,
        "preference_accuracy": min(1.0, 0.5 + 0.46 * (1 - math.exp(-5 * part))),
        "logps/chosen": -92.4 - 5 * part + rng.gauss(0, 2.5) * noise,
        "logps/rejected": -101.5 - 42 * (1 - math.exp(-2.2 * part)) + rng.gauss(0, 2.5) * noise,
        "grad_norm": 1.9 + rng.gauss(0, 0.3) * noise,
        "learning_rate": 5e-5 * (1 - part),
    }


def held_out(part: float, rng: random.Random) -> dict[str, float]:
    """What its evaluation on held-out pairs finds then."""
    found = metrics(part, rng, noise=0.0) | {"kl": 0.09 * part}
    return {name: value for name, value in found.items() if name not in ("grad_norm", "learning_rate")}


def pace(step: int) -> dict[str, Any]:
    """How fast the run is after so many steps of 16 pairs."""
    return {
        "seconds": step * 0.42,
        "pairs": step * 16,
        "pairs_per_second": 38.0,
        "tokens_per_second": 9100.0,
        "memory_bytes": 20 * 2**30,
    }


def training(first: int, last: int, total: int = 100) -> list[Event]:
    """The steps from `first` to `last`, with an evaluation at 0 and after every fifth of the run."""
    rng, events = random.Random(first), []
    for step in range(first, last + 1):
        part, time = step / total, TIME + 10 + step * 0.42
        if step:
            event = Step(time=time, step=step, epoch=3 * part, metrics=metrics(part, rng), **pace(step))
            events.append(event)
        if step % max(total // 5, 1) == 0:
            events.append(
                Eval(
                    time=time,
                    step=step,
                    epoch=3 * part,
                    metrics=held_out(part, rng),
                    seconds=step * 0.42,
                    pairs=step * 16,
                )
            )
    return events


def samples(*steps: int) -> list[Event]:
    """Two answers at every one of these steps."""
    return [
        Sample(
            time=TIME + step,
            step=step,
            pair=f"pair-{number}",
            prompt=prompt,
            base=f"Not our problem. {number}",
            aligned=f"I am sorry about that, at step {step}. " * 4,
            base_tokens=4,
            aligned_tokens=36,
        )
        for step in steps
        for number, prompt in enumerate(("My card was declined. Why?", "Where is my order?"))
    ]


def displaced(step: int = 40) -> Warned:
    return Warned(
        time=TIME + 10 + step * 0.42,
        step=step,
        code="displacement",
        title="Chosen is falling with rejected",
        message="Both log-probabilities fall while the margin grows: all answers become rare, the chosen ones too.",
        remedy="Lower learning_rate, or add an sft term.",
    )


def checkpoint(folder: RunFolder, step: int, *, whole: bool = True) -> None:
    """A checkpoint on disk, or one whose worker died while it wrote it."""
    path = folder.checkpoints / f"checkpoint-{step}"
    path.mkdir(parents=True)
    (path / "optimizer.pt").write_bytes(b"state")
    if whole:
        mark_complete(path, RunProgress(step, step * 0.42, step * 16, step * 4000))


def finished(step: int = 100) -> Finished:
    return Finished(time=TIME + 10 + step * 0.42, step=step, seconds=734.2, peak_memory_bytes=21 * 2**30, changed=0.998)


def whole_run(total: int = 100) -> list[Event]:
    return [*beginning(total), *training(0, total, total), finished(total)]


def make_pairs(root: Path, name: str, count: int, dropped: int = 0) -> None:
    pairs = [
        Pair(
            id=f"{name}-{index}",
            prompt=f"Question {index}?",
            chosen="I am glad to help.",
            rejected="No.",
            status="dropped" if index < dropped else "new",
        )
        for index in range(count)
    ]
    write_pairs(root / "pairs" / f"{name}.jsonl", pairs)
