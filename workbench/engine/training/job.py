"""One run from its folder to its adapter: load, tokenize, train, save."""

from __future__ import annotations

import shutil
import time
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

from torch import Tensor
from transformers import PreTrainedTokenizerBase, set_seed

from workbench.config import RunConfig
from workbench.engine.fast.reference import reference_version
from workbench.engine.methods.trainer_setup import parameter_counts
from workbench.engine.methods.trl_trainer import TrlTrainer
from workbench.engine.model.downloads import embedding_rows, load_tokenizer
from workbench.engine.model.left_out import summary
from workbench.engine.model.loading import device_name, left_whole, peak_memory, revision
from workbench.engine.model.token_ids import trains_raw
from workbench.engine.scoring.score_cache import ScoreCache
from workbench.engine.shipping.model_card import card
from workbench.engine.training import distributed
from workbench.engine.training.checkpoint_files import adapter_state
from workbench.engine.training.control import Control, StopRequested
from workbench.engine.training.data import Prepared, prepare
from workbench.engine.training.disk_faults import saving
from workbench.engine.training.instruments import Divergence, Movement, Sampler, sample_prompts
from workbench.engine.training.reporter import Instruments, Reporter
from workbench.engine.training.resume import Origin, find_origin
from workbench.engine.training.score_recorder import ScoreRecorder
from workbench.engine.training.trainers import Training, build_trainer, load, reference
from workbench.figures import size
from workbench.launch import place_of
from workbench.runs.activation_memory import shares_prompts
from workbench.runs.checkpoints import flush
from workbench.runs.events import Finished, Started, Stopped
from workbench.runs.folder import RunFolder
from workbench.runs.health import Health
from workbench.runs.pair_scores import ScoreWriter
from workbench.runs.writer import EventWriter
from workbench.workspace import Workspace

_BESIDE_ADAPTER = 16 * 1024**2
"""Bytes of tokenizer and card beside an adapter."""
_MUCH = 0.3
"""The share of a quantized model's bytes in matrices that are not, from which on it is worth a word."""
_LOOKED_AT = 200
"""Pairs whose rendering is compared with what they say."""
_TELL_EVERY = 1.0
"""Seconds between two words about how far something is."""


def train(
    folder: RunFolder, config: RunConfig, events: EventWriter, control: Control | None = None
) -> Finished | Stopped:
    """Trains the run, from its newest complete checkpoint where it has one, and returns its last event.

    Raises `WorkbenchError`, `RunDeletedError`, and what the libraries raise.
    """
    began = time.perf_counter()
    control = control or Control(folder)
    origin = distributed.made_by_first(lambda: find_origin(folder, events))
    health = Health(config.facts.first_loss(config), method=config.method, beta=config.beta)
    health.remember(origin.state)
    reporter = Reporter(folder, events, health, control, origin)
    step, changed, total = origin.at.step, 0.0, 0
    try:
        trainer, tokenizer, prepared = _ready(folder, config, events, reporter, control, origin)
        total = trainer.total_steps
        with ScoreWriter(folder.path) if distributed.first() else nullcontext() as scores:
            if config.facts.pairwise:
                trainer.recorder = ScoreRecorder(scores, prepared, config.beta)
            try:
                trainer.run(
                    origin.checkpoint,
                    evaluate_first=bool(prepared.holdout) and _evaluation_due(trainer, config, origin),
                )
            finally:
                trainer.close()
    except StopRequested:
        pass  # Nothing was trained, so there is nothing to save.
    else:
        step = trainer.step
        control.check_run_exists()
        events.phase("saving the adapter", step)
        state = adapter_state(trainer.model)
        if distributed.first():
            _save(folder, trainer.model, state, tokenizer)
        changed = reporter.instruments.movement.of_all()
        if not changed:
            events.warn(
                "The adapter did not change", "No weight moved: learning_rate is too small, or all pairs are alike."
            )
    end = Finished if total and step >= total else Stopped
    return end(
        time=time.time(),
        step=step,
        seconds=origin.at.seconds + time.perf_counter() - began - reporter.waited,
        peak_memory_bytes=peak_memory(),
        changed=changed,
    )


