"""How much memory and disk a run will take, by part, from the model's shape and the run's settings. No torch.

What is in memory while a run trains, at the worst moment of a step. On the CPU that is checked against measured peaks,
within 15%, for the fast path and for plain TRL (`tests/faults/test_estimate.py`). On CUDA the
fast path is checked within 3% against a simulated step of 8B models (`tests/unit/engine/cuda`); the rest is reasoned,
for `tests/gpu` to measure.

*Always there.* The base's weights: 4-bit NF4 takes half a byte a weight, one byte every 64 weights for their scale
(double quantization) and four bytes every 256 of those; int8 one byte, and four a row; embeddings, output layer and
norms are never quantized; on the CPU the fast path keeps small models unpacked as well. The adapter in float32, its
gradient, and AdamW's two moments, in float32 or in 8 bits. For grpo and rloo, the model that says what answers are
worth.

*Activations*, which the forward keeps for the backward. Only adapters train, so a frozen matrix keeps nothing of its
own; but what an adapter reads is kept. A token and decoder layer: what each norm reads (in float32: the stream, twice
or in some families four times; in some, queries and keys too), the two normed streams that are read, queries, keys,
values, what attention gives, four times the feed-forward width (gate, its activation, up, their product), and `lora_r`
an adapter; less where fewer layers have adapters. With gradient checkpointing (on CUDA): the stream alone for every
layer that is computed again, and all of it for one of them. How many tokens that are, and what the output layer
takes, is told in `runs.activation_memory`.

*One of these at a time*, so that only the largest counts. Beside the activations: the output layer's tiles; plain TRL's
forward of the reference, of which one layer is there at a time; the backward of one layer. In their place, where a
method answers prompts itself: keys and values of a batch of answers, and the pass that says what they are worth.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.config import Checkpointing, Optimizer, RunConfig
from workbench.errors import WorkbenchError
from workbench.methods import uses
from workbench.rewards import RunReward, parse_reward
from workbench.runs import machine
from workbench.runs.activation_memory import (
    FLOAT,
    KEPT_WEIGHT_BYTES,
    KEPT_WEIGHTS,
    REWARD_LOGITS,
    TILE_BYTES,
    TOKEN_BUDGET,
    Device,
    Lengths,
    Pass,
    Rows,
    number_bytes,
    plain_parts,
    shares_prompts,
    unpacked_bytes,
)
from workbench.runs.folder import RunFolder
from workbench.runs.model_shape import Shape, shape_of

_MOMENTS: dict[Optimizer, float] = {"adamw": 2 * FLOAT, "adamw_8bit": 2 * (1 + FLOAT / 256)}
"""Bytes of AdamW's two moments of a weight; in 8 bits each 256 of them share a scale."""
_NF4_WEIGHT = 0.5 + 1 / 64 + 4 / (64 * 256)
_HELD = {"nf4": "4 bits", "int8": "8 bits", "none": "full"}
LIBRARIES: dict[Device, int] = {"cpu": 620 * 2**20, "cuda": 600 * 2**20}
"""A worker before it has a model: Python, torch and the rest; on CUDA the context and the kernels on the device."""
_ROOM: dict[Device, float] = {"cpu": 1.5, "cuda": 1.06}
"""What the allocator holds for each byte that is in use. On CUDA blocks are rounded up. On the CPU the C library keeps
freed blocks of a few MiB for another use: 1.2 to 1.8 were seen, more where lengths differ much; handing each block back
at once (MALLOC_MMAP_THRESHOLD_) gives 1.0 and costs a quarter of the speed."""


@dataclass(frozen=True, slots=True)
class Judge:
    """The model that says what answers are worth: that of another run, loaded beside the policy."""

    shape: Shape
    config: RunConfig


@dataclass(frozen=True, slots=True)
class MemoryPart:
    """One part of the memory. `counts` is False for what gives way to something larger at the worst moment."""

    name: str
    bytes: int
    counts: bool = True


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """Bytes on the device at the worst moment of a run, by part."""

    device: Device
    parts: tuple[MemoryPart, ...]
    libraries: int
    measured: int | None = None
    """What was measured in place of the sum of the parts."""

    @property
    def training(self) -> int:
        """Bytes of model and training: on CUDA what `max_memory_allocated` tells, on the CPU the growth."""
        return self.measured or sum(part.bytes for part in self.parts if part.counts)

    @property
    def total(self) -> int:
        """Bytes that must be free before the worker starts."""
        return int(self.training * _ROOM[self.device]) + self.libraries


