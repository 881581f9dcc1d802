"""The pairs of an optimizer step: what is noted of them, and how they go through the model in micro-batches.

As many tokens go through the model at once as pays, never more pairs than the user allows. A small model's operations
are too short to be shared out over cores: waking the other cores and waiting for them takes as long as the work, and
where something else runs, each wait is for a thread that is not running. So there each core takes pairs of its own from
end to end. What it computes does not depend on the others, so the numbers are the same in every run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from torch import Tensor

from workbench.engine.fast.forward import PairOutputs
from workbench.engine.fast.pair_rows import RowParts
from workbench.engine.methods.losses import PairLogps
from workbench.engine.model.token_ids import PairIds

_LONG = 2000
"""Tokens of a row whose attention takes a small model as long as all else."""
_MOST = 4
"""Lanes: Python's own work is done by one at a time, so more of them would wait for each other."""

_Given = TypeVar("_Given")
_Made = TypeVar("_Made")


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

    def begin_again(self, micro_batches: Sequence[list[int]]) -> None:
        """Forgets what was noted; the pairs go in other micro-batches."""
        self.micro_batches = micro_batches
        for noted in (self.sums, self._totals, self._counts):
            noted.zero_()

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


def micro_batches(sizes: Sequence[int], most: int, budget: int, *, padded: bool = False) -> list[list[int]]:
    """Indices of `sizes`, the tokens of each row, in parts of `most` rows and `budget` tokens at most.

    A row that alone is longer has a part for itself. `padded`: rows are as wide as the longest of their part, so those
    of similar length go together; otherwise they stay in order.
    """
    order = sorted(range(len(sizes)), key=lambda index: -sizes[index]) if padded else range(len(sizes))
    parts: list[list[int]] = []
    tokens = 0
    for index in order:
        wider = sizes[parts[-1][0]] * (len(parts[-1]) + 1) if parts and padded else tokens + sizes[index]
        if not parts or len(parts[-1]) == most or wider > budget:
            parts.append([])
            wider = sizes[index]
        parts[-1].append(index)
        tokens = wider
    return parts


def even_batches(rows: Sequence[RowParts], lanes: int, most: int, budget: int) -> list[list[int]]:
    """The same for `lanes` that work side by side, which together hold `most` rows and `budget` tokens at most: parts
    of about the same work, as many of them as a multiple of the lanes where there are rows enough."""
    at_once = max(1, most // lanes)
    rounds = max(-(-len(rows) // (lanes * at_once)), -(-sum(row.total for row in rows) // budget))
    limit = at_once if rounds > 1 else len(rows)
    parts: list[list[int]] = [[] for _ in range(min(rounds * lanes, len(rows)))]
    load, work = [0.0] * len(parts), [_work(row) for row in rows]
    for index in sorted(range(len(rows)), key=lambda index: -work[index]):
        free = [number for number, part in enumerate(parts) if len(part) < limit]
        lightest = min(free, key=load.__getitem__)
        parts[lightest].append(index)
        load[lightest] += work[index]
    return parts


def _work(row: RowParts) -> float:
    """What a row takes, in that of a token alone: attention grows with the square, and responses have logits."""
    return row.total * (1 + row.total / _LONG) + (row.chosen + row.rejected) / 2


class Lanes:
    """A thread for each core that torch uses; `most` or `_MOST` that have some cores each, where there are more."""

    def __init__(self, most: int) -> None:
        self._cores = torch.get_num_threads()
        self.count = min(self._cores, most, _MOST)
        self._each = max(1, self._cores // self.count)
        # The number is a thread's own for OpenMP, and the process's for the matrix products.
        self._pool = ThreadPoolExecutor(self.count, "lane", lambda: torch.set_num_threads(self._each))

    def map(self, work: Callable[[_Given], _Made], given: Iterable[_Given]) -> list[_Made]:
        """What `work` gives for each of `given`, in their order. Raises what it raises."""
        torch.set_num_threads(self._each)
        try:
            return list(self._pool.map(work, given))
        finally:
            torch.set_num_threads(self._cores)
