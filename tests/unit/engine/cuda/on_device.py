"""What a run does on a CUDA device, on one that is pretended: devices and types of tensors, and no numbers.

Run as `python -m tests.unit.engine.cuda.on_device 'JSON'` in the environment that `pretended.environment` makes, with a
list of cases {"what": a name of `WHAT`, "model": one of `MODELS`, "mistake": a name of `MISTAKES` or nothing}; prints a
JSON document a case: {"seen": what it returned} or {"error": its message}.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv
from transformers.integrations import flex_attention as flex

from tests.unit.engine.cuda import fake_step
from workbench.config import build_config
from workbench.engine.fast import loop, proof
from workbench.engine.fast.forward import RowLayout
from workbench.engine.fast.pair_rows import PairRows
from workbench.engine.methods import pairwise
from workbench.engine.methods.trainer_setup import TrainerInputs, with_adapter
from workbench.engine.model.downloads import load_tokenizer
from workbench.engine.model.inference import next_logprobs, sample, score_batches
from workbench.engine.model.token_ids import PairIds
from workbench.engine.training.data import Prepared
from workbench.engine.training.instruments import Divergence, Movement
from workbench.engine.training.trackers import Trackers
from workbench.engine.training.watcher import Watcher

DEVICE = torch.device("cuda:0")
_TOKENIZER = load_tokenizer("tiny")  # Outside, as it reads files.
PAIRS = [PairIds([1] * 120, [2] * 40, [3] * (30 + 10 * number)) for number in range(4)]


def step(inputs: TrainerInputs) -> list[str]:
    """The reference, the loss and its backward, the optimizer, the metrics and an evaluation, as the loop does them."""
    with DEVICE:
        model = with_adapter(inputs)
    training = loop.PairLoop(replace(inputs, model=model), RowLayout.FLEX, "", Trackers(None, model, None))
    model.train()
    batch = training.batch("train", range(len(PAIRS)))
    training.forward_backward(batch)
    gradients = [_kind(each.grad) for each in training._parameters]
    training.measure(batch, len(PAIRS), training=True)
    training._update()
    training.evaluate()
    moved = Movement(model)
    moved.of_all()
    states = training._optimizer.state.values()
    return sorted({*gradients, _kind(batch.sums), *(_kind(each["exp_avg"]) for each in states)})


def trial(inputs: TrainerInputs) -> list[str]:
    """The trial itself, which takes the first layout as what is read from the device is 0; then each of the others."""
    base, some, seen = inputs.model, PAIRS[:2], list[Tensor]()
    before = base.config._attn_implementation
    layout, slower_because = proof.suited(base, some)
    if (layout, slower_because) != (RowLayout.FLEX, ""):
        raise ValueError(slower_because)
    with proof._as_in_training(base):
        for layout in proof.candidates(base, []):
            results = proof.shared(base, some, layout)
            seen += [results.logps, results.gradients]
            base.set_attn_implementation(before)
    return sorted(set(map(_kind, seen)))


def plain(inputs: TrainerInputs) -> list[str]:
    """A step of stock TRL, to which a run falls back."""
    changes = {"fast": False, "max_steps": 1, "checkpointing": "all"}
    inputs = replace(inputs, config=inputs.config.model_copy(update=changes), tokenizer=_TOKENIZER)
    with DEVICE:
        trainer: Any = pairwise.build(inputs)
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1
    loss = trainer.training_step(trainer.model, trainer.data_collator([trainer.train_dataset[0]]))
    gradients = (each.grad for each in trainer.model.parameters() if each.requires_grad)
    return sorted({_kind(loss), *map(_kind, gradients)})


def ask(inputs: TrainerInputs) -> list[str]:
    """What the scorer and evaluations ask: log-probabilities of responses and next tokens, samples, the divergence."""
    with DEVICE:
        model = with_adapter(inputs)
    rows = [(pair.prompt, pair.rejected) for pair in PAIRS]
    seen = score_batches(model, rows)
    seen.append(next_logprobs(model, [pair.prompt for pair in PAIRS], [5, 6]))
    prompts, stop = [pair.prompt for pair in PAIRS[:2]], frozenset({9})
    for temperature in (0.0, 1.0):
        drawn = sample(model, prompts, stop=stop, max_new_tokens=3, temperature=temperature, seed=0)
        if len(list(drawn)) != 3:
            raise ValueError("samples ended early")
    Divergence(PAIRS, 1024)(model)
    return sorted(set(map(_kind, seen)))


WHAT: Mapping[str, Callable[[TrainerInputs], list[str]]] = {"step": step, "trial": trial, "plain": plain, "ask": ask}


def _targets_left(rows: PairRows, device: torch.device) -> PairRows:
    return replace(_MOVED(rows, device), targets=rows.targets)


def _queries_in_float32(query: Tensor, key: Tensor, value: Tensor, **others: Any) -> Any:
    return fake_step._flex(query.float(), key, value, **others)


_MOVED = PairRows.to
MISTAKES: Mapping[str, Callable[[], AbstractContextManager[Any]]] = {
    "targets on the CPU": lambda: patch.object(PairRows, "to", _targets_left),
    "queries in float32": lambda: patch.object(flex, "compile_friendly_flex_attention", _queries_in_float32),
}
"""Planted, to see that they are found."""


def _kind(tensor: Tensor | None) -> str:
    return "none" if tensor is None else f"{tensor.dtype} {tensor.device}"


def seen(case: Mapping[str, str]) -> list[str]:
    """The types and devices of all that the case gives."""
    config = build_config({"pairs": ["x"], "batch_size": len(PAIRS), "checkpointing": "half"})
    mistake = MISTAKES[case["mistake"]]() if "mistake" in case else nullcontext()
    prepared = Prepared(PAIRS, PAIRS[:2], 0, 0, 0, [])
    with (
        tempfile.TemporaryDirectory() as run,
        fake_step.as_on_cuda(DEVICE),
        FakeTensorMode(allow_non_fake_inputs=True, shape_env=ShapeEnv(), static_shapes=True),
        mistake,
    ):
        model = fake_step.model_of(case["model"], 2, DEVICE)
        return WHAT[case["what"]](TrainerInputs(config, model, None, prepared, Path(run) / "checkpoints", Watcher()))


def main(cases: Sequence[Mapping[str, str]]) -> None:
    """Prints what each case gives."""
    fake_step.prepare()
    for case in cases:
        try:
            found: dict[str, Any] = {"seen": seen(case)}
        except Exception as error:
            found = {"error": f"{type(error).__name__}: {error}"}
            if "mistake" not in case:
                raise
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
