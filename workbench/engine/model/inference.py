"""Asking a model: as policy or as reference, log-probabilities of responses, and samples. Float32 log-softmax."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from workbench.engine.model.response_states import OutputLayer, response_states, token_logprobs
from workbench.runs.activation_memory import TOKEN_BUDGET

Model = Any
"""A causal language model of transformers, or a PeftModel around one."""

Ids = Sequence[int]

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
    for batch in batches([(prompt, ()) for prompt in prompts], TOKEN_BUDGET[model.device.type]):
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
def score_batches(model: Model, rows: Sequence[tuple[Ids, Ids]]) -> list[Tensor]:
    """Log-probabilities, (response,) in float32 on the CPU, of the response tokens of every (prompt, response).

    Rows of similar length share a batch, padded on the right. No prompt may be empty.
    """
    results: list[Tensor] = [torch.empty(0)] * len(rows)
    for batch in batches(rows, TOKEN_BUDGET[model.device.type]):
        some = [rows[index] for index in batch]
        parts = response_states(model, some, token_logprobs).cpu().split([len(response) for _, response in some])
        for index, logprobs in zip(batch, parts, strict=True):
            results[index] = logprobs
    return results


@torch.no_grad()
def summed_kl(
    base: Callable[[], AbstractContextManager[Model]],
    run: Callable[[], AbstractContextManager[Model]],
    rows: Sequence[tuple[Ids, Ids]],
    device: torch.device,
) -> list[float]:
    """KL(run ‖ base) in nats, exact over the vocabulary, summed over the response of every (prompt, response).

    Within `base` and `run` there is a model on `device`: there is one copy of the weights. Each reads a row once; what
    reaches the output layer is kept of one of them, and logits of both are made for some tokens at a time. No prompt
    may be empty.
    """
    divergences = [0.0] * len(rows)
    for batch in batches(rows, TOKEN_BUDGET[device.type]):
        some = [rows[index] for index in batch]
        with run() as model:
            policy = response_states(model, some, lambda _layer, states, _targets: states)
        with base() as model:
            of_tokens = response_states(model, some, partial(_token_kl, policy))
        parts = of_tokens.double().split([len(response) for _, response in some])
        for index, part in zip(batch, parts, strict=True):
            divergences[index] = max(part.sum().item(), 0.0)
    return divergences


def _token_kl(policy: Tensor, layer: OutputLayer, states: Tensor, _targets: Tensor) -> Tensor:
    """(N,) in float32: both models' states (N, H) go through the one output layer."""
    divergence = states.new_empty((len(states),), dtype=torch.float32)
    for tile in layer.tiles(len(states), at_once=4):
        of_run, of_base = (layer.logits(each[tile]).log_softmax(-1) for each in (policy, states))
        divergence[tile] = (of_run.exp() * (of_run - of_base)).sum(-1)
    return divergence


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


def _left_padded(prompts: Sequence[Ids]) -> tuple[Tensor, Tensor]:
    """Ids and attention mask, each (prompts, longest): every prompt ends in the last column."""
    width = max(map(len, prompts))
    ids = torch.zeros((len(prompts), width), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for line, prompt in enumerate(prompts):
        ids[line, width - len(prompt) :] = torch.tensor(list(prompt))
        mask[line, width - len(prompt) :] = 1
    return ids, mask


def batches(rows: Sequence[tuple[Ids, Ids]], most: int) -> Iterator[list[int]]:
    """Indices of rows that share a batch of `most` tokens at most, rows of similar length together."""
    order = sorted(range(len(rows)), key=lambda index: len(rows[index][0]) + len(rows[index][1]))
    batch: list[int] = []
    for index in order:
        width = len(rows[index][0]) + len(rows[index][1])
        if batch and width * (len(batch) + 1) > most:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch
