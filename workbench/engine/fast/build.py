"""Chooses between the fast path and TRL's own, once a model and its pairs are there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback

from workbench.config import RunConfig
from workbench.engine.fast.forward import Layout, UnsuitableError, suited
from workbench.engine.fast.objective import Objective
from workbench.engine.fast.rows import cut
from workbench.engine.fast.trainer import FastTrainer
from workbench.engine.methods.dpo import PairTrainer, build_trainer
from workbench.engine.model.token_ids import PairIds
from workbench.engine.training import distributed
from workbench.engine.training.batch_order import lengths
from workbench.engine.training.data import Prepared

_PROBED = 2
"""Pairs that a model is tried with: the longest ones."""


def build(
    plain: Callable[..., PairTrainer],
    config: RunConfig,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prepared: Prepared,
    checkpoints: Path,
    callbacks: Sequence[TrainerCallback] = (),
) -> PairTrainer:
    """The fast trainer; or what `plain` builds, where the config wants that or the model cannot do better.

    The plain one has the reason in its `slow`. Raises `WorkbenchError` where the settings do not fit the model.
    """
    arguments = (model, tokenizer, prepared, checkpoints, callbacks)
    if not config.fast:
        return plain(config, *arguments)
    if by := distributed.shared_out():
        # Every forward gathers weights from all processes, so all have to make as many: here that goes by lengths.
        return _slow(plain(config, *arguments), f"{by} shares the model out over the processes")
    # Processes that came to different answers would wait for each other for ever.
    layout, why = distributed.made_by_first(lambda: _layout(model, _longest(prepared, config.max_length)))
    if layout is None:
        return _slow(plain(config, *arguments), why)
    # One batch of the trainer's is a whole step: how it is cut is decided where all its pairs are known.
    whole = config.model_copy(update={"gradient_accumulation": 1})
    most = config.batch_size // config.gradient_accumulation
    return build_trainer(whole, *arguments, kind=FastTrainer, layout=layout, objective=Objective.of(config), most=most)


def _layout(model: PreTrainedModel, pairs: Sequence[PairIds]) -> tuple[Layout | None, str]:
    """The layout that suits, or None and why there is none."""
    try:
        return suited(model, pairs), ""
    except UnsuitableError as error:
        return None, str(error)


def _slow(trainer: PairTrainer, why: str) -> PairTrainer:
    trainer.slow = why
    return trainer


def _longest(prepared: Prepared, max_length: int) -> list[PairIds]:
    pairs, sizes = prepared.train, lengths(prepared.train, max_length)
    places = sorted(range(len(sizes)), key=lambda place: -sizes[place])[:_PROBED]
    return [cut(pairs[place], max_length) for place in places]
