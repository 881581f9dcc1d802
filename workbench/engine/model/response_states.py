"""What reaches a model's output layer at the tokens of responses: logits are made of it for some tokens at a time.

The logits of a batch are many times as large as all else that a forward holds, so that a large vocabulary allowed few
tokens a forward, or took a forward for each part of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from workbench.engine.fast.head import finished, finishing, tiles

_Used = TypeVar("_Used")


@dataclass(frozen=True, slots=True)
class OutputLayer:
    """The layer of a causal language model that makes logits, whatever it is; they are scaled, then squeezed."""

    layer: Any
    vocabulary: int
    scale: float
    softcap: float | None

    def logits(self, states: Tensor) -> Tensor:
        """(N, V) in float32, of states (N, H)."""
        # Not by a call: that would come back to the hook.
        return finished(self.layer.forward(states).float(), self.scale, self.softcap)

    def tiles(self, count: int, at_once: int = 1) -> Sequence[slice]:
        """So many states in parts, of which the logits take bounded memory, `at_once` times."""
        return tiles(count, self.vocabulary, next(self.layer.parameters()).device, at_once)


def response_states(
    model: Any, rows: Sequence[tuple[Sequence[int], Sequence[int]]], use: Callable[[OutputLayer, Tensor, Tensor], _Used]
) -> _Used:
    """What `use` makes of the output layer, the states (N, H) that predict the response tokens of all `rows`, row by
    row, and those tokens (N,).

    `rows` are prompts with responses; they go through the model at once, padded on the right. No prompt may be empty.
    `use` is called within the model's own forward, where its weights are whole, also when processes share them out.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    layer, used = base.get_output_embeddings(), list[_Used]()
    ids, mask, keep, spans = right_padded(rows, model.device)
    tokens = [token for _, response in rows for token in response]
    targets = torch.tensor(tokens, dtype=torch.long, device=model.device)
    places = [line * keep + place for line, span in enumerate(spans) for place in range(span.start, span.stop)]
    flat = torch.tensor(places, dtype=torch.long, device=model.device)

    def before(_layer: Any, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        states = inputs[0]
        found = states.reshape(-1, states.shape[-1])[flat]
        used.append(use(OutputLayer(layer, base.config.get_text_config().vocab_size, *finishing(base)), found, targets))
        return states[:, -1:], *inputs[1:]

    hook = layer.register_forward_pre_hook(before)
    try:
        model(input_ids=ids, attention_mask=mask, use_cache=False, logits_to_keep=keep)
    finally:
        hook.remove()
    return used[0]


def token_logprobs(layer: OutputLayer, states: Tensor, targets: Tensor) -> Tensor:
    """(N,) in float32: the log-probabilities of `targets` (N,)."""
    logprobs = states.new_empty((len(targets),), dtype=torch.float32)
    for tile in layer.tiles(len(targets)):
        logits = layer.logits(states[tile])
        logprobs[tile] = logits.gather(-1, targets[tile, None])[:, 0] - logits.logsumexp(-1)
    return logprobs


def right_padded(
    rows: Sequence[tuple[Sequence[int], Sequence[int]]], device: torch.device, pad: int = 0
) -> tuple[Tensor, Tensor, int, list[slice]]:
    """Ids and attention mask, each (rows, longest), and how many of the last positions need logits.

    The slices are where each row's response is among the positions that those logits, but for the last, predict.
    """
    width = max(len(prompt) + len(response) for prompt, response in rows)
    keep = width - min(len(prompt) for prompt, _ in rows) + 1
    ids = torch.full((len(rows), width), pad)
    mask = torch.zeros_like(ids)
    spans = []
    for line, (prompt, response) in enumerate(rows):
        tokens = [*prompt, *response]
        ids[line, : len(tokens)] = torch.tensor(tokens)
        mask[line, : len(tokens)] = 1
        first = len(prompt) - (width - keep) - 1
        spans.append(slice(first, first + len(response)))
    return ids.to(device), mask.to(device), keep, spans
