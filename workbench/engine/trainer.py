"""TRL's DPOTrainer, set up from a run's config, with adapters kept in float32 and metrics that are means over pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from peft.tuners.lora import LoraLayer
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PrinterCallback, TrainerCallback
from trl import DPOConfig, DPOTrainer

from workbench.config import RunConfig
from workbench.engine.checkpoints import restore_adapter, save_checkpoint
from workbench.engine.clock import Clock
from workbench.engine.data import PLACE, Prepared, to_dataset
from workbench.engine.order import LongestFirst, lengths
from workbench.engine.pair_scores import Forwards, Places, Seen
from workbench.errors import WorkbenchError
from workbench.runs.checkpoints import Progress

REFERENCE = "the base model: the same weights with the adapter switched off"

_SCHEDULERS = {"constant": "constant_with_warmup", "linear": "linear", "cosine": "cosine"}


class PairTrainer(DPOTrainer):
    """DPOTrainer over pairs that are tokenized already, in an order of its own; checkpoints are whole or none.

    `pairs_done` counts the pairs that went through a training step, `clock` the seconds of training; who resumes from a
    checkpoint says with `go_on_from` what they begin at. `order` is that of the training pairs. `saw` is told what the
    loss saw of each pair, and after how many updates.
    """

    def __init__(self, *, order: LongestFirst, keep_checkpoints: int, **arguments: Any) -> None:
        self.pairs_done = 0
        self.clock = Clock()
        self.saw: Callable[[Seen, int], None] | None = None
        self._order, self._keep = order, keep_checkpoints
        self._batches: dict[str, list[int]] = {"train": [], "eval": []}
        super().__init__(**arguments)
        self.data_collator: Any = Places(self.data_collator)
        self._forwards = Forwards(self.model)

    def _prepare_dataset(self, dataset: Dataset, *_: Any) -> Dataset:
        """Leaves the ids as `workbench.engine.tokens` made them."""
        return dataset

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """The loss of a batch whose first half is chosen and second half rejected."""
        inputs = dict(inputs)
        places = inputs.pop(PLACE)
        pairs = inputs["input_ids"].shape[0] // 2
        self._batches["train" if self.model.training else "eval"].append(pairs)
        if self.model.training:
            self.pairs_done += pairs
        with self._forwards.watched() as sums:
            loss = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        if self.saw is not None:
            # Two forwards, policy and reference, each of 2B sums: one copy from the device for all of them.
            logps = torch.stack(sums).reshape(-1, pairs).tolist()
            self.saw(Seen(self.model.training, places.tolist(), logps), self.state.global_step)
        return loss

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        if PLACE not in self._signature_columns:
            self._signature_columns.append(PLACE)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Weights a batch's metrics by its pairs: a short last batch must not count as much as a full one."""
        mode = "train" if self.model.training else "eval"
        sizes, metrics = self._batches[mode], self._metrics[mode]
        for name, values in metrics.items():
            if len(values) == len(sizes):
                metrics[name] = [sum(v * n for v, n in zip(values, sizes, strict=True)) / sum(sizes)]
        sizes.clear()
        super().log(logs, start_time)
        if mode == "train":
            # It would go into every checkpoint, megabytes of it in a long run; events.jsonl has it all.
            self.state.log_history.pop()

    @property
    def tokens_done(self) -> int:
        """Tokens of both sides that went through a training step, padding left out."""
        return int(self._total_train_tokens)

    def go_on_from(self, at: Progress) -> None:
        """Counts on from a checkpoint."""
        self.pairs_done, self._total_train_tokens, self.clock = at.pairs, at.tokens, Clock(at.seconds)

    def _get_train_sampler(self, *_: Any) -> LongestFirst:
        return self._order

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        """Raises `WorkbenchError` where the disk is full."""
        at = Progress(self.state.global_step, self.clock.seconds, self.pairs_done, self.tokens_done)
        weights = sum(parameter.nbytes for parameter in trainable(self.model))
        write = partial(super()._save_checkpoint, model, trial)
        save_checkpoint(Path(self.args.output_dir), at, self._keep, weights, write)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: torch.nn.Module | None = None) -> None:
        restore_adapter(model or self.model, Path(resume_from_checkpoint))

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """Checkpoints get none; the adapter's card is written by `workbench.engine.card`."""


