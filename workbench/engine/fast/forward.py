"""One forward of pairs whose rows share their prompt."""

from __future__ import annotations

import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial, wraps
from typing import Any

import torch
from torch import Tensor

from workbench.engine.fast.attention import KERNELS, PairMasks, block_mask, padded_mask, row_masks
from workbench.engine.fast.decoder import Decoder
from workbench.engine.fast.head import Head, TokenScores, finishing, token_logps, token_scores
from workbench.engine.fast.pair_rows import PairRows, apart, packed, padded, row_parts
from workbench.engine.model.token_ids import PairIds
from workbench.runs.activation_memory import LINE_MULTIPLE


class RowLayout(StrEnum):
    """How rows lie, and which kernel reads them."""

    FLEX = "one line, FlexAttention"
    LINE = "one line, an attention a row"
    LINES = "a line a pair, a mask"
    APART = "a line a response"

    @property
    def pads(self) -> bool:
        """Whether rows are as wide as the longest of them."""
        return self in (RowLayout.LINES, RowLayout.APART)

    def size(self, pair: PairIds) -> int:
        """Tokens of a pair's lines, without padding to other pairs."""
        parts = row_parts(pair)
        return parts.total if self is not RowLayout.APART else 2 * (parts.trunk + max(parts.chosen, parts.rejected))


@dataclass(frozen=True, slots=True)
class PairOutputs:
    """What a model gives B pairs: `sums` (2, B) are the log-probabilities of chosen and of rejected, in nats, with a
    gradient where there is one; `rows` are those that were read and `scores` those of their N response tokens."""

    sums: Tensor
    rows: PairRows
    scores: TokenScores


class PairForward:
    """Runs pairs through `model`, a causal language model or a PeftModel around one, with its rows in `layout`.

    Making one gives the model a forward of pairs besides its own, which stays what it was.
    """

    def __init__(self, model: Any, layout: RowLayout) -> None:
        self.model, self.layout = model, layout
        self._base = model.get_base_model() if hasattr(model, "get_base_model") else model
        _teach(self._base)
        if (kernel := _kernel(layout, self._base.config._attn_implementation)) is not None:
            self._base.set_attn_implementation(kernel)
        self.decoder = Decoder(self._base) if layout is RowLayout.LINE and Decoder.suits(self._base) else None

    def rows(self, pairs: Sequence[PairIds]) -> PairRows:
        """The rows of `pairs`, which are cut already, on the model's device."""
        if self.layout.pads:
            rows = padded(pairs) if self.layout is RowLayout.LINES else apart(pairs)
        else:
            rows = packed(pairs, LINE_MULTIPLE if self.layout is RowLayout.FLEX else 1)
        return rows.to(self._base.device)

    def __call__(self, rows: PairRows, wrapped: Any = None) -> PairOutputs:
        """The outputs of rows that `rows` made. `wrapped` is the model as a launcher wraps it."""
        scores: TokenScores = (wrapped or self.model)(read_pairs=partial(self._read, rows, token_scores))
        return PairOutputs(_sums(rows, scores.logps), rows, scores)

    def sums(self, rows: PairRows, wrapped: Any = None) -> Tensor:
        """(2, B): the log-probabilities of chosen and of rejected alone, without gradient."""
        with torch.no_grad():
            return _sums(rows, (wrapped or self.model)(read_pairs=partial(self._read, rows, token_logps)))

    def _read(self, rows: PairRows, score: Callable[[Head, Tensor, Tensor], Any]) -> Any:
        """What `score` gives the rows; called within the model's own forward."""
        by_hand = self.decoder is not None and rows.longest <= self.decoder.window
        states = self.decoder(rows) if self.decoder and by_hand else _states(self._base, rows, self.layout)
        return score(_head(self._base), states, rows.targets)


def _teach(base: Any) -> None:
    """Lets the model take `read_pairs`, so that launchers and adapters see one call like any other."""
    own = base.forward

    @wraps(own)
    def forward(_: Any, *arguments: Any, read_pairs: Callable[[], Any] | None = None, **named: Any) -> Any:
        return own(*arguments, **named) if read_pairs is None else read_pairs()

    if not hasattr(own, "takes_pairs"):
        base.forward = types.MethodType(forward, base)
        base.forward.__func__.takes_pairs = True


def _kernel(layout: RowLayout, own: str) -> str | None:
    """The attention that the model has to have; None where its `own` will do."""
    if layout in (RowLayout.FLEX, RowLayout.LINE):
        return KERNELS["eager" if own in ("eager", KERNELS["eager"]) else "sdpa"]
    # flash-attn takes no mask but of padding.
    return "sdpa" if layout is RowLayout.LINES and "flash" in own else None


def _states(base: Any, rows: PairRows, layout: RowLayout) -> Tensor:
    """(N, H): the states that predict the response tokens."""
    masks = dict[str, Any]()
    if layout is RowLayout.LINES:
        masks["attention_mask"] = _line_masks(base, rows)
    elif layout is not RowLayout.APART:
        make = partial(block_mask, rows) if layout is RowLayout.FLEX else partial(row_masks, rows, base.dtype)
        masks["pair_masks"] = PairMasks(make, rows.longest)
        # A mask that is made already keeps the model from making one of its own, of all tokens by all tokens.
        masks["attention_mask"] = rows.ids.new_zeros((1, 1, 1, 1))
    # Of a model that also sees or hears, the text's part alone: pairs are text.
    of_text = base.get_decoder() if base.config.get_text_config() is not base.config else base.base_model
    outputs = of_text(input_ids=rows.ids, position_ids=rows.positions, use_cache=False, **masks)
    states: Tensor = outputs.last_hidden_state
    return states.reshape(-1, states.shape[-1])[rows.predictors]


def _line_masks(base: Any, rows: PairRows) -> Tensor | dict[str, Tensor]:
    """(B, 1, L, L), for each type of layer where a model has several."""
    config = base.config.get_text_config()
    window, types = getattr(config, "sliding_window", None), set(getattr(config, "layer_types", None) or ())
    near = padded_mask(rows, base.dtype, window)
    if types == {"full_attention", "sliding_attention"}:
        return {"full_attention": padded_mask(rows, base.dtype), "sliding_attention": near}
    return near if types in (set(), {"sliding_attention"}) else padded_mask(rows, base.dtype)


def _sums(rows: PairRows, logps: Tensor) -> Tensor:
    return logps.new_zeros((2, len(rows.parts))).index_add(1, rows.pairs, rows.sides * logps)


def _head(base: Any) -> Head:
    layer = base.get_output_embeddings()
    return Head(layer.weight, layer.bias, *finishing(base))
