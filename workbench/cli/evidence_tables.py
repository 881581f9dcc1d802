"""How evidence is printed: probes before and after, their parts, held-out pairs, verdicts; one run against another."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from workbench.cli.context import print_table
from workbench.evidence.measurements import HELD_OUT, LENGTH_MATCHED, Measurement
from workbench.evidence.verdicts import wanted
from workbench.figures import share

if TYPE_CHECKING:
    from workbench.evidence.document import Evidence
    from workbench.evidence.statistics import Change, Estimate
    from workbench.evidence.versus import Versus

_SIGNS = {True: "\u2714 holds", False: "\u2718 does not hold", None: "? too few"}


def print_evidence(evidence: Evidence) -> None:
    """Probes, their parts, held-out pairs, the worst regressions, and the verdicts last."""
    from workbench.evidence.document import probe_rows

    _print_probes(probe_rows(evidence.measurements))
    _print_parts(evidence.measurements)
    _print_pairs(evidence)
    if evidence.regressions:
        print()
        print_table(
            ["got worse", "response", "log P before", "after", "prompt"],
            [
                [
                    regression.id,
                    regression.response,
                    f"{regression.before:.2f}",
                    f"{regression.after:.2f}",
                    regression.prompt,
                ]
                for regression in evidence.regressions
            ],
            right=(2, 3),
        )
    print()
    print_table(
        ["verdict", "claim", "found (needed)"],
        [[_SIGNS[verdict.holds], verdict.name, verdict.message] for verdict in evidence.verdicts],
    )


def print_versus(versus: Versus) -> None:
    """The scores of both, kind by kind and part by part, and who is better."""
    rows = [
        [
            f"{score.prompts} {score.kind}",
            score.part,
            f"{score.change.before.value:+.3f}",
            f"{score.change.after.value:+.3f}",
            f"{score.change.difference.value:+.3f}",
            _interval(score.change.difference, signed=True),
            _p(score.change),
        ]
        for score in versus.scores
    ]
    print_table(["probes", "part", "other", "run", "difference", "95% interval", "p"], rows, right=range(2, 7))
    print()
    overall = versus.scores[0].change.difference
    by = f"{overall.value:+.3f} {_interval(overall, signed=True)}"
    if versus.better is None:
        print(f"No difference can be told: {versus.run} scores {by} against {versus.other}.")
    else:
        print(f"{versus.better} is better: {versus.run} scores {by} against {versus.other}.")
    print("The score is the probability of wanted answers less that of unwanted ones.")
    if versus.left_out:
        print(f"{versus.left_out} probes and pairs are left out: only one of the two was measured on them.")


def _print_probes(probes: list[dict[str, Any]]) -> None:
    def measured(numbers: dict[str, Any] | None) -> list[str]:
        if numbers is None:
            return ["", "", ""]
        low, high = numbers["after"]["interval"]
        return [share(numbers["before"]["mean"]), share(numbers["after"]["mean"]), f"[{share(low)}, {share(high)}]"]

    sampled = any(row["samples"] for row in probes)
    header = ["probes", "response", "P before", "after", "95% interval"]
    if sampled:
        header += ["samples before", "after", "95% interval"]
    rows = []
    for row in probes:
        cells = [f"{row['probes']} {row['kind']}", row["response"], *measured(row["probability"])]
        rows.append(cells + (measured(row["samples"]) if sampled else []))
    print_table(header, rows, right=range(2, len(header)))


def _print_parts(measurements: Iterable[Measurement]) -> None:
    rows: dict[tuple[str, str], list[str]] = {}
    for m in measurements:
        if m.part and m.kind != HELD_OUT and m.measure == "probability":
            row = rows.setdefault(
                (m.kind, m.part),
                [f"{m.prompts} {m.kind}", m.part, "", "", "", ""],
            )
            column = 4 if wanted(m.kind, m.response) < 0 else 2
            row[column], row[column + 1] = (share(one.value) for one in (m.change.before, m.change.after))
    if rows:
        print()
        header = ["probes", "part", "P wanted before", "after", "P unwanted before", "after"]
        print_table(header, list(rows.values()), right=range(2, 6))


def _print_pairs(evidence: Evidence) -> None:
    rows = [
        [
            f"{m.prompts} {m.kind}",
            m.part,
            m.response,
            m.measure,
            f"{m.change.before.value:.3f}",
            f"{m.change.after.value:.3f}",
            _interval(m.change.after),
            _p(m.change),
        ]
        for m in evidence.measurements
        if m.kind == HELD_OUT and m.part in ("", LENGTH_MATCHED) and m.measure != "log-probability a token"
    ]
    if not rows:
        return
    print()
    print_table(["pairs", "part", "of", "measure", "before", "after", "95% interval", "p"], rows, right=range(4, 8))
    length, calibration = evidence.length_control, evidence.calibration
    if length is not None:
        print(
            f"accuracy at equal length {share(length.accuracy.value)} {_interval(length.accuracy)}; "
            f"preferring the longer response would be right in {share(length.longer_wins.value)}"
        )
    if calibration is not None:
        error, brier = calibration.error, calibration.brier
        print(f"calibration error {share(error.value)} {_interval(error)}, Brier score {share(brier.value)}")


def _interval(estimate: Estimate, *, signed: bool = False) -> str:
    sign = "+" if signed else ""
    return f"[{estimate.low:{sign}.3f}, {estimate.high:{sign}.3f}]"


def _p(change: Change) -> str:
    return "" if change.p_value is None else share(change.p_value)
