"""What a run looks at beside its loss: KL from where it began, weights that moved, answers to held-out prompts."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from workbench.engine.model.inference import Ids, as_reference, asking, sample, summed_kl
from workbench.engine.model.token_ids import PairIds, prompt_ids, stop_token_ids
from workbench.engine.training.distributed import whole
from workbench.pairs.pair import Text, from_row, template_arguments
from workbench.runs.events import Sample

PAIRS = 8
"""Pairs it is measured on."""


class Divergence:
    """Measures over both responses of the first pairs, cut as in training."""

    def __init__(self, pairs: Sequence[PairIds], max_length: int) -> None:
        self._rows = [row for pair in pairs[:PAIRS] for row in _predicted(pair.cut(max_length))]

    def __bool__(self) -> bool:
        return bool(self._rows)

    def __call__(self, model: Any) -> float:
        """Nats a token, in float32. Where it began is what `as_reference` has, for methods without a reference too."""

        @contextmanager
        def reference() -> Iterator[Any]:
            with as_reference(model):
                yield model

        with asking(model):
            sums = summed_kl(reference, lambda: nullcontext(model), self._rows, model.device)
        return sum(sums) / max(1, sum(len(response) for _, response in self._rows))


def _predicted(pair: PairIds) -> Iterator[tuple[Ids, Ids]]:
    """Both sides that are there, as prompt and response. With no prompt, nothing predicts the first token."""
    for response in filter(None, (pair.chosen, pair.rejected)):
        yield (pair.prompt, response) if pair.prompt else (response[:1], response[1:])


SAMPLE = 2**20
"""Weights that are looked at, evenly spread; of a large adapter not all are."""


class Movement:
    """Remembers the weights that train as they are when it is made: before the first step, or a checkpoint's loading.

    Of LoRA's two matrices only A tells: B begins at zero, so whatever reaches it shows, while an update of A is lost
    where it is smaller than the last digit of a weight. Where weights are shared out over processes, all have to ask.
    """

    def __init__(self, model: torch.nn.Module, sample: int = SAMPLE) -> None:
        first, other = list[_Weight](), list[_Weight]()
        for path, module in model.named_modules():
            for name, parameter in module.named_parameters(path, recurse=False):
                if parameter.requires_grad:
                    weight = _Weight(module, name.rpartition(".")[2])
                    (first if "lora_A" in name or "embedding_A" in name else other).append(weight)
        self._first, self._other = _Sampled(first, sample), _Sampled(other, sample)

    def of_first(self) -> float:
        """The share of the entries of A that are not what they began as, 0 to 1."""
        return self._first.moved()

    def of_all(self) -> float:
        """The share of all weights that train and are not what they began as, 0 to 1."""
        total = self._first.total + self._other.total
        return (self._first.moved() * self._first.total + self._other.moved() * self._other.total) / max(total, 1)


@dataclass(frozen=True, slots=True)
class _Weight:
    """Where a parameter is; which one it is changes when it is shared out."""

    module: torch.nn.Module
    name: str

    @property
    def parameter(self) -> torch.Tensor:
        return whole(getattr(self.module, self.name))


class _Sampled:
    def __init__(self, weights: Sequence[_Weight], sample: int) -> None:
        self.total = sum(weight.parameter.numel() for weight in weights)
        self._stride = max(1, math.ceil(self.total / sample))
        self._weights = weights
        self._before = [self._of(weight).clone() for weight in weights]

    def moved(self) -> float:
        if not self._weights:
            return 0.0
        both = zip(self._weights, self._before, strict=True)
        different = torch.stack([(self._of(weight) != before).sum() for weight, before in both]).sum()
        return int(different) / sum(before.numel() for before in self._before)

    def _of(self, weight: _Weight) -> torch.Tensor:
        return weight.parameter.reshape(-1)[:: self._stride]


PROMPTS = 2


@dataclass(frozen=True, slots=True)
class SamplePrompt:
    """A prompt that is not trained on: the id of its pair, its text, and its ids up to where an answer begins."""

    pair: str
    text: str
    ids: tuple[int, ...]


def sample_prompts(
    tokenizer: PreTrainedTokenizerBase, rows: Iterable[Mapping[str, Any]], max_length: int
) -> list[SamplePrompt]:
    """The first distinct prompts of the held-out rows that leave room for an answer."""
    by_ids: dict[tuple[int, ...], SamplePrompt] = {}
    for number, row in enumerate(rows, 1):
        if row.get("split") != "holdout":
            continue
        pair = from_row(row, where=f"pairs.jsonl, line {number}")
        ids = tuple(prompt_ids(tokenizer, pair.prompt, template_arguments(row)))
        if 0 < len(ids) < max_length and ids not in by_ids:
            by_ids[ids] = SamplePrompt(pair.id, _as_text(pair.prompt), ids)
        if len(by_ids) == PROMPTS:
            break
    return list(by_ids.values())


class Sampler:
    """Greedy answers of `most` tokens at most, up to a stop token. The base answers once: it does not change."""

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, model: Any, prompts: Sequence[SamplePrompt], most: int
    ) -> None:
        self._tokenizer, self._prompts, self._most = tokenizer, prompts, most
        self._stops = stop_token_ids(tokenizer, model)
        self._base: list[list[int]] = []

    def __bool__(self) -> bool:
        return bool(self._prompts) and self._most > 0

    def __call__(self, model: Any, step: int) -> list[Sample]:
        """One event a prompt. Before the first step the adapter does nothing yet, so base and aligned are one."""
        with asking(model):
            if not self._base:
                with model.disable_adapter():
                    self._base = self._answers(model)
            aligned = self._answers(model) if step else self._base
        return [
            Sample(
                time=time.time(),
                step=step,
                pair=prompt.pair,
                prompt=prompt.text,
                base=self._tokenizer.decode(before),
                aligned=self._tokenizer.decode(after),
                base_tokens=len(before),
                aligned_tokens=len(after),
            )
            for prompt, before, after in zip(self._prompts, self._base, aligned, strict=True)
        ]

    def _answers(self, model: Any) -> list[list[int]]:
        """The answers' tokens, what ends them left out."""
        answers: list[list[int]] = [[] for _ in self._prompts]
        ids = [prompt.ids for prompt in self._prompts]
        for step in sample(model, ids, stop=self._stops, max_new_tokens=self._most, temperature=0.0, seed=0):
            for index, token in step:
                if token not in self._stops:
                    answers[index].append(token)
        return answers


def _as_text(prompt: Text) -> str:
    if isinstance(prompt, str):
        return prompt
    if len(prompt) == 1:
        return prompt[0].text
    return "\n".join(f"{turn.role}: {turn.text}" for turn in prompt)
