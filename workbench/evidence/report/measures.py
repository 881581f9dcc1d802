"""The parts of a report with what was measured: probes, held-out pairs, tags, the worst regressions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from workbench.evidence.calibration import Calibration
from workbench.evidence.cases import TokenPiece, TokenResponse, TokenView
from workbench.evidence.document import Evidence
from workbench.evidence.length import LengthControl
from workbench.evidence.measurements import BOTH, HELD_OUT, LENGTH_MATCHED, Measurement
from workbench.evidence.report.content import (
    Block,
    Cell,
    Chart,
    Charts,
    Exchange,
    Probed,
    ReportResponse,
    ReportToken,
    Section,
    Table,
)
from workbench.evidence.report.story import SHARES
from workbench.evidence.report.svg import Point, interval_plot, reliability, two_bars
from workbench.evidence.statistics import Change, Estimate
from workbench.figures import decimal, interval, number, signed

_CHANGE = ("before", "after", "change")
_TEST = ("p", "effect", "detectable")
_NATS = "Natural logarithms. Change: run less base. p: a paired test that exchanges before and after within groups."


def probes(evidence: Evidence) -> Section:
    """Probabilities, samples and log-probabilities on the probes, before and after."""
    whole = [each for each in evidence.measurements if each.kind != HELD_OUT and not each.part]
    shares = [each for each in whole if each.measure in SHARES]
    nats = [each for each in whole if each.measure not in SHARES]
    blocks: list[Block] = []
    if shares:
        blocks.append(_before_after("Probability and share of samples", shares, "probe-share"))
    if nats:
        blocks.append(_in_nats("Log-probability and divergence", nats))
    lead = "Before is the base, after the run. Each number is a mean over the probes, with its 95% interval."
    return Section("probes", "Before and after", lead, blocks, "Hollow: the base. Filled: the run.")


def held_out(evidence: Evidence) -> Section | None:
    """Accuracy, margin, sides, with the length taken out, and calibration; None where no pair was held out."""
    found = [each for each in evidence.measurements if each.kind == HELD_OUT and each.part in ("", LENGTH_MATCHED)]
    if not found:
        return None
    shares = [each for each in found if each.measure in SHARES]
    nats = [each for each in found if each.measure == "margin" or (each.measure not in SHARES and not each.part)]
    blocks: list[Block] = []
    if shares:
        blocks.append(_before_after("Preference", shares, "held-share"))
    if nats:
        blocks.append(_in_nats("Margin and log-probability of each side", nats))
    if evidence.length_control:
        blocks.append(_length(evidence.length_control))
    if evidence.calibration:
        blocks += _calibration(evidence.calibration)
    lead = (
        "Pairs of the same data that were never trained on. Accuracy near 1 is expected, and proves little by itself: "
        "look at both sides, and at the claims."
    )
    return Section("held-out", "Held-out pairs", lead, blocks)


def tags(evidence: Evidence) -> Section | None:
    """Every tag's probes and held-out pairs by themselves; None where nothing bears tags."""
    parts = [each for each in evidence.measurements if each.part not in ("", LENGTH_MATCHED)]
    on_probes = [each for each in parts if each.measure == "probability"]
    on_pairs = [each for each in parts if each.kind == HELD_OUT and each.measure == "margin"]
    blocks: list[Block] = []
    if on_probes:
        rows = [[Cell(each.part, "code"), Cell(_of(each)), _count(each), *_numbers(each.change)] for each in on_probes]
        blocks.append(Table("Probability, by tag of the probes", ["tag", "what", "probes", *_CHANGE], rows))
    if on_pairs:
        rows = [
            [
                Cell(each.part, "code"),
                _count(each),
                _accuracy(evidence, each.part),
                *_numbers(each.change),
            ]
            for each in on_pairs
        ]
        header = ["tag", "pairs", "accuracy", "margin before", "after", "change"]
        blocks.append(Table("Accuracy and margin, by tag of the held-out pairs", header, rows))
    return Section("tags", "By tag", "Where it worked, and where less.", blocks) if blocks else None


