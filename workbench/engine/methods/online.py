"""GRPO and RLOO: the model answers prompts itself, and learns from what each answer is worth beside its siblings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PrinterCallback
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

from workbench.config import RunConfig
from workbench.engine.methods.checkpointed import Checkpointed, Watched
from workbench.engine.methods.reward_sources import load_reward
from workbench.engine.methods.trainer_setup import arguments, lora, settle_adapter, told_as_settings
from workbench.engine.model.token_ids import PairIds
from workbench.engine.training.data import PLACE, Prepared
from workbench.engine.training.watcher import NOBODY, Watcher
from workbench.runs.folder import RunFolder
from workbench.runs.pair_scores import Subject

HELD_OUT = 16
"""Held-out prompts that an evaluation answers: a group each, which takes as long as some steps."""

_COLUMNS = ("prompt", "chosen", "rejected", "prompt_ids", PLACE)


class _Online(Checkpointed):
    """Answers the prompts as the workbench renders them; their ids come with the rows.

    `pairs_done` counts answers. TRL's `kl` stays: it is of the policy's own answers, in nats a token.
    """

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """The loss of a batch of scored answers."""
        self.count(inputs["completion_ids"].shape[0])
        return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        self._asked = [row["prompt_ids"] for row in inputs]
        scored: dict[str, Any] = super()._generate_and_score_completions(inputs)
        return scored

    def _tokenize_prompts(self, prompts: list[Any]) -> tuple[list[list[int]], None, dict[str, Any]]:
        assert len(prompts) == len(self._asked)
        return [list(ids) for ids in self._asked], None, {}

    def _set_signature_columns_if_needed(self) -> None:
        self._signature_columns = list(_COLUMNS)

    @property
    def tokens_done(self) -> int:
        """Tokens of prompts and answers."""
        return int(self.state.num_input_tokens_seen)


class GroupTrainer(_Online, GRPOTrainer):
    """arXiv 2402.03300."""


class LeaveOneOutTrainer(_Online, RLOOTrainer):
    """arXiv 2402.14740."""


_KINDS = {"grpo": (GroupTrainer, GRPOConfig), "rloo": (LeaveOneOutTrainer, RLOOConfig)}


def build(
    config: RunConfig,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prepared: Prepared,
    checkpoints: Path,
    watcher: Watcher = NOBODY,
) -> _Online:
    """The trainer, with a fresh adapter on `model`; prompts are those of the run's pairs.

    Raises `WorkbenchError` where the settings do not fit the model or the reward cannot be had.
    """
    folder, evaluates = RunFolder(checkpoints.parent), bool(prepared.holdout)
    rows = {str(row["id"]): row for row in folder.rows()}
    reward = load_reward(config, folder.path.parent, int(tokenizer.pad_token_id))

    def named(**given: Any) -> list[float]:
        return reward(**given)

    named.__name__ = "reward"
    trainer_kind, config_kind = _KINDS[config.method]
    part = config.batch_size // config.gradient_accumulation
    given = arguments(config, len(prepared.train), model.device, checkpoints, evaluates=evaluates)
    given["per_device_eval_batch_size"] = config.group_size * max(1, part // config.group_size)
    with told_as_settings():
        trainer: Any = trainer_kind(
            keep_checkpoints=config.keep_checkpoints,
            model=model,
            args=config_kind(
                **given,
                beta=config.beta,
                num_generations=config.group_size,
                max_completion_length=config.completion_tokens,
                temperature=config.temperature,
            ),
            reward_funcs=named,
            train_dataset=_prompts(prepared.train, prepared.train_subjects, rows),
            eval_dataset=_prompts(prepared.holdout[:HELD_OUT], prepared.holdout_subjects[:HELD_OUT], rows)
            if evaluates
            else None,
            processing_class=tokenizer,
            peft_config=lora(config),
            callbacks=[Watched(watcher)],
        )
    trainer.remove_callback(PrinterCallback)
    settle_adapter(trainer.model, config, folder.path)
    assert isinstance(trainer, _Online)
    return trainer


def _prompts(pairs: Sequence[PairIds], subjects: Sequence[Subject], rows: dict[str, dict[str, Any]]) -> Dataset:
    found = [rows[subject.id] for subject in subjects]
    return Dataset.from_dict(
        {
            **{column: [row[column] for row in found] for column in ("prompt", "chosen", "rejected")},
            "prompt_ids": [pair.prompt for pair in pairs],
            PLACE: list(range(len(pairs))),
        }
    )