def _ready(
    folder: RunFolder, config: RunConfig, events: EventWriter, reporter: Reporter, control: Control, origin: Origin
) -> tuple[Training, PreTrainedTokenizerBase, Prepared]:
    """Everything up to the next step, told in a `Started` event."""
    set_seed(config.seed)
    control.check_stop()
    events.phase("loading the model", origin.at.step)
    tokenizer = load_tokenizer(config.model, folder.template(), config.trust)
    model = load(config, folder)
    version = revision(config.model, model)
    whole, of_all = left_whole(model) if config.quantization != "none" else (0, 0)
    if whole > _MUCH * of_all:
        events.warn(
            f"Most of the model is not held in {config.quantization}",
            f"{size(whole)} of its {size(of_all)} are matrices that it does not make small, as int8 does not the "
            "experts of a mixture: the run takes that much more memory than weights of this size would.",
            origin.at.step,
        )
    control.check_stop()
    rows, workspace = folder.rows(), Workspace.around(folder.path)
    cache = workspace.tokens if workspace is not None else None
    events.phase("tokenizing the pairs", origin.at.step)
    told_at = time.monotonic()

    def tokenizing(done: int) -> None:
        nonlocal told_at
        if distributed.count() == 1:  # Of several processes only one may be here.
            control.check_stop()
        if time.monotonic() - told_at >= _TELL_EVERY:
            told_at = time.monotonic()
            events.phase(f"tokenizing the pairs {done / len(rows):.0%}", origin.at.step)

    with distributed.first_before_others():
        prepared = prepare(
            tokenizer,
            rows,
            config.room,
            cache,
            tokenizing,
            vocabulary=embedding_rows(config.model, config.trust),
            place_of=partial(place_of, workspace, config) if workspace is not None else lambda _: "",
            margin_weight=config.margin_weight,
        )
    if config.facts.online:
        # Of the pairs only the prompts are used.
        prepared = replace(prepared, truncated=0, identical=0)
    if shares_prompts(config):
        # On CUDA, this is where kernels are compiled: half a minute the first time, seconds later.
        events.phase("trying the model on its longest pairs", origin.at.step)
    trainer = build_trainer(config, model, tokenizer, prepared, folder.checkpoints, reporter)
    known = ScoreCache(workspace.scores if workspace is not None else None)
    trainer.remember(known, reference_version(version, config, trainer.model, folder.start))
    reporter.instruments = Instruments(
        trainer=trainer,
        movement=Movement(trainer.model),
        divergence=Divergence(prepared.holdout, config.max_length) if config.facts.answers else None,
        sampler=Sampler(tokenizer, model, sample_prompts(tokenizer, rows, config.max_length), config.sample_tokens)
        if config.facts.answers
        else None,
        sample_every=config.sample_every,
    )
    if not origin.at.step and any(trains_raw(tokenizer, row["prompt"]) for row in rows):
        events.warn(
            "Plain text beside a chat template",
            "Pairs of plain text train without the model's chat template, in which it is asked later.",
            origin.at.step,
        )
    losing, lost = summary(tokenizer, rows.spread(_LOOKED_AT)) if not origin.at.step else (0, "")
    if losing:
        events.warn(
            "The chat template leaves out part of the pairs",
            f"Of {min(_LOOKED_AT, len(rows)):,} pairs looked at, {losing:,} lose: {lost}. See workbench check --model.",
            origin.at.step,
        )
    trained, parameters = parameter_counts(trainer.model)
    if trainer.slower_because and config.fast and trainer.path == TrlTrainer.path:
        events.warn(
            "The fast path does not fit the model",
            f"Prompts are read twice a pair, as TRL does it: {trainer.slower_because}.",
            origin.at.step,
        )
    reporter.tell(
        Started(
            time=time.time(),
            step=origin.at.step,
            total_steps=config.total_steps(len(prepared.train)),
            train_pairs=len(prepared.train),
            holdout_pairs=len(prepared.holdout),
            dropped=prepared.dropped,
            truncated=prepared.truncated,
            identical=prepared.identical,
            trainable_parameters=trained,
            total_parameters=parameters,
            reference=reference(config),
            device=device_name(),
            model_revision=version,
            path=trainer.path,
            slower_because=trainer.slower_because,
            processes=distributed.count(),
            checkpointing=trainer.checkpointing,
            tokens_at_once=trainer.tokens_at_once,
        )
    )
    control.check_stop()
    return trainer, tokenizer, prepared


def _evaluation_due(trainer: Training, config: RunConfig, origin: Origin) -> bool:
    """Whether the step begun at has an evaluation that was not made: a stop gives it up."""
    step, total = origin.at.step, trainer.total_steps
    return not origin.evaluated and (step % config.eval_every(total) == 0 or step >= total)


def _save(folder: RunFolder, model: Any, state: dict[str, Tensor], tokenizer: PreTrainedTokenizerBase) -> None:
    """Writes the adapter under another name first, so that what is called `adapter` is whole."""
    unfinished = folder.path / "adapter.tmp"
    shutil.rmtree(unfinished, ignore_errors=True)
    needed = sum(weight.nbytes for weight in state.values()) + _BESIDE_ADAPTER
    try:
        with saving("the adapter", folder, needed):
            model.save_pretrained(
                unfinished, state_dict=state, save_embedding_layers=False, selected_adapters=["default"]
            )
            tokenizer.save_pretrained(unfinished)
            (unfinished / "README.md").write_text(card(folder), "utf-8")
            flush(unfinished)
    except Exception:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    shutil.rmtree(folder.adapter, ignore_errors=True)
    unfinished.replace(folder.adapter)
