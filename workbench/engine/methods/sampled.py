"""What trainers have in common whose data sets are pairs, tokenized already."""

from __future__ import annotations

from typing import Any

from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from workbench.config import RunConfig
from workbench.engine.methods.checkpointed import Checkpointed, Watched
from workbench.engine.training import distributed
from workbench.engine.training.batch_order import LongestFirst, lengths
from workbench.engine.training.data import Prepared, to_dataset
from workbench.engine.training.watcher import Watcher


class Sampled(Checkpointed):
    """Goes before a trainer of TRL's; takes the training pairs in the order `order`."""

    def __init__(self, *, order: LongestFirst, **arguments: Any) -> None:
        self._order = order
        super().__init__(**arguments)

    def _prepare_dataset(self, dataset: Dataset, *_: Any) -> Dataset:
        """Leaves the ids as `workbench.engine.model.token_ids` made them."""
        return dataset

    def _get_train_sampler(self, *_: Any) -> LongestFirst:
        return self._order


def over_pairs(
    config: RunConfig,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prepared: Prepared,
    watcher: Watcher,
) -> dict[str, Any]:
    """Arguments of an `Sampled` trainer: all but its own settings and the adapter."""
    part = config.batch_size // config.gradient_accumulation
    return {
        "order": LongestFirst(lengths(prepared.train, config.max_length), part * distributed.count(), config.seed),
        "keep_checkpoints": config.keep_checkpoints,
        "model": model,
        "train_dataset": to_dataset(prepared.train),
        "eval_dataset": to_dataset(prepared.holdout) if prepared.holdout else None,
        "processing_class": tokenizer,
        "callbacks": [Watched(watcher)],
    }
