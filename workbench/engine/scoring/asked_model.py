"""One model in memory, the columns it is asked as, and what it says: log-probabilities, openings, samples, tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from workbench.compare.messages import Column, Scored, ScoreResponse, Turn
from workbench.engine.model.inference import Ids, opening_logprobs, summed_kl
from workbench.engine.model.token_ids import prompt_ids
from workbench.engine.scoring.kept_answers import KeptAnswers, nothing_kept
from workbench.engine.scoring.loaded_adapters import Adapters
from workbench.engine.scoring.scorer import Sample, Scorer
from workbench.evidence.settings import Settings
from workbench.pairs.pair import Text

_WINDOW = 512
"""Responses between two words about how far it is."""
_ALIKE = 32
"""Prompts of fewer tokens are of like length, as are those of up to twice as many, and so on."""
_TELL_EVERY = 256
"""Tokens."""
_TEMPERATURE = 1.0

Asked = tuple[str, Path | None]
"""A name to tell it by, and its adapter; None where the model is asked as it is."""
BASE: Asked = ("the base", None)


def base_and_run(adapter: Path) -> tuple[Asked, Asked]:
    """The base, and beside it the run with this adapter."""
    return BASE, ("the run", adapter)


@dataclass(frozen=True, slots=True)
class AskedModel:
    """A model and its columns: before and after where there are two. `progress` is told what is done next.

    `kept`: what is known of the model without an adapter, from earlier evaluations.
    """

    scorer: Scorer
    columns: tuple[Asked, ...]
    progress: Callable[[str], None]
    kept: KeptAnswers = field(default_factory=nothing_kept)

    def logprobs(self, rows: Sequence[tuple[Ids, Ids]], column: Asked, what: str) -> list[Tensor]:
        """Log-probabilities, (tokens,) each, of the responses under one of the columns. Raises `WorkbenchError`."""
        name, adapter = column

        def compute() -> list[Tensor]:
            logprobs: list[Tensor] = []
            self.progress(f"scoring {len(rows):,} {what} under {name}")
            for start in range(0, len(rows), _WINDOW):
                if start:
                    self.progress(f"scoring under {name}: {start:,} of {len(rows):,} {what}")
                logprobs += self.scorer.score_ids(rows[start : start + _WINDOW], adapter)
            return logprobs

        return self.kept.logprobs(rows, compute) if adapter is None else compute()

    def openings(self, rows: Sequence[tuple[Ids, Sequence[Ids]]], column: Asked) -> list[list[float]]:
        """By prompt, the log-probability of every opening after it, in nats, under one of the columns."""
        name, adapter = column

        def compute() -> list[list[float]]:
            self.progress(f"measuring how answers begin under {name}, {len(rows):,} probes")
            model = self.scorer.adapters.switched(adapter)
            return [opening_logprobs(model, prompt, openings) for prompt, openings in rows]

        return self.kept.masses(rows, compute) if adapter is None else compute()

    def answers(self, prompts: Sequence[Text], column: Asked, settings: Settings) -> list[Sample]:
        """One seeded sample a prompt, under one of the columns. Raises `WorkbenchError`."""
        asked = [prompt_ids(self.scorer.tokenizer, prompt, self.scorer.template) for prompt in prompts]

        known = column[1] is None

        def compute() -> list[Ids]:
            nonlocal known
            known = False
            return self._sampled(asked, column, settings)

        how = {"most": settings.answer_tokens, "temperature": _TEMPERATURE, "seed": settings.seed}
        answers = self.kept.answers([asked, how], len(asked), compute) if known else compute()
        if known:
            self.progress(f"{len(asked):,} answers of {column[0]} are known from an earlier evaluation")
        return [self.scorer.as_sample(*each) for each in zip(asked, answers, strict=True)]

    def _sampled(self, prompts: Sequence[Ids], column: Asked, settings: Settings) -> list[Ids]:
        """Prompts of like length go together: each would be padded to the longest."""
        name, adapter = column
        what = f"sampling {len(prompts):,} answers from {name}"
        self.progress(what)
        parts: dict[int, list[int]] = {}
        for index, prompt in enumerate(prompts):
            parts.setdefault((len(prompt) // _ALIKE).bit_length(), []).append(index)
        answers: dict[int, Ids] = {}
        told = done = 0

        def tell(tokens: int) -> None:
            nonlocal told
            if done + tokens >= told + _TELL_EVERY * len(prompts) ** 0.5:
                told = done + tokens
                self.progress(f"{what}: {told:,} tokens, {settings.answer_tokens * len(prompts):,} at most")

        for number, indices in sorted(parts.items()):
            sampled = self.scorer.sample_ids(
                [prompts[index] for index in indices],
                adapter,
                max_new_tokens=settings.answer_tokens,
                temperature=_TEMPERATURE,
                seed=settings.seed + number,
                progress=tell,
            )
            done += sum(map(len, sampled))
            answers |= dict(zip(indices, sampled, strict=True))
        return [answers[index] for index in range(len(prompts))]

    def divergence(self, rows: Sequence[tuple[Ids, Ids]]) -> list[float]:
        """KL(second column ‖ first column) summed over every response, in nats."""
        first, second = (adapter for _, adapter in self.columns)
        adapters = self.scorer.adapters
        base, run = (partial(_switched, adapters, adapter) for adapter in (first, second))
        return summed_kl(base, run, rows, adapters.model.device)

    def tokens(self, prompt: Text, response: str, top_k: int = 0) -> Scored:
        """Every token of a response under all columns, with the likeliest `top_k` there. Raises `WorkbenchError`."""
        turns = prompt if isinstance(prompt, str) else [Turn.of(turn) for turn in prompt]
        columns = [Column(name=name, adapter=str(folder) if folder else None) for name, folder in self.columns]
        return self.scorer.score(ScoreResponse(prompt=turns, response=response, columns=columns, top_k=top_k))


def _switched(adapters: Adapters, adapter: Path | None) -> AbstractContextManager[Any]:
    return nullcontext(adapters.switched(adapter))


def total(logprobs: Tensor) -> float:
    """Of the whole response, in nats."""
    return float(logprobs.double().sum())
