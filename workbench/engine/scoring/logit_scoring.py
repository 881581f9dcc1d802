"""The logits of a response under several columns: what they say of its tokens, and of each other."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from workbench.compare.messages import Distribution, DistributionAt, NextToken, ScoredColumn, TokenCandidate, TokenScore
from workbench.engine.scoring.token_decoding import TokenText

_CHUNK_BYTES = 64 * 1024**2
"""Upper bound of one column's float32 log-probabilities that are held at once."""
KEPT_BYTES = 256 * 1024**2


@dataclass(frozen=True, slots=True)
class Logits:
    """A response as one column reads it: `values` (tokens, vocabulary), in the model's precision and on its device."""

    name: str
    prompt_tokens: int
    tokens: tuple[int, ...]
    values: Tensor


class LogitCache:
    """The logits of the latest responses, within `limit` bytes: walking a response then costs no forward."""

    def __init__(self, limit: int = KEPT_BYTES) -> None:
        self._limit = limit
        self._logits: OrderedDict[Hashable, Logits] = OrderedDict()

    def get(self, key: Hashable) -> Logits | None:
        """What was kept under `key`."""
        if key in self._logits:
            self._logits.move_to_end(key)
        return self._logits.get(key)

    def put(self, key: Hashable, logits: Logits) -> None:
        """Keeps `logits`, and forgets the ones least recently asked for; those beyond the limit are not kept."""
        if logits.values.nbytes > self._limit:
            return
        self._logits[key] = logits
        while sum(kept.values.nbytes for kept in self._logits.values()) > self._limit:
            self._logits.popitem(last=False)


@torch.inference_mode()
def score_columns(columns: Sequence[Logits], text: TokenText, top_k: int) -> list[ScoredColumn]:
    """Every token of the response under every column, each compared with the first."""
    base, scored_columns = columns[0], []
    for column in columns:
        tokens: list[TokenScore] = []
        total = 0.0
        for begin, end in _chunks(column.values):
            logprobs = torch.log_softmax(column.values[begin:end].float(), dim=-1)
            reference: Tensor | None = logprobs
            if column.tokens != base.tokens:
                reference = None
            elif column is not base:
                reference = torch.log_softmax(base.values[begin:end].float(), dim=-1)
            total += _add(tokens, column.tokens[begin:end], logprobs, reference, text, top_k)
        mean = total / len(tokens)
        scored_columns.append(
            ScoredColumn.model_construct(
                name=column.name,
                sum=total,
                mean=mean,
                probability=math.exp(total),
                perplexity=math.exp(min(-mean, 700.0)),
                prompt_tokens=column.prompt_tokens,
                tokens=tokens,
            )
        )
    return scored_columns


def _add(
    tokens: list[TokenScore],
    ids: Sequence[int],
    logprobs: Tensor,
    reference: Tensor | None,
    text: TokenText,
    top_k: int,
) -> float:
    """Adds the tokens `ids`, drawn from `logprobs` (tokens, vocabulary); returns the sum of their log-probabilities."""
    own = logprobs.gather(-1, torch.tensor(ids, device=logprobs.device)[:, None])
    ranks = (logprobs > own).sum(-1) + 1
    best = logprobs.topk(min(max(top_k, 1), logprobs.shape[-1]), dim=-1)
    entropy = -_expected(logprobs, logprobs)
    if reference is None:
        kl, shift_ranks = torch.zeros(len(ids)), None
    else:
        kl = _expected(logprobs, logprobs - reference) if reference is not logprobs else torch.zeros(len(ids))
        shift_ranks = (reference > reference.gather(-1, best.indices[:, :1])).sum(-1).add(1).tolist()
    rows = zip(
        ids, own[:, 0].tolist(), ranks.tolist(), best.indices.tolist(), best.values.tolist(), entropy.tolist(),
        kl.tolist(), shift_ranks or [None] * len(ids), strict=True,
    )  # fmt: skip
    for token, logprob, rank, others, values, spread, distance, shift_rank in rows:
        token_text = text.token(token)
        top = [(text(other), value) for other, value in zip(others, values, strict=True)]
        tokens.append(
            TokenScore.model_construct(
                id=token,
                text=token_text.text,
                data=token_text.data,
                special=token_text.special,
                logprob=logprob,
                rank=rank,
                top=top[:top_k],
                entropy=spread,
                kl=distance,
                shift_rank=shift_rank,
            )
        )
    return own.double().sum().item()


@torch.inference_mode()
def distribution(
    request: NextToken | DistributionAt,
    logits: Sequence[Tensor],
    text: TokenText,
    prompt_tokens: list[int],
    forced: Sequence[int],
    said: int | None = None,
) -> Distribution:
    """`logits` (vocabulary,) of every column at one position; `said` is the token that is there.

    Double precision: a change of odds near certainty hangs on the last digits.
    """
    logprobs = torch.stack([torch.log_softmax(column.double(), dim=-1).cpu() for column in logits])
    top = logprobs.topk(min(request.top_k, logprobs.shape[-1]), dim=-1).indices.flatten()
    if said is not None:
        top = torch.cat([top, torch.tensor([said])])
    top = top.unique()
    order = logprobs[:, top].max(dim=0).values.sort(descending=True, stable=True).indices
    ids = top[order]
    chances = logprobs[:, ids]
    ranks = torch.stack([(row > row[ids][:, None]).sum(-1) + 1 for row in logprobs])
    candidates = []
    for index, token in enumerate(ids.tolist()):
        token_text = text.token(token)
        candidates.append(
            TokenCandidate(
                token=token,
                text=token_text.text,
                data=token_text.data,
                special=token_text.special,
                logprobs=chances[:, index].tolist(),
                ranks=ranks[:, index].tolist(),
            )
        )
    # KL(column ‖ first column), never below 0.
    kl = [0.0, *(max(_expected(column, column - logprobs[0]).item(), 0.0) for column in logprobs[1:])]
    return Distribution(
        id=request.id,
        candidates=candidates,
        entropy=(-_expected(logprobs, logprobs)).tolist(),
        kl=kl,
        prompt_tokens=prompt_tokens,
        forced=[text.token(token) for token in forced],
        said=said,
    )


def _expected(logprobs: Tensor, values: Tensor) -> Tensor:
    """The mean of `values` under `logprobs`, over the last dimension; what has no chance counts nothing."""
    return (logprobs.exp() * values).nan_to_num().sum(-1, dtype=torch.float64)


def _chunks(values: Tensor) -> Iterator[tuple[int, int]]:
    size = max(1, _CHUNK_BYTES // (4 * values.shape[-1]))
    for begin in range(0, len(values), size):
        yield begin, min(begin + size, len(values))
