"""One forward of pairs whose rows share their prompt, and the proof at the start that this model can do it."""

from __future__ import annotations

import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial, wraps
from typing import Any

import torch
from torch import Tensor

from workbench.console import note, show_traceback
from workbench.engine.fast.attention import KERNEL, block_mask, padded_mask, row_masks
from workbench.engine.fast.decoder import Decoder
from workbench.engine.fast.head import Head, TokenScores, token_logps, token_scores
from workbench.engine.fast.pair_rows import PairRows, packed, padded
from workbench.engine.model.inference import asking
from workbench.engine.model.token_ids import PairIds
from workbench.runs.activation_memory import LINE_MULTIPLE

_TOLERANCE = {torch.float32: 1e-4}
_SCALES = ("logit_scale", "output_multiplier", "lm_head_multiplier")
_LOOSE = 2e-2
"""Relative difference of log-probabilities from those of plain rows, at half precision."""


class RowLayout(StrEnum):
    """How rows lie, and which kernel reads them."""

    FLEX = "one line, FlexAttention"
    LINE = "one line, an attention a row"
    LINES = "a line a pair, a mask"


class UnsuitableError(Exception):
    """The model cannot take rows that share their prompt; says why."""


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
        if layout is not RowLayout.LINES:
            self._base.set_attn_implementation(KERNEL)
        self.decoder = Decoder(self._base) if layout is RowLayout.LINE and Decoder.suits(self._base) else None

    def rows(self, pairs: Sequence[PairIds]) -> PairRows:
        """The rows of `pairs`, which are cut already, on the model's device."""
        if self.layout is RowLayout.LINES:
            rows = padded(pairs)
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
        states = _states(self._base, rows, self.layout) if self.decoder is None else self.decoder(rows)
        return score(_head(self._base), states, rows.targets)


def suited(base: Any, pairs: Sequence[PairIds]) -> tuple[RowLayout, str]:
    """The fastest layout that gives `pairs` the log-probabilities that plain rows give them, on this very model.

    The text says why no faster one does; it is empty for the fastest. The log (stderr) has it with its traceback.

    `pairs`, cut already, should be the longest: what goes wrong with length, as a sliding window does, shows in them.
    Raises `UnsuitableError` where there is none. `base` has no adapter yet, and is left as it was.
    """
    _check(base)
    before, refusals = base.config._attn_implementation, list[str]()
    layouts = [RowLayout.FLEX if base.device.type == "cuda" else RowLayout.LINE, RowLayout.LINES]
    if before == "eager":
        refusals.append(f"{layouts.pop(0)}: the model's own attention is eager")
    with asking(base):
        expected = _plain(base, pairs)
        for layout in layouts:
            try:
                forward = PairForward(base, layout)
                worst = _difference(forward.sums(forward.rows(pairs)), expected)
                if worst <= _TOLERANCE.get(base.dtype, _LOOSE):
                    return layout, "; ".join(refusals)
                reason = f"log-probabilities differ by {worst:.1%} from those of plain rows"
            except Exception as error:
                reason = next(iter(str(error).splitlines()), type(error).__name__)
                show_traceback(error)
            finally:
                base.set_attn_implementation(before)
            refusals.append(f"{layout}: {reason}")
            note(f"Shared prompts do not fit the model as {refusals[-1]}")
    raise UnsuitableError("; ".join(refusals))


def _check(base: Any) -> None:
    head, config = base.get_output_embeddings(), base.config.get_text_config()
    if not isinstance(head, torch.nn.Linear) or not head.weight.is_floating_point():
        raise UnsuitableError("its output layer is quantized or of a kind of its own")
    if getattr(config, "output_router_logits", False) and getattr(config, "router_aux_loss_coef", 0.0):
        raise UnsuitableError("a loss of their own balances its experts")


def _difference(sums: Tensor, expected: Tensor) -> float:
    difference = ((sums - expected).abs() / expected.abs().clamp(min=1.0)).max()
    return float(difference) if bool(difference.isfinite()) else float("inf")


def _plain(model: Any, pairs: Sequence[PairIds]) -> Tensor:
    """(2, B): log-probabilities of chosen and of rejected by the model's own forward, a row at a time."""
    chosen = [_plain_sum(model, pair.prompt, pair.chosen) for pair in pairs]
    rejected = [_plain_sum(model, pair.prompt, pair.rejected) for pair in pairs]
    return torch.stack([torch.stack(chosen), torch.stack(rejected)])


def _plain_sum(model: Any, prompt: Sequence[int], response: Sequence[int]) -> Tensor:
    ids = torch.tensor([[*prompt, *response]], device=model.device)
    keep = min(len(response) + 1, ids.shape[1])
    logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False, logits_to_keep=keep).logits
    logps = logits[0, :-1].float().log_softmax(-1)
    return logps.gather(-1, ids[0, 1 - keep :, None]).sum() if keep > 1 else logps.new_zeros(())


def _teach(base: Any) -> None:
    """Lets the model take `read_pairs`, so that launchers and adapters see one call like any other."""
    own = base.forward

    @wraps(own)
    def forward(_: Any, *arguments: Any, read_pairs: Callable[[], Any] | None = None, **named: Any) -> Any:
        return own(*arguments, **named) if read_pairs is None else read_pairs()

    if not hasattr(own, "takes_pairs"):
        base.forward = types.MethodType(forward, base)
        base.forward.__func__.takes_pairs = True


def _states(base: Any, rows: PairRows, layout: RowLayout) -> Tensor:
    """(N, H): the states that predict the response tokens."""
    masks = dict[str, Any]()
    if layout is RowLayout.FLEX:
        masks["attention_mask"] = block_mask(rows)
    elif layout is RowLayout.LINES:
        masks["attention_mask"] = padded_mask(rows, base.dtype)
    else:
        masks["pair_masks"] = row_masks(rows, base.dtype)
        # A mask that is made already keeps the model from making one of its own, of all tokens by all tokens.
        masks["attention_mask"] = rows.ids.new_zeros((1, 1, 1, 1))
    outputs = base.base_model(input_ids=rows.ids, position_ids=rows.positions, use_cache=False, **masks)
    states: Tensor = outputs.last_hidden_state
    return states.reshape(-1, states.shape[-1])[rows.predictors]


def _sums(rows: PairRows, logps: Tensor) -> Tensor:
    return logps.new_zeros((2, len(rows.parts))).index_add(1, rows.pairs, rows.sides * logps)


def _head(base: Any) -> Head:
    """The output layer with what the families do to logits; the names are those of their configs."""
    layer, config = base.get_output_embeddings(), base.config.get_text_config()
    scale = next((value for name in _SCALES if (value := getattr(config, name, None)) is not None), 1.0)
    if getattr(config, "logits_scaling", None) is not None:
        scale = 1 / config.logits_scaling
    return Head(layer.weight, layer.bias, float(scale), getattr(config, "final_logit_softcapping", None))