def build_trainer(
    config: RunConfig,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prepared: Prepared,
    checkpoints: Path,
    callbacks: Sequence[TrainerCallback] = (),
) -> PairTrainer:
    """The trainer, with a fresh adapter on `model`. Raises `WorkbenchError` where the settings do not fit the model."""
    adapter = LoraConfig(
        r=config.lora_r,
        lora_alpha=config.lora_alpha,
        target_modules="all-linear" if config.target_modules == ["all-linear"] else config.target_modules,
        task_type="CAUSAL_LM",
    )
    try:
        trainer = PairTrainer(
            order=LongestFirst(
                lengths(prepared.train, config.max_length),
                config.batch_size // config.gradient_accumulation,
                config.seed,
            ),
            keep_checkpoints=config.keep_checkpoints,
            model=model,
            args=_arguments(
                config,
                config.total_steps(len(prepared.train)),
                model.device,
                checkpoints,
                evaluates=bool(prepared.holdout),
            ),
            train_dataset=to_dataset(prepared.train),
            eval_dataset=to_dataset(prepared.holdout) if prepared.holdout else None,
            processing_class=tokenizer,
            peft_config=adapter,
            callbacks=list(callbacks),
        )
    except (ValueError, NotImplementedError) as error:
        raise WorkbenchError(
            "These settings do not fit the model", str(error).splitlines()[0], "See target_modules and loss_type."
        ) from error
    trainer.remove_callback(PrinterCallback)
    _initialize(trainer.model, config.seed)
    return trainer


def trainable(model: torch.nn.Module) -> Iterator[torch.nn.Parameter]:
    """The parameters that train, in a fixed order."""
    return (parameter for parameter in model.parameters() if parameter.requires_grad)


def parameter_counts(model: torch.nn.Module) -> tuple[int, int]:
    """Trainable and all parameters, 4-bit weights counted one by one."""
    adapter, total = model.get_nb_trainable_parameters()
    return int(adapter), int(total)


def _initialize(model: torch.nn.Module, seed: int) -> None:
    """Draws the adapter anew in float32.

    TRL casts the adapters of quantized models to bfloat16, in which most updates at a usual learning rate are lost.
    The values drawn before that cast have lost their low bits, hence new ones.
    """
    for parameter in trainable(model):
        parameter.data = parameter.data.float()
    torch.manual_seed(seed)
    for module in model.modules():
        if isinstance(module, LoraLayer):
            for name in module.active_adapters:
                module.reset_lora_parameters(name, init_lora_weights=True)


def _arguments(
    config: RunConfig, total_steps: int, device: torch.device, checkpoints: Path, *, evaluates: bool
) -> DPOConfig:
    cuda = device.type == "cuda"
    part = config.batch_size // config.gradient_accumulation
    return DPOConfig(
        output_dir=str(checkpoints),
        loss_type=list(config.loss_type),
        loss_weights=list(config.loss_weights) or None,
        beta=config.beta,
        label_smoothing=config.label_smoothing,
        max_length=config.max_length,
        disable_dropout=True,
        learning_rate=config.learning_rate,
        lr_scheduler_type=_SCHEDULERS[config.scheduler],
        warmup_steps=config.warmup,
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
        num_train_epochs=config.epochs,
        max_steps=total_steps,
        per_device_train_batch_size=part,
        per_device_eval_batch_size=part,
        gradient_accumulation_steps=config.gradient_accumulation,
        gradient_checkpointing=cuda,
        bf16=cuda,
        use_cpu=not cuda,
        dataloader_pin_memory=cuda,
        seed=config.seed,
        data_seed=config.seed,
        logging_steps=config.logging_steps,
        logging_first_step=True,
        logging_nan_inf_filter=False,
        eval_strategy="steps" if evaluates else "no",
        eval_on_start=evaluates,
        eval_steps=config.eval_steps or max(1, round(total_steps / 5)),
        save_strategy="steps",
        save_steps=config.save_steps or max(1, round(total_steps / 10)),
        report_to="none",
        disable_tqdm=True,
    )
