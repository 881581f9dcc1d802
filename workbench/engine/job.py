"""One run from its folder to its adapter: load, tokenize, train, save."""

from __future__ import annotations

import math
import resource
import shutil
import sys
import time

import torch
from transformers import PreTrainedTokenizerBase, set_seed

from workbench.config import RunConfig
from workbench.engine.card import card
from workbench.engine.data import Prepared, prepare
from workbench.engine.model import load_base, load_tokenizer, revision
from workbench.engine.reporter import Reporter, StopRequested
from workbench.engine.trainer import REFERENCE, PairTrainer, build_trainer, parameter_counts, trainable
from workbench.runs.events import Finished, Started, Stopped
from workbench.runs.folder import Record, RunFolder
from workbench.runs.health import Health
from workbench.runs.writer import EventWriter


def train(folder: RunFolder, asked: Record, events: EventWriter) -> Finished | Stopped:
    """Trains the run and returns its last event. Raises `WorkbenchError`, and what the libraries raise."""
    began = time.perf_counter()
    reporter = Reporter(folder, events, Health(_first_loss(asked.config)))
    step, changed, total = 0, 0.0, 0
    try:
        trainer, tokenizer, prepared, version = _ready(folder, asked, events, reporter)
        total = trainer.args.max_steps
        before = [parameter.detach().to("cpu", copy=True) for parameter in trainable(trainer.model)]
        _run(trainer)
    except StopRequested:
        pass  # Nothing was trained, so there is nothing to save.
    else:
        step = trainer.state.global_step
        events.phase("saving the adapter", step)
        _save(folder, asked, trainer, tokenizer, prepared, version)
        changed = _changed(before, trainer)
        if not changed:
            events.warn(
                "The adapter did not change", "No weight moved: learning_rate is too small, or all pairs are alike."
            )
    end = Finished if total and step >= total else Stopped
    return end(
        time=time.time(),
        step=step,
        seconds=time.perf_counter() - began,
        peak_memory_bytes=_peak_memory(),
        changed=changed,
    )


def _ready(
    folder: RunFolder, asked: Record, events: EventWriter, reporter: Reporter
) -> tuple[PairTrainer, PreTrainedTokenizerBase, Prepared, str]:
    """Everything up to the first step, told in a `Started` event."""
    config = asked.config
    set_seed(config.seed)
    reporter.check_stop()
    events.phase("loading the model")
    tokenizer = load_tokenizer(config.model)
    model = load_base(config.model, config.quantization, config.attention)
    version = revision(config.model, model)
    reporter.check_stop()
    events.phase("tokenizing the pairs")
    prepared = prepare(tokenizer, folder.rows(), config.max_length)
    trainer = build_trainer(config, model, tokenizer, prepared, folder.checkpoints, [reporter])
    reporter.trainer = trainer
    trained, parameters = parameter_counts(trainer.model)
    events.write(
        Started(
            time=time.time(),
            total_steps=config.total_steps(len(prepared.train)),
            train_pairs=len(prepared.train),
            holdout_pairs=len(prepared.holdout),
            dropped=prepared.dropped,
            truncated=prepared.truncated,
            identical=prepared.identical,
            trainable_parameters=trained,
            total_parameters=parameters,
            reference=REFERENCE,
            device=_device(),
            model_revision=version,
        )
    )
    reporter.check_stop()
    return trainer, tokenizer, prepared, version


def _run(trainer: PairTrainer) -> None:
    """Trains to the end or to a stop. Raises `StopRequested` where that came before the first step was done."""
    try:
        trainer.train()
    except StopRequested:
        if trainer.state.global_step == 0:
            raise
        # It came during an evaluation, after which the trainer would have saved.
        trainer._save_checkpoint(trainer.model, trial=None)
        trainer.callback_handler.on_save(trainer.args, trainer.state, trainer.control)


def _save(
    folder: RunFolder,
    asked: Record,
    trainer: PairTrainer,
    tokenizer: PreTrainedTokenizerBase,
    prepared: Prepared,
    version: str,
) -> None:
    """Writes the adapter under another name first, so that what is called `adapter` is whole."""
    unfinished = folder.path / "adapter.tmp"
    shutil.rmtree(unfinished, ignore_errors=True)
    trainer.model.save_pretrained(unfinished, save_embedding_layers=False)
    tokenizer.save_pretrained(unfinished)
    evals = [
        {name.removeprefix("eval_"): value for name, value in entry.items()}
        for entry in trainer.state.log_history
        if "eval_loss" in entry
    ]
    text = card(asked, prepared, version, evals[0] if evals else {}, evals[-1] if evals else {})
    (unfinished / "README.md").write_text(text, "utf-8")
    shutil.rmtree(folder.adapter, ignore_errors=True)
    unfinished.replace(folder.adapter)


def _changed(before: list[torch.Tensor], trainer: PairTrainer) -> float:
    """The share of adapter weights that are not what they began as."""
    moved = sum(
        int((old != new.detach().cpu()).sum()) for old, new in zip(before, trainable(trainer.model), strict=True)
    )
    return moved / sum(old.numel() for old in before)


def _first_loss(config: RunConfig) -> float | None:
    """The loss while model and reference are the same, before the first update; None: the data decides."""
    if config.loss_type != ["sigmoid"]:
        return None
    return math.log(2) * (config.loss_weights[0] if config.loss_weights else 1.0)


def _peak_memory() -> int:
    """Bytes: of the GPU where there is one, else of this process."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _device() -> str:
    if torch.cuda.is_available():
        return str(torch.cuda.get_device_name(0))
    return f"CPU, {torch.get_num_threads()} threads"
