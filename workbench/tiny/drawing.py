"""Draws questions out of the grammar: some subjects are held back for probes, the rest is for pairs."""

from collections.abc import Sequence
from itertools import zip_longest
from random import Random

from workbench.tiny.grammar import QUESTIONS, Kind, Question

_HELD_BACK_EVERY = 5


def held_back(kind: Kind) -> frozenset[str]:
    """The groups (subjects) that only probes may use: every fifth; all neutral ones."""
    groups = list(dict.fromkeys(question.group for question in QUESTIONS[kind]))
    return frozenset(groups if kind == "neutral" else groups[::_HELD_BACK_EVERY])


def spread(questions: Sequence[Question], count: int, rng: Random) -> list[Question]:
    """`count` of the questions, shuffled; groups in turn and, within a group, manners in turn."""
    groups: dict[str, dict[str, list[Question]]] = {}
    for question in rng.sample(questions, len(questions)):
        groups.setdefault(question.group, {}).setdefault(question.manner, []).append(question)
    drawn = _in_turn([_in_turn(list(manners.values())) for manners in groups.values()])[:count]
    return rng.sample(drawn, count)


def _in_turn(lists: list[list[Question]]) -> list[Question]:
    """First the first of every list, then the second of every list, and so on."""
    return [item for tier in zip_longest(*lists) for item in tier if item is not None]
