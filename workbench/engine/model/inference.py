"""Asking a model: as policy or as reference, log-probabilities of responses, and samples. Float32 log-softmax."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

Model = Any
"""A causal language model of transformers, or a PeftModel around one."""

Ids = Sequence[int]

_LOGITS_BYTES = 256 * 1024**2
"""Upper bound of the logits that one batch of `score_batches` may fill."""
_KL_LOGITS_BYTES = 64 * 1024**2
"""Upper bound of one model's float32 logits that `summed_kl` holds at once; a few times that is needed."""
_BATCH_TOKENS = 16384
REFERENCE = "ref"
"""TRL's name for the frozen copy of an adapter that a run goes on from."""
_SMALL = 50_000_000
"""Parameters."""


@contextmanager
def as_reference(model: Model) -> Iterator[None]:
    """What the policy is held against: the adapter that the run went on from, else the base."""
    if REFERENCE not in model.peft_config:
        with model.disable_adapter():
            yield
        return
    active = model.active_adapter
    model.set_adapter(REFERENCE)
    try:
        yield
    finally:
        model.set_adapter(active)


@contextmanager
def asking(model: Model) -> Iterator[None]:
    """Eval mode, no gradients and fitting threads within; after it the model is as it was in its training.

    Not `torch.inference_mode`: what a model keeps from a forward within that (rotary embeddings that follow the length,
    for one) could not take part in training any more.
    """
    training = model.training
    model.eval()
    try:
        with torch.no_grad(), fitting_threads(model):
            yield
    finally:
        model.train(training)


@contextmanager
def fitting_threads(model: Model) -> Iterator[None]:
    """Meanwhile, one thread for a small model on the CPU.

    Waking more for every small product costs what they save, and far more where a run trains beside.
    """
    threads = torch.get_num_threads()
    if model.device.type == "cpu" and sum(parameter.numel() for parameter in model.parameters()) < _SMALL:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@torch.inference_mode()
def response_logits(model: Model, prompt: Ids, response: Ids) -> Tensor:
    """Logits, (response, vocabulary) as the model has them, that predict the tokens of `response` after `prompt`."""
    ids = torch.tensor([[*prompt, *response]], device=model.device)
    logits: Tensor = model(input_ids=ids, use_cache=False, logits_to_keep=len(response) + 1).logits
    return logits[0, :-1]


@torch.inference_mode()
def next_logits(model: Model, prompt: Ids) -> Tensor:
    """Logits, (vocabulary,) as the model has them, of the token after `prompt`."""
    ids = torch.tensor([list(prompt)], device=model.device)
    logits: Tensor = model(input_ids=ids, use_cache=False, logits_to_keep=1).logits
    return logits[0, -1]


@torch.inference_mode()
def next_logprobs(model: Model, prompts: Sequence[Ids], tokens: Sequence[int]) -> Tensor:
    """Log-probabilities, (prompts, tokens) in float32 on the CPU, of each of `tokens` coming next after each prompt."""
    rows = torch.empty(len(prompts), len(tokens))
    for batch in batches([(prompt, ()) for prompt in prompts], 1):
        ids, mask = _left_padded([prompts[index] for index in batch])
        ids, mask = ids.to(model.device), mask.to(model.device)
        position = (mask.cumsum(-1) - 1).clamp(min=0)
        logits = model(
            input_ids=ids, attention_mask=mask, position_ids=position, use_cache=False, logits_to_keep=1
        ).logits[:, -1]
        rows[batch] = logits.float().log_softmax(-1)[:, list(tokens)].cpu()
    return rows


@torch.inference_mode()
def opening_logprobs(model: Model, prompt: Ids, openings: Sequence[Ids]) -> list[float]:
    """The log-probability, in nats, of every opening coming next after `prompt`, which is read once for all of them.

    Neither the prompt nor an opening may be empty.
    """
    cache = DynamicCache(config=model.config)
    ids = torch.tensor([list(prompt)], device=model.device)
    first = model(input_ids=ids, past_key_values=cache, logits_to_keep=1).logits[0, -1].float().log_softmax(-1)
    sums = [first[opening[0]].item() for opening in openings]
    longest = max(map(len, openings))
    if longest == 1:
        return sums
    cache.batch_repeat_interleave(len(openings))
    said = torch.zeros(len(openings), longest - 1, dtype=torch.long)
    for row, opening in zip(said, openings, strict=True):
        row[: len(opening) - 1] = torch.tensor(opening[:-1])
    position = torch.arange(len(prompt), len(prompt) + longest - 1).expand(len(openings), -1)
    # Padding on the right: what comes before it does not see it.
    logprobs = (
        model(input_ids=said.to(model.device), position_ids=position.to(model.device), past_key_values=cache)
        .logits.float()
        .log_softmax(-1)
    )
    for row, opening in enumerate(openings):
        if len(opening) > 1:
            targets = torch.tensor(opening[1:], device=model.device)
            sums[row] += logprobs[row, : len(opening) - 1].gather(-1, targets[:, None]).double().sum().item()
    return sums


@torch.inference_mode()
def score_batches(model: Model, rows: Sequence[tuple[Ids, Ids]], vocabulary: int) -> list[Tensor]:
    """Log-probabilities, (response,) in float32 on the CPU, of the response tokens of every (prompt, response).

    Rows of similar length share a batch, padded on the right. No prompt may be empty.
    """
    results: list[Tensor] = [torch.empty(0)] * len(rows)
    for batch in batches(rows, vocabulary):
        ids, mask, keep, spans = right_padded([rows[index] for index in batch], model.device)
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False, logits_to_keep=keep).logits.float()
        targets = ids[:, ids.shape[1] - keep + 1 :]
        chosen = logits[:, :-1].gather(-1, targets[..., None])[..., 0] - logits[:, :-1].logsumexp(-1)
        for line, index in enumerate(batch):
            results[index] = chosen[line, spans[line]].cpu()
    return results


