"""The pairs of an optimizer step, and what is noted as their micro-batches go through the model."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from workbench.engine.fast.forward import PairOutputs
from workbench.engine.methods.losses import PairLogps
from workbench.engine.model.token_ids import PairIds


class Batch:
    """B pairs, cut already, that have these `indices` in their data set.

    Each of `micro_batches` has the positions of its pairs in the batch; `reference` (2, B) is None where there is none.
    `tokens_read` counts as TRL does, which reads the prompt twice.

    `sums` (2, B) are filled by `note`: the log-probabilities of chosen and rejected, without gradient.
    """

    def __init__(
        self,
        indices: Sequence[int],
        pairs: Sequence[PairIds],
        micro_batches: Sequence[list[int]],
        reference: Tensor | None,
        device: torch.device,
    ) -> None:
        self.indices, self.pairs, self.micro_batches, self.reference = indices, pairs, micro_batches, reference
        self.tokens_read = sum(2 * len(pair.prompt) + len(pair.chosen) + len(pair.rejected) for pair in pairs)
        lengths = [[len(pair.chosen) for pair in pairs], [len(pair.rejected) for pair in pairs]]
        self.lengths = torch.tensor(lengths, device=device)
        self.sums = torch.zeros((2, len(pairs)), device=device)
        self._tokens = sum(lengths[0]) / len(pairs)
        self._totals = torch.zeros((4,), device=device)
        self._counts = torch.zeros((4,), device=device)

    def logps(self, sums: Tensor, positions: Sequence[int] | slice = slice(None)) -> PairLogps:
        """What the losses take of the pairs at `positions`, whose sums (2, n) these are."""
        lengths = self.lengths[:, positions]
        chosen, rejected = (None, None) if self.reference is None else self.reference[:, positions]
        return PairLogps(sums[0], sums[1], lengths[0], lengths[1], chosen, rejected, tokens_a_pair=self._tokens)

    def note(self, micro_batch: Sequence[int], outputs: PairOutputs) -> None:
        """Keeps of a micro-batch what the metrics need."""
        scores, (chosen, rejected) = outputs.scores, outputs.rows.sides
        self.sums[:, micro_batch] = outputs.sums.detach()
        both = chosen + rejected
        values = torch.stack([scores.mean_logits, scores.mean_logits, scores.is_top1, scores.entropy])
        weights = torch.stack([chosen, rejected, chosen, both])
        self._totals += (values * weights).sum(1)
        self._counts += weights.sum(1)

    def token_means(self) -> Tensor:
        """(4,): the mean logit at tokens of chosen, at those of rejected, the share of chosen's tokens that were the
        likeliest ones, and the entropy at tokens of both."""
        return self._totals / self._counts.clamp(min=1)
