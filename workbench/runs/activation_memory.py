"""What one pass of a micro-batch through the model holds, for each way that rows can lie. Bytes, from shapes alone.

*Plain* rows, as TRL has them: prompt and response, padded to the longest; of a pair two, of grpo and rloo one an
answer. TRL's output layer scores 4,096 positions by 32,768 tokens of the vocabulary at once; on CUDA its kernel works
in place, on the response tokens only, elsewhere torch holds eight such tiles and scores all tokens.

*Shared* rows, those of the fast path: of a pair one, prompt, chosen, rejected, in as many micro-batches as its budget
of tokens makes of them (`TOKEN_BUDGET`); shorter pairs fill it up where longer ones do not. A step of a little
more than the budget is shared out evenly and needs less: more pairs are never to seem cheaper. On the CPU every row has
an attention of its own, with a mask of its size, keys and values for every head, and what it gives is put together once
more; on CUDA FlexAttention has neither, but lines end at a multiple of 128 tokens. The output layer goes tile by
tile, two of them at a time, and keeps a state's width for each response token: no logits, and no second pass of a
reference beside what is kept.

*Apart*: the same loop with a line a response, prompt and all, for a model that carries a state along its rows. A trial
on the longest pairs says which it is; a model that takes neither shared rows nor these trains on plain ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from workbench.config import RunConfig
from workbench.methods import uses
from workbench.runs.model_shape import Shape

Device = Literal["cuda", "cpu"]
Rows = Literal["shared", "apart", "plain"]
"""How rows lie, as told above."""

FLOAT = 4
_TILE_POSITIONS, _TILE_VOCABULARY = 4096, 32768
_TORCH_TILES = 8.25
"""Tiles that the backward of TRL's output layer holds in torch: eight of numbers, one of truth values."""
TOKEN_BUDGET: Mapping[str, int] = {"cpu": 4096, "cuda": 16384}
"""Tokens of shared rows that go through the model at once, where memory allows: more gain nothing on the device."""
TILE_BYTES: Mapping[str, int] = {"cpu": 4 * 2**20, "cuda": 512 * 2**20}
"""Of a tile's logits in float32: on the CPU it should fit into the cache, on CUDA keep the device busy."""
LINE_MULTIPLE = 128
"""Tokens of a block of FlexAttention's mask, of which a line is a multiple: 2% of the tokens of 16 hh pairs are
padding, and its kernel is compiled six times in all, whatever the lengths."""
MASK_MULTIPLE = 512
"""Tokens that the width of a causal mask which is kept is a multiple of."""
KEPT_WEIGHTS = 16 * 2**20
"""Adapted weights of a model, at most, that the fast path on the CPU keeps unpacked."""
KEPT_WEIGHT_BYTES = 8
"""Of such a weight: it is there as it is and transposed, in float32."""
REWARD_LOGITS = 2**26
"""Logits that an implicit reward computes at once at most: 256 MiB, and as much again as log-probabilities."""
_CHOICE = 8
"""Numbers of 4 bytes that tell one expert of a token: its number and three places, each in 8 bytes."""
_PLAIN_NORMS = 2
"""Of a layer's stream: one before attention, one before the feed-forward part."""
_TILES: dict[Device, float] = {"cpu": 8.0, "cuda": 3.0}
"""Such tiles at a time: logits, probabilities, on CUDA their product too; on the CPU in each of four lanes."""


@dataclass(frozen=True, slots=True)
class Lengths:
    """Tokens of the longest training pairs, cut to the limit.

    `longest`: of prompt and response together, over both sides. `responses`: of both responses of a pair. `row`: of a
    prompt with both responses. Of grpo and rloo, `longest` has an answer of the most tokens, and so have the others.
    """

    longest: int
    responses: int
    row: int

    @classmethod
    def at_most(cls, max_length: int) -> Lengths:
        """Before anything is counted."""
        return cls(max_length, 2 * max_length, 2 * max_length)

    def cut(self, max_length: int) -> Lengths:
        """At most what a lower limit would leave."""
        most = Lengths.at_most(max_length)
        return Lengths(min(self.longest, most.longest), min(self.responses, most.responses), min(self.row, most.row))


