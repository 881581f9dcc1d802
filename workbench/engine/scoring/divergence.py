"""How far a run has gone from its base at the places of given responses: KL(run ‖ base), exact over the vocabulary."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from workbench.engine.model.inference import Ids, Model, batches

_LOGITS_BYTES = 64 * 1024**2
"""Upper bound of one model's float32 logits that are held at once; a few times that is needed."""


@torch.inference_mode()
def drift(
    base: Callable[[], Model], run: Callable[[], Model], rows: Sequence[tuple[Ids, Ids]], vocabulary: int
) -> list[float]:
    """Nats, summed over the places of the response, of every (prompt, response).

    `base` and `run` switch to a model and return it: there is one copy of the weights. No prompt may be empty.
    """
    found = [0.0] * len(rows)
    for batch in batches(rows, vocabulary, max(1, _LOGITS_BYTES // (4 * vocabulary))):
        width = max(len(rows[index][0]) + len(rows[index][1]) for index in batch)
        keep = width - min(len(rows[index][0]) for index in batch) + 1
        ids = torch.zeros((len(batch), width), dtype=torch.long)
        mask = torch.zeros_like(ids)
        for line, index in enumerate(batch):
            whole = [*rows[index][0], *rows[index][1]]
            ids[line, : len(whole)] = torch.tensor(whole)
            mask[line, : len(whole)] = 1
        reference, policy = (_logprobs(model(), ids, mask, keep) for model in (base, run))
        divergence = (policy.exp() * (policy - reference)).sum(-1, dtype=torch.float64)
        for line, index in enumerate(batch):
            start = len(rows[index][0]) - (width - keep) - 1
            found[index] = max(divergence[line, start : start + len(rows[index][1])].sum().item(), 0.0)
    return found


def _logprobs(model: Model, ids: Tensor, mask: Tensor, keep: int) -> Tensor:
    """Log-probabilities, (rows, keep − 1, vocabulary) in float32, of what follows the last `keep` places but one."""
    ids, mask = ids.to(model.device), mask.to(model.device)
    logits = model(input_ids=ids, attention_mask=mask, use_cache=False, logits_to_keep=keep).logits
    return torch.log_softmax(logits[:, :-1].float(), dim=-1)
