"""Answers get longer: preference data often has the longer answer as chosen, and models learn length first."""

from __future__ import annotations

from workbench.runs.health.detector import Finding
from workbench.runs.health.history import History

TIMES = 1.5
"""Aligned answers are half as long again as the base's to the same prompts."""
TOKENS = 8.0
"""And longer by this many tokens on average, about six words: "No." beside "No, sorry." is no lengthening."""
ANSWERS = 4
"""Answers this is judged on, from two moments at least: single greedy answers flip with one token."""


def longer(history: History) -> Finding | None:
    """Compares tokens of the latest answers of the aligned model with the base's to the same held-out prompts.

    Answers end at `sample_tokens`. An answer cut there counts as that long, so a limit can hide lengthening and never
    feign it: where the base's answers reach the limit, the aligned ones cannot exceed them and nothing is told. Lengths
    are of what the model generates, not of the pairs, whose length bias `workbench check` measures.
    """
    latest = [each for each in history.samples if each.step > 0][-ANSWERS:]
    if len(latest) < ANSWERS or len({each.step for each in latest}) < 2:
        return None
    base = sum(each.base_tokens for each in latest) / len(latest)
    aligned = sum(each.aligned_tokens for each in latest) / len(latest)
    if not (aligned >= TIMES * base and aligned - base >= TOKENS):
        return None
    return Finding(
        "Answers get longer",
        f"The last {len(latest)} answers to held-out prompts are {aligned:.0f} tokens long on average; "
        f"the base model's to the same prompts are {base:.0f}. The model may be learning length instead of quality.",
        "Compare the lengths of chosen and rejected: workbench check. Even them out, drop the pairs in which only "
        f"length differs, or hold the model closer: {history.closer(2)}.",
    )
