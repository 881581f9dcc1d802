"""Chosen responses that refuse what is harmless to ask."""

from __future__ import annotations

import re

from workbench.pairs.checks.findings import Finding, plural
from workbench.pairs.checks.texts import Texts
from workbench.pairs.checks.watch import Watch
from workbench.pairs.checks.words import HARM

_CANNOT = (
    r"(?:can['’]?t|cannot|can not|won['’]?t|will not|am unable to|['’]m unable to|am not able to|['’]m not able to)"
)
_DO = (
    r"(?:help|assist|answer|provide|do (?:that|this)|discuss|talk about|support|recommend|comply|fulfill|participate"
    r"|engage|give (?:you )?(?:advice|that|this)|share|tell you|explain|show you|advise)"
)
REFUSAL = re.compile(
    rf"\bI(?:['’]m (?:really |very |so )?(?:sorry|afraid)[,;]? (?:but )?(?:that )?I)? ?{_CANNOT} (?:\w+ )?{_DO}"
    rf"|\bI(?:['’]m| am) not (?:really )?(?:comfortable|willing|going to (?:help|answer|do|tell|share))"
    r"|\bI (?:do not|don['’]t) (?:feel comfortable|think I (?:can|should) (?:help|answer|do|tell))"
    r"|\bas an AI\b[^.]{0,60}\b(?:can['’]?t|cannot|unable|not able|don['’]t)"
    r"|\bI (?:must|have to) (?:decline|refuse)"
    r"|\bI(?:['’]d| would) (?:prefer|rather) not (?:to )?(?:say|answer|help|discuss|talk|tell|share)",
    re.IGNORECASE,
)
_EVASIVE = re.compile(
    rf"{REFUSAL.pattern}|\b(?:sorry|afraid|unable|cannot|can['’]t|I don['’]t (?:know|have|understand|think))\b",
    re.IGNORECASE,
)
_OPENING = 120
_ANSWER = 40
"""Characters that an answer has at least."""


def refusal(columns: Texts, watch: Watch) -> list[Finding]:
    """Pairs whose chosen response opens with a refusal, whose rejected one answers, and whose prompt has no word that
    could explain it. A heuristic: a prompt can be harmful in harmless words."""
    watch.tick(0, 1)
    named = []
    for _, place in watch.each(columns.matching(REFUSAL.pattern, "chosen", ignore_case=True)):
        chosen, rejected = columns.chosen[place], columns.rejected[place]
        if not REFUSAL.search(chosen[:_OPENING]) or len(rejected) < _ANSWER or _EVASIVE.search(rejected[:_OPENING]):
            continue
        if not HARM.search(columns.prompts[place]):
            named.append(place)
    if not named:
        return []
    return [
        Finding(
            "refusal",
            "warning",
            columns.named(named),
            f"{plural(len(named), 'pair prefers', 'pairs prefer')} a refusal to an answer, where the prompt has no sign"
            " of harm.",
            "Read them: where the prompt is harmless, swap the pair or drop it; the model would learn to over-refuse.",
        )
    ]