def regressions(evidence: Evidence) -> Section:
    """The worst regressions by name."""
    blocks: list[Block] = []
    if evidence.regressions:
        rows = [
            [
                Cell(each.id, "code"),
                Cell(f"{each.kind}, {each.response}"),
                Cell(decimal(each.before, 2), "number"),
                Cell(decimal(each.after, 2), "number"),
                Cell(decimal(each.worse, 2), "number"),
                Cell(each.prompt, "code"),
            ]
            for each in evidence.regressions
        ]
        header = ["probe or pair", "what", "before", "after", "worse by", "prompt"]
        blocks.append(Table("Worst regressions, in nats", header, rows))
        lead = "What got worse, worst first: read these, and make pairs of them."
    else:
        lead = "Nothing got worse: no good response lost log-probability, no bad one gained."
    return Section("regressions", "Worst regressions", lead, blocks)


def said(evidence: Evidence) -> list[Exchange]:
    """What base and run say to some probes, with the same seed."""
    return [
        Exchange(each.kind, each.prompt, [("base", each.before), ("run", each.after)]) for each in evidence.examples
    ]


def _before_after(caption: str, found: Sequence[Measurement], anchor: str) -> Table:
    rows = []
    for place, each in enumerate(found):
        change = each.change
        picture = interval_plot(
            f"{anchor}-{place}",
            f"{_of(each)}, {each.measure}",
            _bounds(change.before),
            _bounds(change.after),
            axis=(0, 1),
        )
        before, after, difference = _numbers(change)
        drawn = Cell("", "picture", picture=picture)
        rows.append([Cell(_of(each), detail=_by(each)), before, after, drawn, difference, *_test(change)])
    header = ["what", "before", "after", "0 to 1", "change", *_TEST]
    return Table(
        caption,
        header,
        rows,
        note="p: a paired test that exchanges before and after within groups of like prompts. Effect: mean change over "
        "its standard deviation. Detectable: the smallest true change that so many groups find in 80% of cases.",
    )


def _in_nats(caption: str, found: Sequence[Measurement]) -> Table:
    rows = [[Cell(_of(each), detail=_by(each)), *_numbers(each.change), *_test(each.change)] for each in found]
    return Table(caption, ["what", *_CHANGE, *_TEST], rows, note=_NATS)


def _length(control: LengthControl) -> Table:
    told = (
        ("accuracy at equal length", control.accuracy),
        ("accuracy, as it is", control.uncontrolled),
        ("accuracy of “the longer wins”", control.longer_wins),
        ("pull of length, in log-odds (0: none; above: longer ones)", control.slope),
    )
    rows = [[Cell(name), _estimate(each)] for name, each in told]
    return Table(
        "With the length taken out",
        ["measure", "value"],
        rows,
        narrow=True,
        note="A logistic regression of “the run prefers chosen” on the difference in length, after length-controlled "
        "AlpacaEval (Dubois et al. 2024).",
    )


def _calibration(found: Calibration) -> list[Block]:
    points = [
        Point(each.confidence, (each.accuracy.value, each.accuracy.low, each.accuracy.high), each.count)
        for each in found.bins
    ]
    caption = f"σ({number(found.beta)} · Δ) of {found.pairs:,} pairs. On the dashed line, it means what it says."
    chart = Chart(
        "Reliability of the preference probability", reliability("reliability", "Reliability", points), caption
    )
    rows = [
        [Cell("expected calibration error (0: none)"), _estimate(found.error)],
        [Cell("Brier score (always saying ½: 0.25)"), _estimate(found.brier)],
    ]
    return [Charts([chart]), Table("Calibration", ["measure", "value"], rows, narrow=True)]


def _of(each: Measurement) -> str:
    return each.response if each.kind == HELD_OUT else f"{each.kind}, {each.response}"


def _by(each: Measurement) -> str:
    part = f", {each.part}" if each.part else ""
    return f"{each.measure}{part} · {each.prompts:,} {'pairs' if each.kind == HELD_OUT else 'probes'}"


def _accuracy(evidence: Evidence, part: str) -> Cell:
    found = evidence.find(HELD_OUT, BOTH, "accuracy", part)
    return _estimate(found.after) if found else Cell("–", "number")