@torch.inference_mode()
def summed_kl(
    base: Callable[[], Model], run: Callable[[], Model], rows: Sequence[tuple[Ids, Ids]], vocabulary: int
) -> list[float]:
    """KL(run ‖ base) in nats, exact over the vocabulary, summed over the response of every (prompt, response).

    `base` and `run` switch to a model and return it: there is one copy of the weights. No prompt may be empty.
    """
    divergences = [0.0] * len(rows)
    for batch in batches(rows, vocabulary, max(1, _KL_LOGITS_BYTES // (4 * vocabulary))):
        ids, mask, keep, spans = right_padded([rows[index] for index in batch], base().device)
        reference, policy = (_logprobs(model(), ids, mask, keep) for model in (base, run))
        divergence = (policy.exp() * (policy - reference)).sum(-1, dtype=torch.float64)
        for line, index in enumerate(batch):
            divergences[index] = max(divergence[line, spans[line]].sum().item(), 0.0)
    return divergences


def _logprobs(model: Model, ids: Tensor, mask: Tensor, keep: int) -> Tensor:
    """Log-probabilities, (rows, keep − 1, vocabulary) in float32, of the last `keep` − 1 tokens."""
    logits = model(input_ids=ids, attention_mask=mask, use_cache=False, logits_to_keep=keep).logits
    return torch.log_softmax(logits[:, :-1].float(), dim=-1)


@torch.inference_mode()
def sample(
    model: Model,
    prompts: Sequence[Ids],
    *,
    stop: frozenset[int],
    max_new_tokens: int,
    temperature: float,
    seed: int | Sequence[int],
) -> Iterator[list[tuple[int, int]]]:
    """Continues every prompt by a token at a time; each step yields (index of the prompt, token) of those still going.

    A prompt is done after a token of `stop`, which is yielded too. Temperature 0 takes the likeliest token. The same
    prompts and seed give the same tokens on the same device; with a seed for each prompt its tokens do not depend on
    the others.
    """
    device = model.device
    if isinstance(seed, int):
        generators = [torch.Generator(device).manual_seed(seed)]
    else:
        generators = [torch.Generator(device).manual_seed(of_prompt) for of_prompt in seed]
    stops = torch.tensor(sorted(stop), device=device)
    ids, mask = _left_padded(prompts)
    ids, mask = ids.to(device), mask.to(device)
    position = (mask.cumsum(-1) - 1).clamp(min=0)
    going = torch.arange(len(prompts), device=device)
    cache = DynamicCache(config=model.config)
    for _ in range(max_new_tokens):
        logits = model(
            input_ids=ids, attention_mask=mask, position_ids=position, past_key_values=cache, logits_to_keep=1
        ).logits[:, -1]
        tokens = _chosen(logits.float(), temperature, generators)
        yield list(zip(going.tolist(), tokens.tolist(), strict=True))
        alive = ~torch.isin(tokens, stops)
        if not alive.all():
            if not alive.any():
                return
            left = alive.nonzero()[:, 0]
            cache.batch_select_indices(left)
            going, tokens, mask, position = going[left], tokens[left], mask[left], position[left]
            if len(generators) > 1:
                generators = [generators[index] for index in left.tolist()]
        ids, position = tokens[:, None], position[:, -1:] + 1
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)


def _chosen(logits: Tensor, temperature: float, generators: Sequence[torch.Generator]) -> Tensor:
    """One token a row, (rows,), of logits (rows, vocabulary); one generator draws for all rows, or each for its own."""
    if temperature == 0:
        return logits.argmax(-1)
    chances = torch.softmax(logits / temperature, dim=-1)
    if len(generators) == 1:
        return torch.multinomial(chances, 1, generator=generators[0])[:, 0]
    # What multinomial does for a row, with the row's own numbers.
    noise = torch.empty_like(chances)
    for row, generator in zip(noise, generators, strict=True):
        row.exponential_(generator=generator)
    return (chances / noise).argmax(-1)


def right_padded(
    rows: Sequence[tuple[Ids, Ids]], device: torch.device, pad: int = 0
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


def _left_padded(prompts: Sequence[Ids]) -> tuple[Tensor, Tensor]:
    """Ids and attention mask, each (prompts, longest): every prompt ends in the last column."""
    width = max(map(len, prompts))
    ids = torch.zeros((len(prompts), width), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for line, prompt in enumerate(prompts):
        ids[line, width - len(prompt) :] = torch.tensor(list(prompt))
        mask[line, width - len(prompt) :] = 1
    return ids, mask


def batches(rows: Sequence[tuple[Ids, Ids]], vocabulary: int, most: int | None = None) -> Iterator[list[int]]:
    """Indices of rows that share a batch of `most` tokens at most, rows of similar length together."""
    budget = min(most or _BATCH_TOKENS, _BATCH_TOKENS, max(1, _LOGITS_BYTES // (4 * vocabulary)))
    order = sorted(range(len(rows)), key=lambda index: len(rows[index][0]) + len(rows[index][1]))
    batch: list[int] = []
    for index in order:
        width = len(rows[index][0]) + len(rows[index][1])
        if batch and width * (len(batch) + 1) > budget:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch
