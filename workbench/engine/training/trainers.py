"""The methods as the worker sees them: which model they load, which trainer trains it, and what can be measured."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from workbench.config import RunConfig
from workbench.engine.fast.loop import PairLoop
from workbench.engine.methods import kto, online, pairwise, reward
from workbench.engine.methods.checkpointed import Checkpointed
from workbench.engine.model.loading import attach_adapter, load_base, load_reward_base
from workbench.runs.folder import RunFolder

BASE = "the base model: the same weights with the adapter switched off"
NONE = "none: the method has no reference"

Training = PairLoop | Checkpointed
"""What trains a run: the loop of the fast path, or a trainer of TRL's."""


@dataclass(frozen=True, slots=True)
class Kind:
    """`build` takes config, model, tokenizer, `Prepared`, the folder of checkpoints and a `Watcher`.

    `reference` is what the run is held against, in words. `answers`: the trained model answers, so that its answers and
    its distance from the base can be shown. `pairs`: its loss sees both responses of a pair at once.
    """

    build: Callable[..., Training]
    load: Callable[[RunConfig], Any]
    reference: str = BASE
    answers: bool = True
    pairs: bool = True


def _causal(config: RunConfig) -> Any:
    return load_base(config.model, config.quantization, config.attention)


def _scoring(config: RunConfig) -> Any:
    return load_reward_base(config.model, config.quantization, config.attention)


KINDS: Mapping[str, Kind] = {
    "dpo": Kind(pairwise.build, _causal),
    "simpo": Kind(pairwise.build, _causal, NONE),
    "orpo": Kind(pairwise.build, _causal, NONE),
    "kto": Kind(kto.build, _causal),
    "grpo": Kind(online.build, _causal, pairs=False),
    "rloo": Kind(online.build, _causal, pairs=False),
    "reward": Kind(reward.build, _scoring, NONE, answers=False, pairs=False),
}


def reference(config: RunConfig) -> str:
    """What the run is held against, in words."""
    kind = KINDS[config.method]
    if config.adapter and kind.reference == BASE:
        return f"the adapter of {config.adapter}, frozen, on the base model"
    return kind.reference


def load(config: RunConfig, folder: RunFolder) -> Any:
    """The model that the config's method trains, with the adapter that it goes on from. Raises `WorkbenchError`."""
    model = KINDS[config.method].load(config)
    return attach_adapter(model, folder.start, "default", trains=True) if config.adapter else model


def build_trainer(config: RunConfig, *arguments: Any) -> Training:
    """The trainer of the config's method; see `Kind.build`. Raises `WorkbenchError` where the settings do not fit."""
    return KINDS[config.method].build(config, *arguments)


def first_loss(config: RunConfig) -> float | None:
    """The loss while model and reference are the same, before the first update; None: the data decides."""
    if config.method == "kto":
        return (config.desirable_weight + config.undesirable_weight) / 4
    if config.method != "dpo" or config.loss_type != ["sigmoid"]:
        return None
    return math.log(2) * (config.loss_weights[0] if config.loss_weights else 1.0)
