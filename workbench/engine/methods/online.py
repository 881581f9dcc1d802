"""GRPO and RLOO: the model answers prompts itself, and learns from what each answer is worth beside its siblings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from datasets import Dataset
from transformers import Trainer
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

from workbench.engine.methods.reward_sources import TEMPLATE, load_reward
from workbench.engine.methods.trainer_setup import TrainerInputs
from workbench.engine.methods.trl_trainer import TrlTrainer, build_trl
from workbench.engine.model.token_ids import PairIds
from workbench.pairs.pair import template_arguments
from workbench.runs.folder import RunFolder
from workbench.runs.pair_scores import PairIdentity

HELD_OUT = 16
"""Held-out prompts that an evaluation answers: a group each, which takes as long as some steps."""


class _Online(Trainer):
    """Answers the prompts as the workbench renders them; their ids come with the rows.

    `pairs_done` counts answers. TRL's `kl` stays: it is of the policy's own answers, in nats a token.
    """

    def compute_loss(self, model: Any, inputs: dict[str, Any], *others: Any, **named: Any) -> Any:
        """The loss of a batch of scored answers."""
        self.count(inputs["completion_ids"].shape[0])
        return super().compute_loss(model, inputs, *others, **named)

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        self._prompt_ids = [list(row["prompt_ids"]) for row in inputs]
        scored: dict[str, Any] = super()._generate_and_score_completions(inputs)
        return scored

    def _tokenize_prompts(self, prompts: list[Any]) -> tuple[list[list[int]], None, dict[str, Any]]:
        assert len(prompts) == len(self._prompt_ids)
        return self._prompt_ids, None, {}

    @property
    def tokens_done(self) -> int:
        """Tokens of prompts and answers."""
        return int(self.state.num_input_tokens_seen)


class GroupTrainer(_Online, TrlTrainer, GRPOTrainer):
    """arXiv 2402.03300."""


class LeaveOneOutTrainer(_Online, TrlTrainer, RLOOTrainer):
    """arXiv 2402.14740."""


_KINDS = {"grpo": (GroupTrainer, GRPOConfig), "rloo": (LeaveOneOutTrainer, RLOOConfig)}


def build(inputs: TrainerInputs) -> GroupTrainer | LeaveOneOutTrainer:
    """See `build_trl`; prompts are those of the run's pairs. Raises `WorkbenchError` where the reward cannot be had."""
    config, prepared, folder = inputs.config, inputs.prepared, RunFolder(inputs.run)
    rows = {str(row["id"]): row for row in folder.rows()}
    reward = load_reward(config, folder.path.parent, int(inputs.tokenizer.pad_token_id))

    def named(**given: Any) -> list[float]:
        return reward(**given)

    named.__name__ = "reward"
    trainer_kind, settings_kind = _KINDS[config.method]
    part = config.batch_size // config.gradient_accumulation
    settings = {
        "per_device_eval_batch_size": config.group_size * max(1, part // config.group_size),
        "beta": config.beta,
        "num_generations": config.group_size,
        "max_completion_length": config.completion_tokens,
        "temperature": config.temperature,
    }
    held_out = prepared.holdout[:HELD_OUT], prepared.holdout_subjects[:HELD_OUT]
    trainer: GroupTrainer | LeaveOneOutTrainer = build_trl(
        trainer_kind,
        settings_kind,
        inputs,
        settings,
        order=None,
        reward_funcs=named,
        train_dataset=_prompts(prepared.train, prepared.train_subjects, rows, whole=config.step_pairs),
        eval_dataset=_prompts(*held_out, rows) if prepared.holdout else None,
    )
    return trainer


def _prompts(
    pairs: Sequence[PairIds], subjects: Sequence[PairIdentity], rows: dict[str, dict[str, Any]], *, whole: int = 1
) -> Dataset:
    """The prompts as TRL's trainers read them, in batches of `whole`.

    TRL leaves out a batch that is not full: prompts of every epoch, or all where they are fewer than a batch. So the
    first ones come once more until the last batch is full.
    """
    numbers = [number % len(pairs) for number in range(-(-len(pairs) // whole) * whole)]
    rows_of_pairs = [rows[subjects[number].id] for number in numbers]
    columns = {name: [row[name] for row in rows_of_pairs] for name in ("prompt", "chosen", "rejected")}
    # As text: Arrow would give every row the names of all, with nulls.
    given = [json.dumps(template_arguments(row)) for row in rows_of_pairs]
    ids = [pairs[number].prompt for number in numbers]
    return Dataset.from_dict({**columns, "prompt_ids": ids, TEMPLATE: given})