def _count(each: Measurement) -> Cell:
    return Cell(f"{each.prompts:,}", "number")


def _numbers(change: Change) -> list[Cell]:
    difference = change.difference
    return [
        _estimate(change.before),
        _estimate(change.after),
        Cell(signed(difference.value, 3), "number", detail=interval(difference.low, difference.high)),
    ]


def _test(change: Change) -> Iterable[Cell]:
    for value, places in ((change.p_value, 4), (change.effect, 2), (change.detectable, 3)):
        yield Cell("–" if value is None else decimal(value, places), "number")


def _estimate(found: Estimate) -> Cell:
    return Cell(decimal(found.value), "number", detail=interval(found.low, found.high))


def _bounds(found: Estimate) -> tuple[float, float, float]:
    return found.value, found.low, found.high


_MOST = 120
"""Tokens of a response that are shown."""
_STEPS = (0.1, math.log(2), math.log(10))
"""Changes of log-probability from which on a token is shaded, more and most: by a tenth, twofold, tenfold."""
_WHY = {"worst": "the worst", "typical": "a typical"}


def token_by_token(views: Sequence[TokenView]) -> Section:
    """Every probe that the evidence shows, with all its responses."""
    lead = "The change of every token's log-probability from base to run, in nats: +2.3 is ten times as likely."
    legend = (
        "Under each token two bars, its probability under the base (hollow) and under the run (filled). "
        "Stronger shades moved further; what is not signed moved by less than 0.1."
    )
    return Section("tokens", "Token by token", lead, [_probed(view) for view in views], legend)


def _probed(view: TokenView) -> Probed:
    return Probed(
        f"{_WHY[view.choice]} {view.kind} probe, {view.probe}", view.prompt, list(map(_scored, view.responses))
    )


def _scored(response: TokenResponse) -> ReportResponse:
    before, after = math.exp(min(response.before, 0.0)), math.exp(min(response.after, 0.0))
    shown = response.pieces[:_MOST]
    return ReportResponse(
        family=response.response,
        told=f"P {decimal(before)} → {decimal(after)}; log-probability {decimal(response.before, 2)} → "
        f"{decimal(response.after, 2)} ({signed(response.after - response.before)})",
        tokens=[_token(piece) for piece in shown],
        table=_table(response),
        more=len(response.pieces) - len(shown),
    )


def _token(piece: TokenPiece) -> ReportToken:
    before, after = math.exp(min(piece.before, 0.0)), math.exp(min(piece.after, 0.0))
    change = piece.after - piece.before
    step = sum(abs(change) >= least for least in _STEPS)
    hint = (
        f"base: P {number(before)}, rank {piece.ranks[0]}; run: P {number(after)}, rank {piece.ranks[1]}; "
        f"change {signed(change)} nats. "
    )
    hint += "The run's first choice." if piece.ranks[1] == 1 else f"The run would say: {visible(piece.likeliest)}"
    return ReportToken(
        text=visible(piece.text).strip(" ") or "␣",
        before=piece.before,
        after=piece.after,
        hint=hint,
        step=step if change > 0 else -step,
        special=piece.special,
        bars=two_bars(before, after),
    )


def visible(text: str) -> str:
    """A token with its newlines and tabs as signs: each token is on one line."""
    return text.replace("\n", "↵").replace("\t", "⇥")


def _table(response: TokenResponse) -> Table:
    rows = [
        [
            Cell(visible(piece.text), "code"),
            Cell(decimal(piece.before, 2), "number"),
            Cell(decimal(piece.after, 2), "number"),
            Cell(signed(piece.after - piece.before), "number"),
            Cell(f"{piece.ranks[0]:,}", "number"),
            Cell(f"{piece.ranks[1]:,}", "number"),
            Cell(visible(piece.likeliest), "code"),
        ]
        for piece in response.pieces[:_MOST]
    ]
    header = ["token", "base", "run", "change", "rank in base", "rank in run", "run's first choice"]
    return Table("Log-probability of each token", header, rows)
