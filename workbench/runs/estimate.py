"""How much memory and disk a run will take, by part, from the model's shape and the run's settings. No torch.

What is in memory while a run trains, at the worst moment of a step (checked against measured peaks, within 15%:
`tests/faults/test_estimate.py` on the CPU, `tests/gpu/test_estimate.py` on CUDA):

*Always there.* The base's weights: 4-bit NF4 takes half a byte a weight, one byte every 64 weights for their scale
(double quantization) and four bytes every 256 of those; int8 one byte, and four a row; embeddings, output layer and
norms are never quantized. The adapter in float32, its gradient, and AdamW's two moments.

*Activations*, which the forward keeps for the backward. Only adapters train, so a frozen matrix keeps nothing of its
own; but what an adapter reads is kept. A token and decoder layer: the stream before each of two norms (in float32), the
two normed streams, queries, keys, values, what attention gives, four times the feed-forward width (gate, its
activation, up, their product), and `lora_r` an adapter; less where fewer layers have adapters. With gradient
checkpointing (on CUDA): the stream alone for every layer, and all of it for the one layer that is computed again.

*One of these at a time*, so that only the largest counts. The output layer's tiles: TRL scores 4,096 places by 32,768
tokens of the vocabulary at once; on CUDA its kernel works in place, on the response tokens only, elsewhere torch holds
eight such tiles and scores all tokens. The reference's forward, of which one layer is there at a time. The backward of
one layer.

*Micro-batch.* Chosen and rejected of `batch_size / gradient_accumulation` pairs, all padded to the longest of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from workbench.config import RunConfig
from workbench.runs.shape import Shape

Device = Literal["cuda", "cpu"]

_FLOAT, _MOMENTS = 4, 2
_NF4_WEIGHT = 0.5 + 1 / 64 + 4 / (64 * 256)
_TILE_PLACES, _TILE_VOCABULARY = 4096, 32768
_TORCH_TILES = 8.25
"""Tiles that the backward of the output layer holds in torch: eight of numbers, one of truth values."""
_HELD = {"nf4": "4 bits", "int8": "8 bits", "none": "full"}
_LIBRARIES: dict[Device, int] = {"cpu": 650 * 2**20, "cuda": 600 * 2**20}
"""A worker before it has a model: Python, torch and the rest; on CUDA the context and the kernels on the device."""
_ROOM: dict[Device, float] = {"cpu": 1.5, "cuda": 1.06}
"""What the allocator holds for each byte that is in use. On CUDA blocks are rounded up. On the CPU the C library keeps
freed blocks of a few MiB for another use: 1.2 to 1.8 were seen, more where lengths differ much; handing each block back
at once (MALLOC_MMAP_THRESHOLD_) gives 1.0 and costs a quarter of the speed."""


@dataclass(frozen=True, slots=True)
class Lengths:
    """Tokens of prompt and response together, over both sides of the training pairs, cut to the limit.

    `responses` is the most that the longest pair's two responses have together; what is not known is taken as the most
    it can be.
    """

    longest: int
    responses: int

    @classmethod
    def at_most(cls, max_length: int) -> Lengths:
        """Before anything is counted."""
        return cls(max_length, 2 * max_length)


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the memory. `counts` is False for what gives way to something larger at the worst moment."""

    name: str
    bytes: int
    counts: bool = True


@dataclass(frozen=True, slots=True)
class Estimate:
    """Bytes on the device at the worst moment of a run, by part."""

    device: Device
    parts: tuple[Part, ...]
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
    shape: Shape, config: RunConfig, lengths: Lengths, device: Device, *, checkpointing: bool | None = None
) -> Estimate:
    """The memory that the run needs on `device`. Gradient checkpointing: None for what the worker does there."""
    adapter = adapter_weights(shape, config) * _FLOAT
    layer = _layer(shape, config, lengths, device)
    backward = _backward(shape, config, lengths, device)
    if device == "cuda" if checkpointing is None else checkpointing:
        kept, backward = shape.layers * tokens(config, lengths) * shape.hidden * _width(device), backward + layer
    else:
        kept = shape.layers * layer
    kept += tokens(config, lengths) * 2 * shape.hidden * _width(device)
    if device == "cuda":
        kept += adapter // 2  # Under autocast the adapter is there once more, in bfloat16.
    moments = {
        "logits": _output_layer(shape, config, lengths, device),
        "reference pass": _reference(shape, config, lengths, device),
        "backward": backward,
    }
    worst = max(moments, key=lambda name: moments[name])
    parts = [
        Part("weights in " + _HELD[config.quantization], _quantized(shape, config, device)),
        Part("weights not quantized", shape.exact * _width(device)),
        Part("adapter", adapter),
        Part("gradients", adapter),
        Part("optimizer", adapter * _MOMENTS),
        Part("activations", kept),
        *(Part(name, size, name == worst) for name, size in moments.items()),
    ]
    return Estimate(device, tuple(parts), _LIBRARIES[device])


