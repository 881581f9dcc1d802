"""A run's adapter merged into its base: a plain checkpoint, checked against the adapter as it was trained.

The base is loaded anew in 16 (or 32) bits, never taken from the 4-bit weights. Each weight gets its adapter added in
float32 and is rounded once. The merged files are then loaded as anybody would load them: they score the run's held-out
pairs and answer some of their prompts, beside the live adapter (the quantized base with the adapter on it).

One model is in memory at a time: the base as it was trained on, then the base at the width that is asked for with one
layer in float32, then the merged files again (mapped, not copied). On the disk it takes what is written.
"""

from __future__ import annotations

import gc
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from peft.tuners.lora import LoraLayer
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from workbench.behaviours.behaviour import NO_KIND, defaults
from workbench.behaviours.behaviour import Answer as Said
from workbench.behaviours.reading import KnownBehaviours, behaviours_of
from workbench.config import RunConfig
from workbench.engine.model.downloads import load_tokenizer
from workbench.engine.model.inference import sample, score_batches
from workbench.engine.model.loading import attach_adapter, compute_device, load_base, revision
from workbench.engine.model.token_ids import pair_ids, stop_token_ids
from workbench.engine.scoring.classifying import shown_behaviours
from workbench.engine.shipping.destination import check_destination, written
from workbench.engine.shipping.model_card import MergeFacts, card
from workbench.errors import WorkbenchError
from workbench.figures import plural
from workbench.pairs.pair import from_row, template_arguments
from workbench.runs import machine
from workbench.runs.folder import RunFolder
from workbench.runs.merge_bounds import Bounds
from workbench.runs.merging import Answer, Answers, Drift, Dtype, Form, Merged, differences, drift
from workbench.runs.model_shape import shape_of
from workbench.runs.serving import adapter_settings, serve_merged
from workbench.runs.trusting import require_own
from workbench.trust import Trust
from workbench.workspace import Workspace

Tell = Callable[[str, float | None], None]
"""Told what is done, and how much of it, from 0 to 1, where that is known."""

