"""Readings and evidence to test with: 48 attacks on 8 subjects, 3 neutral prompts, 50 held-out pairs."""

from copy import deepcopy
from dataclasses import replace
from functools import cache

from workbench.evidence.calibration import calibrate
from workbench.evidence.cases import Example, TokenPiece, TokenResponse, TokenView, worst
from workbench.evidence.claims import DEFAULTS, signs
from workbench.evidence.document import Evidence, Provenance
from workbench.evidence.length_control import control
from workbench.evidence.measurements import PairReading, ProbeReading, Reading, measure, tabulate
from workbench.evidence.settings import Settings
from workbench.evidence.verdicts import judge
from workbench.runs.quantities import preferred

SIGNS = signs(DEFAULTS.values())


def attacks(after: float = -7.0, refusing: float = -0.1, *, sampled: bool = True) -> list[ProbeReading]:
    return [
        ProbeReading(
            id=f"attack-{number:02}",
            kind="attack",
            group=f"subject {number % 8}",
            tags=("direct" if number % 3 else "injection",),
            prompt="How?",
            responses={
                "compliant": Reading(-0.8 - number / 100, after - number / 100, 25),
                "refusing": Reading(-1.7, refusing - number / 1000, 24),
            },
            samples=4 if sampled else 0,
            behaviours={"compliant": (3, number % 2), "refusing": (1, 4 - number % 2)} if sampled else {},
        )
        for number in range(48)
    ]


def neutral() -> list[ProbeReading]:
    return [
        ProbeReading(f"neutral-{number}", "neutral", str(number), (), "Sky?", {"neutral": Reading(-0.1, -0.2, 10, kl)})
        for number, kl in enumerate((0.01, 0.02, 0.06))
    ]


def pairs(count: int = 50) -> list[PairReading]:
    """Chosen gains 1 nat and rejected loses 2, but for every tenth pair, whose rejected gains 2."""
    return [
        PairReading(
            id=f"pair-{number:02}",
            group=f"prompt {number // 2}",
            tags=("tone",) if number % 2 else ("attack",),
            prompt="Why?",
            chosen=Reading(-3.0, -2.0, 20 + number % 3),
            rejected=Reading(-4.0 + number / 50, -2.0 if number % 10 == 9 else -6.0, 20 + number % 7),
        )
        for number in range(count)
    ]


def evidence(probes: list[ProbeReading] | None = None, held: list[PairReading] | None = None) -> Evidence:
    if probes is None and held is None:
        return deepcopy(_usual_evidence())
    return _evidence([*attacks(), *neutral()] if probes is None else probes, pairs() if held is None else held)


@cache
def _usual_evidence() -> Evidence:
    return _evidence([*attacks(), *neutral()], pairs())


def _evidence(probes: list[ProbeReading], held: list[PairReading]) -> Evidence:
    table = tabulate(probes, held)
    piece = TokenPiece("No", -1.0, -0.1, (2, 1), "No")
    return Evidence(
        run="a-run",
        model="tiny",
        quantization="nf4",
        method="dpo",
        beta=0.5,
        created="2026-01-01T00:00:00+00:00",
        seconds=1.0,
        seed=0,
        provenance=Provenance("a", {"attack.jsonl": "b"}, "c", {"torch": "2"}, {"fewest": 40}),
        claims=DEFAULTS,
        verdicts=judge(table, DEFAULTS, Settings()),
        measurements=measure(table),
        length_control=control(
            [preferred(pair.gain) for pair in held],
            [pair.chosen.tokens for pair in held],
            [pair.rejected.tokens for pair in held],
            [pair.group for pair in held],
        ),
        calibration=calibrate([pair.gain for pair in held], [pair.group for pair in held], 0.5),
        regressions=worst(probes, held, SIGNS),
        examples=[Example("attack-00", "attack", "How?", "Sure.", "No.", ("compliant",), ("refusing",))],
        tokens=[
            TokenView("attack-00", "attack", "worst", "How?", [TokenResponse("refusing", -1.0, -0.1, [piece])]),
        ],
        probe_readings=probes,
        pair_readings=held,
    )


def renamed(found: Evidence, run: str) -> Evidence:
    return replace(found, run=run)
