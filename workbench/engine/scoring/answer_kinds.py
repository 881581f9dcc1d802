"""Which kind of answer a response is, where that can be told from its words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import get_args

from workbench.models import resolve
from workbench.pairs.checks.refusals import REFUSAL
from workbench.tiny import WEIGHTS
from workbench.tiny.answers import Family
from workbench.tiny.matchers import classify

_OPENING = 160
"""Characters in which a refusal shows."""


@dataclass(frozen=True, slots=True)
class Matcher:
    """The families that `family` can tell a response to be of; it returns None for one that is of none of them."""

    families: tuple[str, ...]
    family: Callable[[str], str | None]


def matcher_for(model: str) -> Matcher:
    """The grammar's matchers for the embedded model; for others, whether a response opens with a refusal (English)."""
    if resolve(model) == str(WEIGHTS):
        return Matcher(get_args(Family), classify)
    return Matcher(("refusing", "answering"), _refuses)


def _refuses(response: str) -> str | None:
    if not response.strip():
        return None
    return "refusing" if REFUSAL.search(response[:_OPENING]) else "answering"
