"""A trainer whose steps go through the fast forward: TRL's losses and metrics, without TRL's padding and repetition."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from trl.trainer.utils import use_adapter

from workbench.engine.fast.forward import Layout, PairForward, PairOutputs
from workbench.engine.fast.lanes import Lanes
from workbench.engine.fast.lora import adapted, adapters_off, fuse
from workbench.engine.fast.micro import even_batches, micro_batches
from workbench.engine.fast.objective import Objective
from workbench.engine.fast.reference import References
from workbench.engine.fast.rows import cut, parts
from workbench.engine.fast.step import Step
from workbench.engine.methods.dpo import PairTrainer
from workbench.engine.model.adapter_modes import REFERENCE
from workbench.engine.model.token_ids import PairIds
from workbench.engine.scoring.score_cache import ScoreCache
from workbench.engine.training import distributed
from workbench.engine.training.data import PLACE
from workbench.engine.training.score_recorder import Seen
from workbench.runs.activation_memory import TOKEN_BUDGET

_PAIRS = "pairs"


class FastTrainer(PairTrainer):
    """One optimizer step takes a batch of pairs as its argument asks, in micro-batches of `most` pairs at most.

    The loss of a step is the mean over its pairs. What TRL averages over the tokens of a micro-batch is averaged over
    those of the step.
    """

    def __init__(self, *, layout: Layout, objective: Objective, most: int, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._objective, self._most = objective, most
        self._forward = PairForward(self.model, layout)
        # Walking through all modules takes longer than some operations of a small model.
        self._parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self._adapted = adapted(self.model)
        if self.model.device.type == "cpu":
            decoder = self._forward.decoder
            fuse(self.model, decoder.projections if decoder is not None else ())
        # Gradients that processes share go through the wrapped model's own backward.
        alone = self._forward.decoder is not None and distributed.count() == 1
        self._lanes = Lanes(most) if alone and torch.get_num_threads() > 1 and most > 1 else None
        self.layout = layout
        self.data_collator = _collated
        self._max_length = int(self.args.max_length)
        self.remember(ScoreCache(None), "")

    def remember(self, cache: ScoreCache, version: str) -> None:
        """Keeps the reference's log-probabilities in `cache`; see `References` for the version."""
        version = f"{version} {self.layout}" if version else ""
        self._cache = cache
        counts = {"train": len(self.train_dataset), "eval": len(self.eval_dataset or [])}
        self.references = {
            mode: References(self._compute_references, count, cache, version) for mode, count in counts.items()
        }

    @property
    def keeps_reference(self) -> bool:
        """Whether there is a reference, whose log-probabilities of each pair are computed once."""
        return self._objective.needs_reference

    def close(self) -> None:
        """Keeps what was computed of the reference, and lets go of the cache."""
        self._keep_references()
        self._cache.close()

    def _keep_references(self) -> None:
        for each in self.references.values():
            each.keep()

    def _save_rng_state(self, output_dir: str) -> None:
        super()._save_rng_state(output_dir)
        known = {mode: each.known for mode, each in self.references.items()}
        torch.save(known, Path(output_dir) / _references())
        self._keep_references()

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: torch.nn.Module | None = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        path = Path(resume_from_checkpoint) / _references()
        if path.is_file():
            for mode, known in torch.load(path).items():
                self.references[mode].known = known

    def training_step(self, model: torch.nn.Module, inputs: dict[str, Any], *_: Any, **__: Any) -> Tensor:
        """Forward and backward of all pairs of an optimizer step; its loss, without gradient."""
        # Walking through all modules takes long. A layer of the base tells: that was loaded to be asked, not trained.
        if not self._adapted[0].get_base_layer().training:
            model.train()
        step = self._step(inputs)
        loss_gradient = self._loss_gradient(model, step) if self._objective.across and len(step.micro) > 1 else None

        def loss_of(indices: Sequence[int], outputs: PairOutputs) -> Tensor:
            if loss_gradient is not None:
                return (loss_gradient[:, indices] * outputs.sums).sum()
            return self._objective.losses(step.logps(outputs.sums, indices)).sum() / len(step.pairs)

        if self._lanes is not None:
            self._side_by_side(self._lanes, step, loss_of)
        else:
            for indices in step.micro:
                with nullcontext() if indices is step.micro[-1] else self.accelerator.no_sync(model):
                    outputs = self._run(model, step, indices)
                    step.note(indices, outputs)
                    self.accelerator.backward(loss_of(indices, outputs) * self.weight)
        return self._told(step, inputs[PLACE]) * self.weight

    def _side_by_side(self, lanes: Lanes, step: Step, loss_of: Callable[[Sequence[int], PairOutputs], Tensor]) -> None:
        def work(indices: Sequence[int]) -> tuple[PairOutputs, Sequence[Tensor]]:
            outputs = self._run(self.model, step, indices)
            return outputs, torch.autograd.grad(loss_of(indices, outputs), self._parameters)

        for indices, (outputs, gradients) in zip(step.micro, lanes.map(work, step.micro), strict=True):
            step.note(indices, outputs)
            for parameter, gradient in zip(self._parameters, gradients, strict=True):
                parameter.grad = gradient if parameter.grad is None else parameter.grad.add_(gradient)

    def prediction_step(self, model: torch.nn.Module, inputs: dict[str, Any], *_: Any, **__: Any) -> Any:
        """The loss of a batch of held-out pairs."""
        step = self._step(inputs)
        with torch.no_grad():
            for indices in step.micro:
                step.note(indices, self._run(model, step, indices))
        return self._told(step, inputs[PLACE]), None, None

    def floating_point_ops(self, inputs: Any) -> int:  # noqa: ARG002 - its signature is transformers'
        """Not counted: transformers' guess knows nothing of shared rows."""
        return 0

    def _step(self, inputs: dict[str, Any]) -> Step:
        pairs = [cut(pair, self._max_length) for pair in inputs[_PAIRS]]
        device = self.model.device
        reference = None
        if self._objective.needs_reference:
            known = self.references["train" if self.model.training else "eval"]
            reference = known(inputs[PLACE].tolist(), pairs).to(device)
        self.take(inputs[PLACE].tolist())
        return Step(pairs, self._micro(pairs), reference, device)

    def _micro(self, pairs: Sequence[PairIds]) -> list[list[int]]:
        rows, budget = [parts(pair) for pair in pairs], TOKEN_BUDGET[self.model.device.type]
        if self._lanes is not None:
            return even_batches(rows, self._lanes.count, self._most, budget)
        return micro_batches([row.total for row in rows], self._most, budget, padded=self.layout is Layout.LINES)

    def _run(self, model: torch.nn.Module, step: Step, indices: Sequence[int]) -> PairOutputs:
        with self.compute_loss_context_manager():
            return self._forward(self._forward.rows([step.pairs[index] for index in indices]), model)

    def _loss_gradient(self, model: torch.nn.Module, step: Step) -> Tensor:
        """What `Objective.loss_gradient` says of the whole step, which takes a forward of it all."""
        sums = torch.empty_like(step.sums)
        with self.compute_loss_context_manager():
            for indices in step.micro:
                rows = self._forward.rows([step.pairs[index] for index in indices])
                sums[:, indices] = self._forward.sums(rows, model)
        return self._objective.loss_gradient(step.logps(sums))

    def _compute_references(self, pairs: Sequence[PairIds]) -> Tensor:
        model: Any = self._forward.model
        found = torch.empty((2, len(pairs)))
        reference = use_adapter(model, REFERENCE) if REFERENCE in model.peft_config else adapters_off(self._adapted)

        def work(indices: Sequence[int]) -> Tensor:
            with self.compute_loss_context_manager():
                return self._forward.sums(self._forward.rows([pairs[index] for index in indices]))

        micro = self._micro(pairs)
        with reference:
            sums = map(work, micro) if self._lanes is None else self._lanes.map(work, micro)
            for indices, each in zip(micro, sums, strict=True):
                found[:, indices] = each.float().cpu()
        return found

    def _told(self, step: Step, places: Tensor) -> Tensor:
        """The step's loss. Its metrics go where TRL's go, and what was seen of its pairs to who wants to see it."""
        training, logps = self.model.training, step.logps(step.sums)
        losses = self._objective.losses(logps)
        good, bad = self._objective.rewards(logps)
        means = torch.stack([good, bad, (good > bad).float(), good - bad, logps.chosen, logps.rejected]).mean(1)
        metrics = self._metrics["train" if training else "eval"]
        # One copy from the device for all of them.
        for name, value in zip(_NAMES, torch.cat([means, step.means()]).tolist(), strict=True):
            metrics[name].append(value)
        if training:
            self._total_train_tokens += step.read
        metrics["num_tokens"] = [self._total_train_tokens]
        if self.saw is not None:
            seen = step.sums if step.reference is None else torch.cat([step.sums, step.reference])
            margins = None if self._objective.needs_reference else (good - bad).tolist()
            self.saw(Seen(training, places.tolist(), seen.tolist(), margins), self.state.global_step)
        return losses.mean()


_NAMES = (
    "rewards/chosen", "rewards/rejected", "rewards/accuracies", "rewards/margins", "logps/chosen", "logps/rejected",
    "logits/chosen", "logits/rejected", "mean_token_accuracy", "entropy",
)  # fmt: skip


def _references() -> str:
    """The file of what is known of the reference: each process knows that of the pairs that it was given."""
    return "references.pt" if distributed.count() == 1 else f"references_{distributed.rank()}.pt"


def _collated(examples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Pairs as they are: rows are made of them once it is known which go through the model together."""
    pairs = [PairIds(each["prompt_ids"], each["chosen_ids"], each["rejected_ids"]) for each in examples]
    return {PLACE: torch.tensor([each[PLACE] for each in examples]), _PAIRS: pairs}
