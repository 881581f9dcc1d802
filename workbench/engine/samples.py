"""What base and policy answer to held-out prompts while the run goes on."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase

from workbench.engine.forward import sample
from workbench.engine.modes import asking
from workbench.engine.tokens import prompt_ids, stop_token_ids
from workbench.pairs.pair import Text, from_row
from workbench.pairs.template import template_arguments
from workbench.runs.events import Sample

PROMPTS = 2


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt that is not trained on: the id of its pair, its text, and its ids up to where an answer begins."""

    pair: str
    text: str
    ids: tuple[int, ...]


def questions(tokenizer: PreTrainedTokenizerBase, rows: Iterable[Mapping[str, Any]], max_length: int) -> list[Question]:
    """The first distinct prompts of the held-out rows that leave room for an answer."""
    found: dict[tuple[int, ...], Question] = {}
    for number, row in enumerate(rows, 1):
        if row.get("split") != "holdout":
            continue
        pair = from_row(row, where=f"pairs.jsonl, line {number}")
        ids = tuple(prompt_ids(tokenizer, pair.prompt, template=template_arguments(row)))
        if 0 < len(ids) < max_length and ids not in found:
            found[ids] = Question(pair.id, _as_text(pair.prompt), ids)
        if len(found) == PROMPTS:
            break
    return list(found.values())


class Sampler:
    """Greedy answers of `most` tokens at most, up to a stop token. The base answers once: it does not change."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, model: Any, asked: Sequence[Question], most: int) -> None:
        self._tokenizer, self._questions, self._most = tokenizer, asked, most
        self._stops = stop_token_ids(tokenizer, model)
        self._base: list[list[int]] = []

    def __bool__(self) -> bool:
        return bool(self._questions) and self._most > 0

    def __call__(self, model: Any, step: int) -> list[Sample]:
        """One event a question. Before the first step the adapter does nothing yet, so base and aligned are one."""
        with asking(model):
            if not self._base:
                with model.disable_adapter():
                    self._base = self._answers(model)
            aligned = self._answers(model) if step else self._base
        return [
            Sample(
                time=time.time(),
                step=step,
                pair=question.pair,
                prompt=question.text,
                base=self._tokenizer.decode(before),
                aligned=self._tokenizer.decode(after),
                base_tokens=len(before),
                aligned_tokens=len(after),
            )
            for question, before, after in zip(self._questions, self._base, aligned, strict=True)
        ]

    def _answers(self, model: Any) -> list[list[int]]:
        """The answers' tokens, what ends them left out."""
        answers: list[list[int]] = [[] for _ in self._questions]
        prompts = [question.ids for question in self._questions]
        for step in sample(model, prompts, stop=self._stops, max_new_tokens=self._most, temperature=0.0, seed=0):
            for index, token in step:
                if token not in self._stops:
                    answers[index].append(token)
        return answers


def _as_text(prompt: Text) -> str:
    if isinstance(prompt, str):
        return prompt
    if len(prompt) == 1:
        return prompt[0].content
    return "\n".join(f"{turn.role}: {turn.content}" for turn in prompt)
