"""What a system message costs: it is read anew with every request, where a trained adapter is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class PromptCost:
    """Prompt tokens of a column, and how many of them the first column, by rule the bare base, does without."""

    tokens: int
    extra: int

    @property
    def per_million(self) -> int:
        """Extra prompt tokens in a million requests."""
        return self.extra * _MILLION


def prompt_costs(prompt_tokens: Sequence[int]) -> list[PromptCost]:
    """The costs of a reply's columns, from their `prompt_tokens`. An adapter alone costs none extra."""
    return [PromptCost(tokens, tokens - prompt_tokens[0]) for tokens in prompt_tokens]
