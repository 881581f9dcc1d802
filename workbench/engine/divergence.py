"""How far the policy has gone from where it began: KL(policy ‖ start), exact over the vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from workbench.engine.modes import as_reference, asking
from workbench.engine.tokens import PairIds

PAIRS = 8
"""Pairs it is measured on."""
_LOGITS_BYTES = 128 * 1024**2
"""Upper bound of one model's float32 logits that are held at once."""


@dataclass(frozen=True, slots=True)
class _Batch:
    """`ids` and `mask` (B, L), padded on the right; `response` (B, L − 1) is 1 where the next token is a response's."""

    ids: Tensor
    mask: Tensor
    response: Tensor


class Divergence:
    """Measures at the places of both responses of the first pairs, `batch` pairs at once, cut as in training."""

    def __init__(self, pairs: Sequence[PairIds], max_length: int, batch: int) -> None:
        pairs = pairs[:PAIRS]
        parts = [pairs[begin : begin + batch] for begin in range(0, len(pairs), batch)]
        self._batches = [_padded(part, max_length) for part in parts]

    def __bool__(self) -> bool:
        return bool(self._batches)

    def __call__(self, model: Any) -> float:
        """Nats a token, in float32. Where it began is what `as_reference` has, for methods without a reference too."""
        total, places = 0.0, 0
        with asking(model):
            for batch in self._batches:
                found, count = _of_batch(model, batch)
                total, places = total + found, places + count
        return total / max(places, 1)


def _of_batch(model: Any, batch: _Batch) -> tuple[float, int]:
    """The sum over the response places, and how many they are."""
    ids, mask, response = (each.to(model.device) for each in (batch.ids, batch.mask, batch.response))
    places = response.any(0).nonzero()[:, 0]
    width = max(1, _LOGITS_BYTES // (4 * len(ids) * int(model.config.get_text_config().vocab_size)))
    total = 0.0
    for part in places.split(width):
        policy = _logprobs(model, ids, mask, part)
        with as_reference(model):
            reference = _logprobs(model, ids, mask, part)
        divergence = (policy.exp() * (policy - reference)).sum(-1)
        total += float((divergence * response[:, part]).sum())
    return total, int(response.sum())


def _logprobs(model: Any, ids: Tensor, mask: Tensor, places: Tensor) -> Tensor:
    """Log-probabilities, (B, places, vocabulary) in float32, of the token after each of `places`."""
    logits = model(input_ids=ids, attention_mask=mask, use_cache=False, logits_to_keep=places).logits
    return torch.log_softmax(logits.float(), dim=-1)


def _padded(pairs: Sequence[PairIds], max_length: int) -> _Batch:
    rows = [
        (len(pair.prompt), [*pair.prompt, *side][:max_length])
        for pair in pairs
        for side in (pair.chosen, pair.rejected)
    ]
    width = max(len(row) for _, row in rows)
    ids, mask, response = (torch.zeros((len(rows), width), dtype=torch.long) for _ in range(3))
    for line, (prompt, row) in enumerate(rows):
        ids[line, : len(row)] = torch.tensor(row)
        mask[line, : len(row)] = 1
        response[line, max(prompt - 1, 0) : len(row) - 1] = 1
    return _Batch(ids, mask, response[:, :-1])