def shares_prompts(config: RunConfig) -> bool:
    """Whether rows share their prompt: on the fast path, which a model that it does not fit leaves for plain rows."""
    return config.fast and uses(config.method, "fast")


def plain_parts(config: RunConfig, longest: int, device: str) -> int:
    """Into how many micro-batches a step of plain rows goes in place of shared ones: as many as hold no more tokens at
    once than those would have."""
    fitting = (
        count
        for count in range(config.gradient_accumulation, config.batch_size + 1)
        if config.batch_size % count == 0 and 2 * longest * (config.batch_size // count) <= TOKEN_BUDGET[device]
    )
    return next(fitting, config.batch_size)


@dataclass(frozen=True, slots=True)
class Pass:
    """The largest micro-batch: `tokens` in rows of up to `width`, and `positions` that are scored."""

    shape: Shape
    config: RunConfig
    device: Device
    width: int
    tokens: int
    positions: int
    rows: Rows

    @classmethod
    def of(
        cls, shape: Shape, config: RunConfig, lengths: Lengths, device: Device, budget: int, rows: Rows | None = None
    ) -> Pass:
        """That of the config's run, with so many tokens at once; `rows`: None for what is tried first."""
        part = config.batch_size // config.gradient_accumulation
        if rows == "apart":
            both = 2 * lengths.longest
            tokens = min(part * both, max(both, budget))
            positions = -(-tokens * min(lengths.responses, both) // both)
            return cls(shape, config, device, lengths.longest, tokens, positions, rows)
        if shares_prompts(config):
            tokens = min(part * lengths.row, max(lengths.row, budget))
            positions = -(-tokens * min(lengths.responses, lengths.row) // lengths.row)
            if device == "cuda":
                tokens = -(-tokens // LINE_MULTIPLE) * LINE_MULTIPLE
            return cls(shape, config, device, lengths.row, tokens, positions, "shared")
        tokens = (part if config.facts.online else 2 * part) * lengths.longest
        answers = part * (config.completion_tokens if config.facts.online else lengths.responses)
        positions = min(tokens, answers) if device == "cuda" else tokens
        return cls(shape, config, device, lengths.longest, tokens, positions, "plain")

    @property
    def number(self) -> int:
        """Bytes of a number in the forward: bfloat16 on CUDA, float32 elsewhere."""
        return number_bytes(self.device)

    def layers(self) -> list[int]:
        """What each decoder layer keeps for the backward."""
        shape = self.shape
        return [self._layer(sparse=True)] * shape.sparse + [self._layer()] * (shape.layers - shape.sparse)

    def _layer(self, *, sparse: bool = False) -> int:
        shape, config = self.shape, self.config
        adapted = [linear.name for linear in shape.adapted(config.target_modules)]
        # A frozen matrix keeps nothing: what it reads is kept for the adapter beside it.
        read = shape.hidden * bool({"q_proj", "k_proj", "v_proj"}.intersection(adapted))
        read += shape.hidden * bool({"gate_proj", "up_proj"}.intersection(adapted))
        read += shape.intermediate * ("down_proj" in adapted)
        feed_forward = (3 if shape.gated else 1) * (
            shape.used * shape.expert + shape.shared if sparse else shape.intermediate
        )
        if sparse:
            # What experts give, before it is weighed and put in the order of tokens.
            feed_forward += shape.used * shape.hidden
        numbers = read + self._attention() + feed_forward
        if not self._recomputes():
            numbers += config.lora_r * len(adapted)
        in_float = shape.norms * shape.hidden + shape.heads
        if shape.normed_heads:
            in_float += shape.query + shape.key
        if sparse:
            in_float += shape.experts + _CHOICE * shape.used
        scores = 0
        if config.attention == "eager":
            # Only that kernel holds the attention matrix: what the softmax gives, on CUDA cast to half as well.
            scores = self.tokens * shape.heads * self.width * (FLOAT + (2 if self.device == "cuda" else 0))
        return self.tokens * (numbers * self.number + in_float * FLOAT) + scores

    def _recomputes(self) -> bool:
        """Whether what an adapter's first matrix gives is computed again in the backward: `engine.fast.lora` does."""
        return self.rows != "plain" and self.device == "cpu"

    def _attention(self) -> int:
        """Numbers a token: queries, keys, values and what attention gives, as its kernel takes them."""
        query, key = self.shape.query, self.shape.key
        if self.rows == "shared" and self.device == "cpu":
            return 5 * query
        # With padding on CUDA, keys and values are repeated for every query head.
        return 2 * query + 2 * (query if self.device == "cuda" and self.rows == "plain" else key)

    def beside_layers(self) -> int:
        """What is kept besides: the last layer's stream and its norm; masks, and what scored positions passed on."""
        size = self.tokens * 2 * self.shape.hidden * self.number
        if self.rows != "plain":
            size += self.positions * self.shape.hidden * self.number
            if self.rows == "shared" and self.device == "cpu":
                triangle = -(-self.width // MASK_MULTIPLE) * MASK_MULTIPLE
                size += (self.tokens * self.width + triangle**2) * FLOAT
        return size

    def output_layer(self) -> int:
        """The output layer at work. A reward model has a number an answer instead."""
        shape = self.shape
        if not self.config.facts.answers:
            return -(-self.tokens // self.width) * shape.hidden * self.number
        if self.rows != "plain":
            tile = (
                min(self.positions, max(1, TILE_BYTES[self.device] // (FLOAT * shape.vocabulary)))
                * shape.vocabulary
                * FLOAT
            )
            return int(tile * _TILES[self.device]) + self.positions * shape.hidden * self.number
        if self.device == "cuda":
            tile = min(self.positions, _TILE_POSITIONS) * _TILE_VOCABULARY * self.number
            # The hidden states of these positions, their gradient in float32, and that gradient cast.
            return tile + self.positions * shape.hidden * (2 * self.number + FLOAT)
        tile = min(self.positions, _TILE_POSITIONS) * min(shape.vocabulary, _TILE_VOCABULARY) * FLOAT
        return int(tile * _TORCH_TILES) + 2 * self.positions * shape.hidden * FLOAT

    def without_gradient(self) -> int:
        """A forward of which nothing is kept: one layer at a time."""
        streams = (2 + self.shape.used) * self.shape.hidden + 3 * self.shape.wide
        return self.tokens * streams * self.number + unpacked_bytes(self.shape, self.config.quantization, self.device)

    def backward(self) -> int:
        """What comes in one layer's backward beside what it keeps, which goes as gradients come.

        On CUDA: the stream's gradient, and of the feed-forward width two more than go: what the frozen matrix and the
        adapter pass on, and their sum. Where a norm comes first, that is at work before anything goes, in float32.
        """
        if self.device == "cuda":
            wide = self.tokens * self.shape.wide * self.number
            stream = self.tokens * self.shape.hidden
            unpacked = unpacked_bytes(self.shape, self.config.quantization, self.device)
            feed = stream * self.number + wide + max(wide, unpacked)
            return max(feed, stream * (5 * FLOAT + self.number)) if self.shape.norms > _PLAIN_NORMS else feed
        streams = (2 + self.shape.used) * self.shape.hidden * FLOAT + 2 * self.shape.wide * self.number
        return self.tokens * streams + unpacked_bytes(self.shape, self.config.quantization, self.device)


def number_bytes(device: Device) -> int:
    """Bytes of a number in the forward: bfloat16 on CUDA, float32 elsewhere."""
    return 2 if device == "cuda" else 4


def unpacked_bytes(shape: Shape, quantization: str, device: Device) -> int:
    """The largest matrix as plain numbers, which is made of the quantized one for every use."""
    if quantization == "none":
        return 0
    experts = 0
    if quantization == "nf4" and shape.sparse:
        experts = shape.experts * shape.hidden * shape.expert * (shape.matrices - 1)
    return max(experts, *(linear.weights for linear in shape.linears)) * number_bytes(device)
