"""A trainer whose pairs are shared out over processes, each pair to one of them, so that the loss is that of one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from accelerate.data_loader import prepare_data_loader
from torch import Tensor
from torch.utils.data import DataLoader

from workbench.engine.methods.checkpointed import Checkpointed
from workbench.engine.training import distributed
from workbench.engine.training.batch_order import Share, Shares
from workbench.runs.checkpoints import Progress


class Sharded(Checkpointed):
    """Goes before a trainer of TRL's whose loss is a mean over pairs; with one process it changes nothing.

    accelerate would fill the last batch of an epoch up with pairs that were seen already, and TRL asks the other
    processes for a dozen numbers a batch. Here each process takes its part of what is left, its loss weighs as much as
    its pairs do (`weight`), and metrics, tokens and what was seen of pairs are put together when they are logged.
    """

    def __init__(self, **arguments: Any) -> None:
        self.weight = 1.0
        self._shares: dict[str, Shares] = {}
        self._tokens_told = 0
        super().__init__(**arguments)
        if distributed.count() > 1:
            self.accelerator.gather = self.accelerator.gather_for_metrics = _as_it_is

    def take(self, places: Sequence[int]) -> None:
        """Takes note of a batch, the pairs at `places`, and sets its `weight`."""
        shares = self._shares.get(self._mode)
        share = shares.share(places) if shares is not None else Share(tuple(places), len(places), len(places), 1)
        self.count(share.own, share.total)
        self.weight = share.weight

    def go_on_from(self, at: Progress) -> None:
        """Counts on from a checkpoint."""
        super().go_on_from(at)
        self._tokens_told = at.tokens

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Writes down what all processes saw since the last time."""
        if self._batches[self._mode] and self._mode in self._shares:
            self._put_together()
        super().log(logs, start_time)

    def evaluation_loop(self, *arguments: Any, **named: Any) -> Any:
        """Evaluates this process's share. The loss is a metric like others, so that batches weigh as they should."""
        if distributed.count() > 1:
            self.gather_function = self._noted
        return super().evaluation_loop(*arguments, **named)

    @property
    def _mode(self) -> str:
        return "train" if self.model.training else "eval"

    def _get_dataloader(
        self,
        dataset: Any,
        description: str,
        batch_size: int,
        sampler_fn: Callable[[Any], Any] | None = None,
        is_training: bool = False,
        dataloader_key: str | None = None,
    ) -> DataLoader:
        if distributed.count() == 1:
            return super()._get_dataloader(dataset, description, batch_size, sampler_fn, is_training, dataloader_key)
        order = sampler_fn(dataset) if is_training and sampler_fn is not None else range(len(dataset))
        shares = Shares(order, batch_size, distributed.count(), distributed.rank())
        self._shares["train" if is_training else "eval"] = shares
        loader = DataLoader(
            self._remove_unused_columns(dataset, description=description),
            batch_sampler=shares,
            collate_fn=self.data_collator,
            pin_memory=self.args.dataloader_pin_memory,
        )
        # As accelerate would, but for the sharing out.
        return prepare_data_loader(
            loader, self.accelerator.device, num_processes=1, process_index=0, put_on_device=True
        )

    def _noted(self, losses: Tensor) -> Tensor:
        self._metrics["eval"]["loss"].append(losses[0].item())
        return losses

    def _put_together(self) -> None:
        metrics, sizes = self._metrics[self._mode], self._batches[self._mode]
        sums = {
            name: sum(value * size for value, size in zip(values, sizes, strict=True) if size)
            for name, values in metrics.items()
            if name != "num_tokens"
        }
        found = distributed.all_of((sums, sum(sizes), self._total_train_tokens - self._tokens_told))
        total = sum(size for _, size, _ in found)
        for name in sums:
            metrics[name] = [sum(each[name] for each, _, _ in found) / total]
        sizes[:] = [total]
        self._tokens_told += sum(tokens for _, _, tokens in found)
        self._total_train_tokens = self._tokens_told
        metrics["num_tokens"] = [self._tokens_told]


def _as_it_is(value: Any) -> Any:
    return value