def adapter_weights(shape: Shape, config: RunConfig) -> int:
    """Weights of the adapter: two matrices of rank `lora_r` beside every layer that gets one."""
    adapted = shape.adapted(config.target_modules)
    return shape.layers * config.lora_r * sum(each.inputs + each.outputs for each in adapted)


def disk(shape: Shape, config: RunConfig) -> tuple[int, int]:
    """Bytes that the checkpoints and the adapter will take.

    A checkpoint has the adapter, two moments for each of its weights and the tokenizer. One more than are kept is there
    for a moment: the oldest is deleted when a newer one is whole.
    """
    adapter = adapter_weights(shape, config) * _FLOAT
    checkpoint = adapter * (1 + _MOMENTS) + shape.tokenizer_bytes
    return checkpoint * (config.keep_checkpoints + 1), adapter + shape.tokenizer_bytes


def tokens(config: RunConfig, lengths: Lengths) -> int:
    """Tokens of a micro-batch of the longest pairs, padding included."""
    return 2 * (config.batch_size // config.gradient_accumulation) * lengths.longest


def _width(device: Device) -> int:
    """Bytes of a number in the forward: bfloat16 on CUDA, float32 elsewhere."""
    return 2 if device == "cuda" else 4


def _quantized(shape: Shape, config: RunConfig, device: Device) -> int:
    if config.quantization == "nf4":
        return int(shape.quantized * _NF4_WEIGHT)
    if config.quantization == "int8":
        return shape.quantized + shape.layers * _FLOAT * sum(each.outputs for each in shape.linears)
    return shape.quantized * _width(device)


def _layer(shape: Shape, config: RunConfig, lengths: Lengths, device: Device) -> int:
    """What one decoder layer keeps for the backward."""
    count, width = tokens(config, lengths), _width(device)
    adapted = [each.name for each in shape.adapted(config.target_modules)]
    # A frozen matrix keeps nothing: what it reads is kept for the adapter beside it.
    read = shape.hidden * bool({"q_proj", "k_proj", "v_proj"}.intersection(adapted))
    read += shape.hidden * bool({"gate_proj", "up_proj"}.intersection(adapted))
    read += shape.intermediate * ("down_proj" in adapted)
    attention = 2 * shape.query + 2 * _heads_for_attention(shape, device)
    feed_forward = (3 if shape.gated else 1) * shape.intermediate
    numbers = read + attention + feed_forward + config.lora_r * len(adapted)
    in_float = 2 * shape.hidden + shape.heads
    return count * (numbers * width + in_float * _FLOAT) + _scores(shape, config, lengths, device)


def _heads_for_attention(shape: Shape, device: Device) -> int:
    """Width of the keys as attention takes them: with padding on CUDA they are repeated for every query head."""
    return shape.query if device == "cuda" else shape.key


def _scores(shape: Shape, config: RunConfig, lengths: Lengths, device: Device) -> int:
    """The attention matrix, which only the eager kernel holds: its scores before and after the softmax."""
    if config.attention != "eager":
        return 0
    rows = 2 * config.batch_size // config.gradient_accumulation
    return rows * shape.heads * lengths.longest**2 * (_FLOAT + _width(device))


def _output_layer(shape: Shape, config: RunConfig, lengths: Lengths, device: Device) -> int:
    if device == "cuda":
        places = min(tokens(config, lengths), config.batch_size // config.gradient_accumulation * lengths.responses)
        tile = min(places, _TILE_PLACES) * _TILE_VOCABULARY * _width(device)
        # The hidden states of these places, their gradient in float32, and that gradient cast.
        return tile + places * shape.hidden * (2 * _width(device) + _FLOAT)
    places = tokens(config, lengths)
    tile = min(places, _TILE_PLACES) * min(shape.vocabulary, _TILE_VOCABULARY) * _FLOAT
    return int(tile * _TORCH_TILES) + 2 * places * shape.hidden * _FLOAT


def _reference(shape: Shape, config: RunConfig, lengths: Lengths, device: Device) -> int:
    streams = 2 * shape.hidden + 3 * shape.intermediate
    return tokens(config, lengths) * streams * _width(device) + _unpacked(shape, config, device)


def _backward(shape: Shape, config: RunConfig, lengths: Lengths, device: Device) -> int:
    """Two gradients of the feed-forward width at a time: what is kept goes as gradients come."""
    streams = 2 * shape.hidden * _FLOAT + 2 * shape.intermediate * _width(device)
    return tokens(config, lengths) * streams + _unpacked(shape, config, device)


def _unpacked(shape: Shape, config: RunConfig, device: Device) -> int:
    """The largest matrix as plain numbers, which is made of the quantized one for every use."""
    if config.quantization == "none":
        return 0
    return max(each.weights for each in shape.linears) * _width(device)