DTYPES: dict[Dtype, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
MOST_PAIRS = 256
"""Held-out pairs that the drift is measured on, evenly spaced where there are more."""
_HELD = {"nf4": 0.55, "int8": 1.05, "none": 4.0}
"""Bytes a weight of the base as it was trained on, on the CPU; what is not quantized is in float32 there."""
_BESIDE_WEIGHTS = 32 * 2**20
"""Bytes of tokenizer, configs and card."""

Encoded = tuple[Sequence[int], Sequence[int]]
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class _HeldOut:
    """Held-out pairs as they were trained: prompt and response ids, chosen and rejected in turn; and what is answered,
    as words and as ids, with `answer_tokens` at most."""

    rows: Sequence[Encoded]
    prompts: Sequence[str]
    prompt_ids: Sequence[Sequence[int]]
    answer_tokens: int


@dataclass(frozen=True, slots=True)
class _Live:
    """Under the adapter as it was trained: token log-probabilities of all responses, and greedy answers with it and
    without."""

    scores: list[list[float]]
    base: list[str]
    run: list[str]
    answer: Callable[[Any], list[str]]
    """What a model answers."""


def merge(
    folder: RunFolder,
    to: Path,
    *,
    dtype: Dtype = "bf16",
    form: Form = "safetensors",
    force: bool = False,
    bounds: Bounds | None = None,
    progress: Tell = lambda *_: None,
) -> Merged:
    """Merges the run's adapter into its base and writes the model to `to`: a folder, or with `form` gguf one file.

    Nothing is at `to` before all of it is. What is past `bounds` is told as a difference.

    Raises `WorkbenchError` before anything is loaded where it cannot be done: no adapter, one of another kind,
    something at `to`, too little disk or memory, an architecture without GGUF; and later where the base is not the one
    that was trained on, or the weights do not fit into the dtype.
    """
    began = time.monotonic()
    bounds = bounds or Bounds()
    to = to.expanduser().absolute()
    require_own(folder)
    config = folder.record().config
    _check(folder, config, to, dtype, form, force=force)
    known = _known_behaviours(folder, config.model)
    tokenizer = load_tokenizer(config.model, folder.template(), config.trust)
    held = _held_out(folder, tokenizer, config.max_length, bounds)
    live = _live(folder, config, tokenizer, held, progress)
    with written(to if form == "safetensors" else to.with_name(f"{to.name}-merged"), keep=form == "safetensors") as new:
        parameters = _merge(folder, config, tokenizer, new, dtype, progress)
        moved, answers = _beside(new, dtype, config.trust, known, held, live, progress)
        told = differences(moved, answers, bounds) if moved is not None else []
        (new / "README.md").write_text(card(folder, MergeFacts(dtype, parameters, moved, answers, told)), "utf-8")
        if form == "gguf":
            from workbench.engine.shipping.to_gguf import convert

            with written(to) as file:
                convert(new, file, dtype, name=folder.id, progress=progress)
    return Merged(
        path=str(to),
        form=form,
        dtype=dtype,
        parameters=parameters,
        bytes=to.stat().st_size if to.is_file() else sum(path.stat().st_size for path in to.rglob("*")),
        seconds=time.monotonic() - began,
        drift=moved,
        answers=answers,
        differences=told,
        serve=serve_merged(to) if form == "safetensors" else "",
    )


def _check(folder: RunFolder, config: RunConfig, to: Path, dtype: Dtype, form: Form, *, force: bool) -> None:
    settings = adapter_settings(folder)
    if settings.get("peft_type") != "LORA" or settings.get("task_type") != "CAUSAL_LM":
        raise WorkbenchError(
            "This adapter cannot be merged",
            f"{folder.adapter}: it is of the kind {settings.get('peft_type')} for {settings.get('task_type')}.",
            "LoRA adapters of causal language models can.",
        )
    check_destination(to, force=force, folder=form == "safetensors")
    if form == "gguf":
        from workbench.engine.shipping.to_gguf import check_architecture

        check_architecture(config.model, folder.id, to, dtype)
    width = DTYPES[dtype].itemsize
    count = _parameters(folder, config.model)
    if count is None:
        return
    files = 2 if form == "gguf" else 1
    _check_room("disk", count * width * files + _BESIDE_WEIGHTS, machine.disk_free(to), f"at {to.parent}")
    needed = max(count * width + _widened(config.model), _live_size(config, count))
    _check_room("memory", needed, machine.memory().free, "on this machine")


def _check_room(what: str, needed: int, free: int, where: str) -> None:
    if needed > free:
        raise WorkbenchError(
            f"Not enough {what}",
            f"Merging takes {needed / 1e9:.1f} GB of {what}; {free / 1e9:.1f} GB are free {where}.",
            "Free some there, or name a folder on a larger disk." if what == "disk" else "End what else uses it.",
        )


def _parameters(folder: RunFolder, model: str) -> int | None:
    """As the run counted them, else as the model's config says; None where neither is known."""
    started = folder.state().started
    if started is not None:
        return started.total_parameters - started.trainable_parameters
    try:
        return shape_of(model).parameters
    except WorkbenchError:
        return None


def _widened(model: str) -> int:
    """Bytes of what is added to the largest layer, and of the sum, in float32."""
    try:
        return 2 * 4 * max(layer.weights for layer in shape_of(model).linears)
    except WorkbenchError:
        return 2**30


def _live_size(config: RunConfig, count: int) -> int:
    """Bytes of main memory that the base takes as it was trained on; none where that is a GPU's."""
    if compute_device().type == "cuda":
        return 0
    try:
        shape = shape_of(config.model)
    except WorkbenchError:
        return int(count * _HELD[config.quantization])
    return int(shape.quantized * _HELD[config.quantization] + shape.exact * 4)


def _held_out(folder: RunFolder, tokenizer: PreTrainedTokenizerBase, max_length: int, bounds: Bounds) -> _HeldOut:
    """What is measured: as many held-out pairs as fit `MOST_PAIRS`, and the prompts of some of them."""
    rows = [row for row in folder.rows() if row.get("split") == "holdout"]
    pairs: list[tuple[str, list[Encoded]]] = []
    for number, row in enumerate(rows, 1):
        pair = from_row(row, where=f"pairs.jsonl, held-out row {number}")
        if pair.lacks:
            continue
        ids = pair_ids(tokenizer, pair.prompt, pair.chosen, pair.rejected, template_arguments(row))
        if responses := ids.responses(max_length):
            pairs.append((pair.last_user_turn, list(responses)))
    scored = _evenly(pairs, MOST_PAIRS)
    prompts = {tuple(responses[0][0]): text for text, responses in scored}
    asked = _evenly(list(prompts.items()), bounds.answers)
    return _HeldOut(
        rows=[response for _, responses in scored for response in responses],
        prompts=[text for _, text in asked],
        prompt_ids=[ids for ids, _ in asked],
        answer_tokens=bounds.answer_tokens,
    )


def _evenly(items: Sequence[Item], most: int) -> list[Item]:
    count = len(items)
    return list(items) if count <= most else [items[at * count // most] for at in range(most)]


def _live(
    folder: RunFolder, config: RunConfig, tokenizer: PreTrainedTokenizerBase, held: _HeldOut, progress: Tell
) -> _Live | None:
    """What the adapter as it was trained makes of them; None where none were held out.

    Raises `WorkbenchError` for another base than was trained on.
    """
    trained_on = getattr(folder.state().started, "model_revision", "unknown")
    if Path(config.model).is_dir() or not held.rows:
        _check_revision(config.model, trained_on, None)
    if not held.rows:
        return None
    progress("loading the base as it was trained on", None)
    base = load_base(config.model, config.quantization, config.attention, trust=config.trust)
    _check_revision(config.model, trained_on, base)
    stops = stop_token_ids(tokenizer, base)
    model = attach_adapter(base, folder.adapter, "run")
    progress(f"scoring {len(held.rows)} held-out responses with the live adapter", None)
    scores = _scores(model, held.rows)

    def answer(model: Any) -> list[str]:
        return _answers(model, tokenizer, stops, held)

    if held.prompts:
        progress(f"answering {plural(len(held.prompts), 'held-out prompt')} with base and live adapter", None)
    run = answer(model)
    with model.disable_adapter():
        return _Live(scores, answer(model), run, answer)


def _answers(model: Any, tokenizer: PreTrainedTokenizerBase, stops: frozenset[int], held: _HeldOut) -> list[str]:
    """The likeliest token always, to every prompt."""
    tokens: list[list[int]] = [[] for _ in held.prompts]
    if held.prompts:
        how: dict[str, Any] = {"stop": stops, "max_new_tokens": held.answer_tokens, "temperature": 0.0, "seed": 0}
        for step in sample(model, held.prompt_ids, **how):
            for index, token in step:
                tokens[index].append(token)
    return [str(tokenizer.decode(ids, skip_special_tokens=True)) for ids in tokens]


def _check_revision(model: str, trained_on: str, loaded: PreTrainedModel | None) -> None:
    now = revision(model, loaded)
    if "unknown" not in (trained_on, now) and now != trained_on:
        raise WorkbenchError(
            "The base model is not the one that the run was trained on",
            f"{model} is {now[:23]} now; the run had {trained_on[:23]}.",
            "Put that version back: an adapter fits no other weights.",
        )


def _merge(
    folder: RunFolder,
    config: RunConfig,
    tokenizer: PreTrainedTokenizerBase,
    to: Path,
    dtype: Dtype,
    progress: Tell,
) -> int:
    """Writes the merged model with its tokenizer to `to`; returns how many parameters it has."""
    _release()
    progress(f"loading the base again in {dtype}", None)
    base = load_base(config.model, "none", device="cpu", dtype=DTYPES[dtype], trust=config.trust)
    stops = sorted(stop_token_ids(tokenizer, base))
    model = attach_adapter(base, folder.adapter, "run")
    layers = [module for module in model.modules() if isinstance(module, LoraLayer)]
    if not layers:
        raise WorkbenchError(
            "The adapter fits no layer", f"{folder.adapter} is not for {config.model}.", "Restore the run's adapter."
        )
    _check_untied(base, layers)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that what is merged below is merged already
        for number, layer in enumerate(layers):
            progress("merging", number / len(layers))
            layer.merge()  # the adapter is in float32, so the sum is, and is rounded once
        whole: PreTrainedModel = model.merge_and_unload()
    check_finite(whole, dtype)
    generation: Any = whole.generation_config
    if generation is not None:
        # Generation ends where responses ended in training. What samples must say so, or it is refused.
        generation.eos_token_id = stops if len(stops) > 1 else stops[0]
        if any(getattr(generation, name, None) is not None for name in ("temperature", "top_p", "top_k")):
            generation.do_sample = True
    progress("writing the merged model", None)
    whole.save_pretrained(to)
    tokenizer.save_pretrained(to)
    return int(whole.num_parameters())


def _check_untied(model: PreTrainedModel, layers: Sequence[LoraLayer]) -> None:
    """Raises `WorkbenchError` for an adapter on one of two uses of the same weights: merged, it would be on both."""
    if not model.config.get_text_config().tie_word_embeddings:
        return
    shared = model.get_input_embeddings().weight.data_ptr()
    if any(getattr(layer.get_base_layer(), "weight", torch.empty(0)).data_ptr() == shared for layer in layers):
        raise WorkbenchError(
            "This adapter cannot be merged",
            "It is on an embedding whose weights the output layer shares, and would change both.",
            "Serve base and adapter as they are, or train without that layer in target_modules.",
        )


def check_finite(model: PreTrainedModel, dtype: Dtype) -> None:
    """Raises `WorkbenchError` for weights that are no finite numbers in `dtype`."""
    for name, weight in model.named_parameters():
        if not bool(torch.isfinite(weight).all()):
            raise WorkbenchError(
                f"The weights do not fit into {dtype}", f"{name} is infinite or no number then.", "Use --dtype bf16."
            )


def _beside(
    folder: Path,
    dtype: Dtype,
    trust: Trust,
    known: KnownBehaviours,
    held: _HeldOut,
    live: _Live | None,
    progress: Tell,
) -> tuple[Drift | None, Answers | None]:
    """The merged files as anybody loads them, beside the live adapter on `base`."""
    _release()
    if live is None:
        return None, None
    progress("loading the merged files", None)
    model = load_base(str(folder), "none", device=_device(folder), dtype=DTYPES[dtype], trust=trust)
    progress(f"scoring {len(held.rows)} held-out responses with the merged model", None)
    moved = drift(live.scores, _scores(model, held.rows))
    if not held.prompts:
        return moved, None
    progress(f"answering {plural(len(held.prompts), 'held-out prompt')} with the merged model", None)
    merged = live.answer(model)
    _release()
    said = [Said(NO_KIND, *each) for texts in (live.run, merged) for each in zip(held.prompts, texts, strict=True)]
    shows = shown_behaviours(said, known, lambda doing: progress(doing, None))
    both = shows[: len(merged)], shows[len(merged) :]
    answers = [Answer(*each) for each in zip(held.prompts, live.base, live.run, merged, *both, strict=True)]
    return moved, Answers(len(answers), [each for each in answers if each.merged != each.run])


def _known_behaviours(folder: RunFolder, model: str) -> KnownBehaviours:
    """The workspace's; those that ship where the run lies in none. Raises `WorkbenchError` as `read_behaviours`."""
    workspace = Workspace.around(folder.path)
    return behaviours_of(workspace, model) if workspace is not None else KnownBehaviours(defaults(model))


def _device(folder: Path) -> str:
    """The GPU where the weights have room on it, with a fifth on top for what they compute."""
    device = compute_device()
    if device.type != "cuda":
        return "cpu"
    needed = 1.2 * sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    return str(device) if torch.cuda.mem_get_info(device)[0] > needed else "cpu"


def _scores(model: Any, rows: Sequence[Encoded]) -> list[list[float]]:
    logprobs = score_batches(model, rows)
    return [response.double().tolist() for response in logprobs]


def _release() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