def estimate(
    shape: Shape,
    config: RunConfig,
    lengths: Lengths,
    device: Device,
    *,
    judge: Judge | None = None,
    plan: Plan | None = None,
    rows: Rows | None = None,
) -> MemoryEstimate:
    """The memory that the run needs on `device`. `plan`: None for as many tokens at once as the device takes, and all
    layers that the config lets be computed again. `rows`: None for those that are tried first.
    """
    plan = plan or Plan(checkpointing(config, device)[-1], TOKEN_BUDGET[device])
    adapter = adapter_weights(shape, config) * FLOAT
    micro = Pass.of(shape, config, lengths, device, plan.tokens, rows)
    layers, backward = micro.layers(), micro.backward()
    every = EVERY[plan.checkpointing]
    again = -(-shape.layers // every) if every else 0
    kept = again * micro.tokens * shape.hidden * micro.number + sum(layers) * (shape.layers - again) // shape.layers
    if again and not (shape.layers - 1) % every:
        # The last layer goes backward first: where it is not computed again, its room is free for one before it.
        backward += max(layers)
    head = micro.output_layer()
    if device == "cuda":
        kept += adapter // 2  # Under autocast the adapter is there once more, in bfloat16.
        head += micro.beside_layers()  # Gone by the time that layers go backward.
    else:
        kept += micro.beside_layers()
    beside = {"logits": head, "backward": backward}
    apart: dict[str, int] = {}
    if config.facts.online:
        apart = _answering(shape, config, lengths, device) | _judging(judge, config, lengths, device)
    if config.facts.reference:
        (apart if shares_prompts(config) or config.facts.online else beside)["reference pass"] = (
            micro.without_gradient()
        )
    parts = [
        MemoryPart("weights in " + _HELD[config.quantization], _quantized(shape, config.quantization, device)),
        MemoryPart("weights not quantized", shape.exact * number_bytes(device)),
        MemoryPart("adapter", adapter),
        MemoryPart("gradients", adapter),
        MemoryPart("optimizer", int(adapter_weights(shape, config) * _MOMENTS[config.optimizer])),
    ]
    if unpacked_weights := _kept_unpacked(shape, config, device):
        parts.insert(1, MemoryPart("weights unpacked", unpacked_weights * KEPT_WEIGHT_BYTES))
    if judge is not None:
        parts.append(MemoryPart("reward's model", _held(judge, device)))
    return MemoryEstimate(device, (*parts, *_moments(kept, beside, apart)), LIBRARIES[device])


EVERY: dict[Checkpointing, int] = {"none": 0, "quarter": 4, "half": 2, "all": 1}
"""Of so many layers, one is computed again in the backward; 0: none is."""


def checkpointing(config: RunConfig, device: Device) -> list[Checkpointing]:
    """How many layers may be computed again in the backward, the fewest first: all that may be chosen from.

    Plain TRL knows only all or none.
    """
    fast, asked = shares_prompts(config), config.checkpointing if uses(config.method, "checkpointing") else "auto"
    if asked == "auto" and device == "cpu":
        return ["none"]
    if asked == "auto":
        return ["none", "quarter", "half", "all"] if fast else ["all"]
    return [asked if fast or asked == "none" else "all"]


@dataclass(frozen=True, slots=True)
class Plan:
    """How a step goes through the model: how many layers are computed again in the backward, so many tokens at once."""

    checkpointing: Checkpointing
    tokens: int


def plans(config: RunConfig, device: Device) -> list[Plan]:
    """All that may be chosen from, the fastest first; the last takes the least memory.

    What each costs is reasoned, not measured: to compute all layers again is a third more work; of fewer tokens at
    once, the weights are unpacked more often, which takes some 3% of the time of a pass of 4,096.
    """
    most, levels = TOKEN_BUDGET[device], checkpointing(config, device)
    if device == "cpu" or not shares_prompts(config):
        return [Plan(level, most) for level in levels]

    def cost(plan: Plan) -> float:
        again = 1 / EVERY[plan.checkpointing] if EVERY[plan.checkpointing] else 0.0
        return again / 3 + _UNPACKING / plan.tokens

    return sorted((Plan(level, most // parts) for level in levels for parts in (1, 2, 4, 8, 16)), key=cost)


def planned(
    shape: Shape, config: RunConfig, lengths: Lengths, device: Device, free: int, rows: Rows | None = None
) -> Plan:
    """The fastest plan with which a tenth of so many free bytes is left over; the least where none does."""
    choice = plans(config, device)
    fitting = (
        plan
        for plan in choice
        if estimate(shape, config, lengths, device, plan=plan, rows=rows).total <= _LEFT_OVER * free
    )
    return next(fitting, choice[-1])


_UNPACKING = 0.03 * 4096
"""Tokens whose work takes as long as to unpack weights, forward and backward: by the memory's pace and the arithmetic's
of an H100 (3.7% of 4,096) and an RTX 4090 (2.5%)."""
_LEFT_OVER = 0.9
"""The share of free memory that is filled for speed alone: the estimate may be wrong, and a step is lost then."""


def fallbacks(
    shape: Shape, config: RunConfig, lengths: Lengths, device: Device, free: int
) -> dict[str, MemoryEstimate]:
    """By words, what the run needs where the model fails the trial of shared prompts and so many bytes are free; empty
    where none is made."""
    if not shares_prompts(config):
        return {}
    plan = planned(shape, config, lengths, device, free, "apart")
    parts = plain_parts(config, lengths.longest, device)
    plain = config.model_copy(update={"fast": False, "gradient_accumulation": parts})
    return {
        "with a line a response": estimate(shape, config, lengths, device, plan=plan, rows="apart"),
        "with rows as TRL has them": estimate(shape, plain, lengths, device),
    }


def asking(shape: Shape, quantization: str, device: Device) -> int:
    """Bytes that must be free for a model that is only asked: its weights, and a forward of as many tokens as go at
    once."""
    weights = _quantized(shape, quantization, device) + shape.exact * number_bytes(device)
    streams = TOKEN_BUDGET[device] * ((2 + shape.used) * shape.hidden + 3 * shape.wide) * number_bytes(device)
    beside = streams + unpacked_bytes(shape, quantization, device) + 2 * TILE_BYTES[device]
    return int((weights + beside) * _ROOM[device]) + LIBRARIES[device]


def adapter_weights(shape: Shape, config: RunConfig) -> int:
    """Weights of the adapter: two matrices of rank `lora_r` beside every layer that gets one."""
    adapted = shape.adapted(config.target_modules)
    return config.lora_r * sum(linear.layers * (linear.inputs + linear.outputs) for linear in adapted)


def disk(shape: Shape, config: RunConfig) -> tuple[int, int]:
    """Bytes that the checkpoints and the adapter will take.

    A checkpoint has the adapter, two moments for each of its weights and the tokenizer. One more than are kept is there
    for a moment: the oldest is deleted when a newer one is whole.
    """
    weights = adapter_weights(shape, config)
    adapter = weights * FLOAT
    checkpoint = adapter + int(weights * _MOMENTS[config.optimizer]) + shape.tokenizer_bytes
    return checkpoint * (config.keep_checkpoints + 1), adapter + shape.tokenizer_bytes


def _moments(kept: int, beside: Mapping[str, int], apart: Mapping[str, int]) -> list[MemoryPart]:
    """The activations with the largest of what is there beside them; or what is there without them, if that is more."""
    worst = max(beside, key=lambda name: beside[name])
    other = max(apart, key=lambda name: apart[name]) if apart else ""
    alone = bool(other) and apart[other] > kept + beside[worst]
    parts = [MemoryPart("activations", kept, not alone)]
    parts += [MemoryPart(name, size, name == worst and not alone) for name, size in beside.items()]
    return parts + [MemoryPart(name, size, name == other and alone) for name, size in apart.items()]


def _quantized(shape: Shape, quantization: str, device: Device) -> int:
    if quantization == "nf4":
        return int(shape.quantized * _NF4_WEIGHT)
    if quantization == "int8":
        # It knows no experts.
        whole = shape.expert_weights * (number_bytes(device) - 1)
        return shape.quantized + whole + FLOAT * sum(linear.layers * linear.outputs for linear in shape.linears)
    return shape.quantized * number_bytes(device)


def _kept_unpacked(shape: Shape, config: RunConfig, device: Device) -> int:
    """How many weights the fast path keeps unpacked: all adapted ones, or none."""
    plain = device == "cpu" and config.quantization == "nf4" and config.lora_variant != "dora"
    adapted = sum(linear.weights * linear.layers for linear in shape.adapted(config.target_modules))
    return adapted if plain and shares_prompts(config) and adapted <= KEPT_WEIGHTS else 0


def _answering(shape: Shape, config: RunConfig, lengths: Lengths, device: Device) -> dict[str, int]:
    """Keys and values of all answers of a step, which are drawn at once, and their next logits."""
    kept = 2 * shape.key * shape.layers * number_bytes(device) * lengths.longest
    return {"answering": config.batch_size * (kept + 2 * shape.vocabulary * FLOAT)}


def _held(judge: Judge, device: Device) -> int:
    adapter = adapter_weights(judge.shape, judge.config) * FLOAT
    head = judge.shape.hidden if not judge.config.facts.answers else 0
    exact = judge.shape.exact
    if not judge.config.facts.answers and not judge.shape.tied:
        exact -= judge.shape.vocabulary * judge.shape.hidden  # It has no output layer.
    return _quantized(judge.shape, judge.config.quantization, device) + (exact + head) * number_bytes(device) + adapter


def _judging(judge: Judge | None, config: RunConfig, lengths: Lengths, device: Device) -> dict[str, int]:
    if judge is None:
        return {}
    shape, answers = judge.shape, config.batch_size // config.gradient_accumulation
    streams = (2 + shape.used) * shape.hidden + 3 * shape.wide
    size = answers * lengths.longest * streams * number_bytes(device) + unpacked_bytes(
        shape, judge.config.quantization, device
    )
    if judge.config.facts.answers:
        logits = config.completion_tokens * shape.vocabulary
        size += min(answers * logits, max(logits, REWARD_LOGITS)) * (number_bytes(device) + FLOAT)
    return {"judging": size}


_SHORTEST = 128
"""Tokens below which no pair is worth training on."""
_LESS = 0.85
"""After memory ran out the estimate was wrong by at least the difference: what fits must need this much less."""


def smaller(
    shape: Shape, config: RunConfig, lengths: Lengths, device: Device, free: int, judge: Judge | None = None
) -> dict[str, Any]:
    """Settings to change so that the run needs no more than `free` bytes; empty where none would do.

    In the order in which they cost: a batch cut into more parts gives the same updates, 4-bit weights nearly the same,
    a lower `max_length` loses the ends of long answers.
    """
    for changes in _candidates(config, lengths):
        changed = config.model_copy(update=changes)
        cut, plan = lengths.cut(changed.max_length), plans(changed, device)[-1]
        if estimate(shape, changed, cut, device, judge=judge, plan=plan).total <= free:
            return changes
    return {}


def advice(config: RunConfig, runs: Path | None = None) -> str:
    """What to do after a run of `config` ran out of memory on this machine, in a sentence.

    `runs` is the folder in which a run that gives its reward is.
    """
    changes: dict[str, Any] = {}
    try:
        shape, this_machine = shape_of(config.model), machine.look(Path.cwd())
    except (WorkbenchError, OSError):
        changes = next(_candidates(config, Lengths.at_most(config.max_length)), {})
    else:
        device: Device = "cuda" if this_machine.gpu else "cpu"
        lengths = Lengths.at_most(config.max_length)
        judge = judge_of(config, runs) if runs is not None else None
        needed = estimate(shape, config, lengths, device, judge=judge, plan=plans(config, device)[-1]).total
        changes = smaller(shape, config, lengths, device, int(min(this_machine.free, needed * _LESS)), judge)
    if not changes:
        return "Use a smaller model, or end what else holds memory."
    return f"These settings would fit: {as_settings(changes)}"


def judge_of(config: RunConfig, runs: Path) -> Judge | None:
    """The model of the run, one of those in `runs`, that gives the reward; None where there is none, or none known."""
    try:
        named = parse_reward(config.reward) if config.facts.online else None
        if not isinstance(named, RunReward):
            return None
        judge = RunFolder(runs / named.run).record().config
        return Judge(shape_of(judge.model), judge)
    except WorkbenchError:
        return None


def as_settings(changes: dict[str, Any]) -> str:
    """The changes as options of the command line."""
    return " ".join(f"--set {key}={value}" for key, value in changes.items())


def _candidates(config: RunConfig, lengths: Lengths) -> Iterator[dict[str, Any]]:
    """Changes to try, each larger than those before it."""
    if uses(config.method, "checkpointing") and config.checkpointing not in ("auto", "all"):
        yield {"checkpointing": "auto"}
    parts = [n for n in range(config.gradient_accumulation, config.batch_size + 1) if config.batch_size % n == 0]
    most: dict[str, Any] = {"gradient_accumulation": parts[-1]} if parts[-1] != config.gradient_accumulation else {}
    yield from ({"gradient_accumulation": n} for n in parts[1:])
    if config.quantization != "nf4":
        yield {"quantization": "nf4"}
        yield from ({"quantization": "nf4", "gradient_accumulation": n} for n in parts[1:])
        most = {"quantization": "nf4"} | most
    length = min(lengths.longest, config.max_length) // 2
    while length >= _SHORTEST:
        yield most | {"max_length": length}
        length //= 2
