"""The methods as the worker sees them: which model they load, which trainer trains it, and what can be measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from workbench.config import RunConfig
from workbench.engine.fast.loop import PairLoop
from workbench.engine.methods import kto, online, pairwise, reward
from workbench.engine.methods.trainer_setup import TrainerInputs
from workbench.engine.methods.trl_trainer import TrlTrainer
from workbench.engine.model.loading import attach_adapter, load_base, load_reward_base
from workbench.engine.training import distributed
from workbench.engine.training.data import Prepared
from workbench.engine.training.watcher import Watcher
from workbench.errors import WorkbenchError
from workbench.runs.folder import RunFolder

Training = PairLoop | TrlTrainer
"""What trains a run: the loop of the fast path, or a trainer of TRL's."""

BUILDERS: Mapping[str, Callable[[TrainerInputs], Training]] = {
    "dpo": pairwise.build,
    "simpo": pairwise.build,
    "orpo": pairwise.build,
    "kto": kto.build,
    "grpo": online.build,
    "rloo": online.build,
    "reward": reward.build,
}
"""By method, what makes its trainer."""


def reference(config: RunConfig) -> str:
    """What the run is held against, in words."""
    if not config.facts.reference:
        return "none: the method has no reference"
    if config.adapter:
        return f"the adapter of {config.adapter}, frozen, on the base model"
    return "the base model: the same weights with the adapter switched off"


def load(config: RunConfig, folder: RunFolder) -> Any:
    """The model that the config's method trains, with the adapter that it goes on from. Raises `WorkbenchError`."""
    model = load_untrained(config)
    return attach_adapter(model, folder.start, "default", trains=True) if config.adapter else model


def load_untrained(config: RunConfig) -> Any:
    """The base that the config's method trains. Raises `WorkbenchError`."""
    load_model = load_base if config.facts.answers else load_reward_base
    return load_model(config.model, config.quantization, config.attention, trust=config.trust)


def build_trainer(
    config: RunConfig,
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    prepared: Prepared,
    checkpoints: Path,
    watcher: Watcher | None = None,
) -> Training:
    """The trainer of the config's method; see `TrainerInputs`.

    Raises `WorkbenchError` where the settings do not fit the model, or how its processes share it.
    """
    if config.optimizer != "adamw" and (by := distributed.sharded_by()):
        raise WorkbenchError(
            "These settings do not fit the launcher",
            f"{by} shares the optimizer's states out over the processes, and bitsandbytes cannot part those of 8 bits.",
            "Take optimizer=adamw, of which each process holds a part as it is.",
            fields={"optimizer": f"adamw_8bit does not train under {by}"},
        )
    return BUILDERS[config.method](TrainerInputs(config, model, tokenizer, prepared, checkpoints, watcher or Watcher()))
