"""Pairs in one line, for the tests of the checks."""

from __future__ import annotations

from typing import Any

from workbench.pairs.checks.findings import CheckFinding, ChecksReport
from workbench.pairs.checks.run import run_checks
from workbench.pairs.pair import Message, Pair


def talk(identity: str, prompt: str, chosen: str, rejected: str, **more: Any) -> Pair:
    """A question and two answers."""
    return Pair(
        identity,
        (Message("user", prompt),),
        (Message("assistant", chosen),),
        (Message("assistant", rejected),),
        **more,
    )


CLEAN = [
    talk("a", "How do I reset my router?", "Hold the small button for ten seconds.", "Routers are sold in many shops."),
    talk(
        "b", "Is rice free of gluten?", "Yes, plain rice holds no gluten at all.", "It depends on where you were born."
    ),
    talk("c", "Name the capital of Peru.", "Lima is the capital of Peru.", "Peru lies in South America, I believe."),
    talk("d", "Größe “XL” – bei 30 °C?", "Ja, das geht. 👩\u200d🚀", "Nein… می\u200cخواهم « À »"),
]


def found(report: ChecksReport) -> dict[str, CheckFinding]:
    """The findings by the name of their check."""
    return {finding.check: finding for finding in report.findings}


def check(*pairs: Pair, clean: bool = True) -> dict[str, CheckFinding]:
    """What is found in these pairs, among clean ones."""
    return found(run_checks([*(CLEAN if clean else ()), *pairs]))
