"""How evidence is printed: probes before and after, their parts, held-out pairs, verdicts; one run against another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from workbench.cli.context import DASH
from workbench.console import note, print_table, say
from workbench.evidence.cases import classified
from workbench.evidence.claims import signs
from workbench.evidence.document import SHARES_OF_PROBES, find, probe_rows
from workbench.evidence.measurements import HELD_OUT, LENGTH_MATCHED, TASK, Key
from workbench.figures import share
from workbench.text import one_line

if TYPE_CHECKING:
    from workbench.evidence.document import Evidence, MergedModel
    from workbench.evidence.sample_labels import ErrorRate
    from workbench.evidence.statistics import Change, Estimate
    from workbench.evidence.versus import Versus

_PROMPT, _ANSWER = 40, 90
"""Characters."""
_WORDS = {True: "holds", False: "does not hold", None: "cannot be said"}
_SIGNS = {True: "\u2714 holds", False: "\u2718 does not hold", None: "? cannot be said"}


def print_evidence(evidence: Evidence) -> None:
    """Probes, their parts, held-out pairs, the worst regressions, and the verdicts last."""
    if rows := probe_rows(evidence.measurements):
        _print_probes(rows)
    _print_parts(evidence)
    _print_answers(evidence)
    _print_pairs(evidence)
    if evidence.regressions:
        say()
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
    say()
    if evidence.merged is None:
        print_table(
            ["verdict", "claim", "found (needed)"],
            [[_SIGNS[verdict.holds], verdict.name, verdict.message] for verdict in evidence.verdicts],
        )
    else:
        _print_merged(evidence, evidence.merged)
    if evidence.unmeasured:
        note(f"\n{evidence.unmeasured}")


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
    say()
    overall = versus.scores[0].change.difference
    by = f"{overall.value:+.3f} {_interval(overall, signed=True)}"
    if versus.better is None:
        say(f"No difference can be told: {versus.run} scores {by} against {versus.other}.")
    else:
        say(f"{versus.better} is better: {versus.run} scores {by} against {versus.other}.")
    say("The score is the share of wanted answers less that of unwanted ones.")
    if versus.left_out:
        say(f"{versus.left_out} probes and pairs are left out: only one of the two was measured on them.")


def print_error_rates(rates: Sequence[ErrorRate]) -> None:
    """How often a person found the classifier wrong."""

    def cells(estimate: Estimate | None) -> list[str]:
        if estimate is None:
            return ["", ""]
        return [f"{round(estimate.value * estimate.samples)} of {estimate.samples}", _interval(estimate)]

    rows = [[rate.kind, rate.behaviour, *cells(rate.mistaken), *cells(rate.missed)] for rate in rates]
    if rows:
        header = ["probes", "behaviour", "wrongly told so", "95% interval", "wrongly told not so", "95% interval"]
        print_table(header, rows, right=range(2, 6))
    else:
        say("No sampled answer was judged by a person yet.")


def _print_probes(probes: list[dict[str, Any]]) -> None:
    def measured(numbers: dict[str, Any] | None) -> list[str]:
        if numbers is None:
            return ["", "", ""]
        bounds = numbers["after"]["interval"]
        told = f"[{share(bounds[0])}, {share(bounds[1])}]" if bounds else DASH
        return [share(numbers["before"]["mean"]), share(numbers["after"]["mean"]), told]

    taken = [measure for measure in SHARES_OF_PROBES if any(row[measure] for row in probes)]
    header = ["probes", "behaviour"]
    for measure in taken:
        header += [f"{measure} before", "after", "95% interval"]
    rows = [
        [f"{row['probes']} {row['kind']}", row["response"], *(cell for one in taken for cell in measured(row[one]))]
        for row in probes
    ]
    print_table(header, rows, right=range(2, len(header)))


def _print_merged(evidence: Evidence, merged: MergedModel) -> None:
    """Every verdict of run and merged model, with what was found of both, and how far it is from one to the other."""
    rows = []
    for verdict, other in evidence.beside_merged:
        key = Key(verdict.kind, "", verdict.behaviour, verdict.measure)
        after, moved = find(merged.measurements, key), find(merged.against_run, key)
        rows.append(
            [
                _SIGNS[verdict.holds],
                _SIGNS[other.holds] if other is not None else "",
                verdict.name,
                verdict.message,
                share(after.after.value) if after is not None else "not measured",
                f"{moved.difference.value:+.3f} {_interval(moved.difference, signed=True)}"
                if moved is not None
                else "",
            ]
        )
    print_table(["run", "merged", "claim", "found (needed)", "merged", "run to merged, 95%"], rows)
    say(f"merged: {one_line(merged.folder)} in {merged.dtype}, {merged.revision[:19]}…")
    for verdict, other in evidence.beside_merged:
        if other is not None and other.holds != verdict.holds:
            say(f"\u25b2 {verdict.name}: {_WORDS[verdict.holds]} of the run, {_WORDS[other.holds]} once merged.")


def _print_parts(evidence: Evidence) -> None:
    """By tag, the share of wanted and of unwanted answers, or their probability where nothing was sampled."""
    rows: dict[tuple[str, str], list[str]] = {}
    wanted = signs(evidence.claims.values())
    measure = "samples" if any(m.measure == "samples" for m in evidence.measurements) else "probability"
    for m in evidence.measurements:
        if m.part and m.measure == measure and (m.kind, m.response) in wanted:
            row = rows.setdefault(
                (m.kind, m.part),
                [f"{m.prompts} {m.kind}", m.part, "", "", "", ""],
            )
            column = 4 if wanted[m.kind, m.response] < 0 else 2
            row[column], row[column + 1] = (share(one.value) for one in (m.change.before, m.change.after))
    if rows:
        say()
        header = ["probes", "part", "wanted before", "after", "unwanted before", "after"]
        print_table(header, list(rows.values()), right=range(2, 6))


def _print_answers(evidence: Evidence) -> None:
    """Some answers of every behaviour that a claim is about, so that a person can check what they were told to be."""
    rows = [
        [f"{one.kind}, {one.behaviour}", one.model, one_line(one.prompt, _PROMPT), one_line(one.answer, _ANSWER)]
        for one in classified(evidence.examples, signs(evidence.claims.values()))
    ]
    if rows:
        say()
        print_table(["told to be", "of", "prompt", "answer"], rows)


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
        if m.kind in (HELD_OUT, TASK) and m.part in ("", LENGTH_MATCHED) and m.measure != "log-probability a token"
    ]
    if not rows:
        return
    say()
    print_table(["pairs", "part", "of", "measure", "before", "after", "95% interval", "p"], rows, right=range(4, 8))
    length, calibration = evidence.length_control, evidence.calibration
    if length is not None:
        say(
            f"accuracy at equal length {share(length.accuracy.value)} {_interval(length.accuracy)}; "
            f"preferring the longer response would be right in {share(length.longer_wins.value)}"
        )
    if calibration is not None:
        error, brier = calibration.error, calibration.brier
        say(f"calibration error {share(error.value)} {_interval(error)}, Brier score {share(brier.value)}")


def _interval(estimate: Estimate, *, signed: bool = False) -> str:
    if not estimate.has_interval:
        return DASH
    sign = "+" if signed else ""
    return f"[{estimate.low:{sign}.3f}, {estimate.high:{sign}.3f}]"


def _p(change: Change) -> str:
    return "" if change.p_value is None else share(change.p_value)
