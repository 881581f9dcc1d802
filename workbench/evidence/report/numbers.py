"""The parts of a report with what was measured: probes, held-out pairs, tags, the worst regressions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from workbench.behaviours.behaviour import Behaviour
from workbench.evidence.calibration import Calibration
from workbench.evidence.cases import Example, TokenPiece, TokenResponse, TokenView, classified
from workbench.evidence.claims import signs
from workbench.evidence.document import Evidence
from workbench.evidence.length_control import LengthControl
from workbench.evidence.measurements import BOTH, HELD_OUT, LENGTH_MATCHED, TASK, Measurement
from workbench.evidence.report.blocks import (
    Block,
    Cell,
    Charts,
    Drawing,
    Exchange,
    Points,
    Probed,
    ReportResponse,
    ReportToken,
    Section,
    Table,
)
from workbench.evidence.report.story import SHARES
from workbench.evidence.report.svg import Point, interval_plot, reliability, two_bars
from workbench.evidence.sample_labels import SampleLabel, error_rates
from workbench.evidence.statistics import Change, Estimate
from workbench.figures import decimal, interval, number, signed
from workbench.text import quoted

_EXCHANGES = 3
"""Probes of a kind whose answers are shown."""
_CHANGE = ("before", "after", "change")
_TEST = ("p", "effect", "detectable")
_NATS = "Natural logarithms. Change: run less base. p: a paired test that exchanges before and after within groups."


def probes(evidence: Evidence) -> Section | None:
    """Probabilities, samples and log-probabilities on the probes, before and after; None where there were none."""
    whole = [m for m in evidence.measurements if m.kind != HELD_OUT and not m.part]
    shares = [m for m in whole if m.measure in SHARES]
    nats = [m for m in whole if m.measure not in SHARES]
    blocks: list[Block] = []
    if shares:
        blocks.append(_before_after("Shares of answers and probabilities", shares, "probe-share"))
    if nats:
        blocks.append(_in_nats("Log-probability and divergence", nats))
    if not blocks:
        return None
    lead = "Before is the base, after the run. Each number is a mean over the probes, with its 95% interval."
    return Section("probes", "Before and after", lead, blocks, "Hollow: the base. Filled: the run.")


def held_out(evidence: Evidence) -> Section | None:
    """Accuracy, margin, sides, with the length taken out, and calibration; None where no pair was held out."""
    measurements = [m for m in evidence.measurements if m.kind == HELD_OUT and m.part in ("", LENGTH_MATCHED)]
    if not measurements:
        return None
    shares = [m for m in measurements if m.measure in SHARES]
    nats = [m for m in measurements if m.measure == "margin" or (m.measure not in SHARES and not m.part)]
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
    parts = [m for m in evidence.measurements if m.part not in ("", LENGTH_MATCHED)]
    by = "samples" if any(m.measure == "samples" for m in parts) else "probability"
    on_probes = [m for m in parts if m.measure == by]
    on_pairs = [m for m in parts if m.kind == HELD_OUT and m.measure == "margin"]
    blocks: list[Block] = []
    if on_probes:
        rows = [[Cell(m.part, "code"), Cell(_of(m)), _count(m), *_numbers(m.change)] for m in on_probes]
        blocks.append(Table(f"{by.capitalize()}, by tag of the probes", ["tag", "what", "probes", *_CHANGE], rows))
    if on_pairs:
        rows = [
            [
                Cell(m.part, "code"),
                _count(m),
                _accuracy(evidence, m.part),
                *_numbers(m.change),
            ]
            for m in on_pairs
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
                Cell(regression.id, "code"),
                Cell(f"{regression.kind}, {regression.response}"),
                Cell(decimal(regression.before, 2), "number"),
                Cell(decimal(regression.after, 2), "number"),
                Cell(decimal(regression.worse, 2), "number"),
                Cell(regression.prompt, "code"),
            ]
            for regression in evidence.regressions
        ]
        header = ["probe or pair", "what", "before", "after", "worse by", "prompt"]
        blocks.append(Table("Worst regressions, in nats", header, rows))
        lead = "What got worse, worst first: read these, and make pairs of them."
    else:
        lead = "Nothing got worse: no good response lost log-probability, no bad one gained."
    return Section("regressions", "Worst regressions", lead, blocks)


def said(evidence: Evidence) -> list[Exchange]:
    """What base and run say to the first probes of every kind, with the same seed, and the behaviours that show."""
    kinds: dict[str, dict[str, Example]] = {}
    for example in evidence.examples:
        kinds.setdefault(example.kind, {}).setdefault(example.probe, example)
    return [
        Exchange(
            example.kind,
            example.prompt,
            [
                (_said_by("base", example.before_shows), example.before),
                (_said_by("run", example.after_shows), example.after),
            ],
        )
        for examples in kinds.values()
        for example in list(examples.values())[:_EXCHANGES]
    ]


def answers(evidence: Evidence, labels: Sequence[SampleLabel]) -> Section | None:
    """Some answers of every behaviour that a claim is about, for a person to check; None where nothing was sampled."""
    told = classified(evidence.examples, signs(evidence.claims.values()))
    if not told:
        return None
    rows = [
        [Cell(f"{one.kind}, {one.behaviour}"), Cell(one.model), Cell(one.prompt, "code"), Cell(one.answer, "code")]
        for one in told
    ]
    rules = [(name, Behaviour(**fields).told_by) for name, fields in evidence.provenance.behaviours.items()]
    lead = "What each behaviour was seen in: read a few, and judge the judge. Up to ten of a kind and behaviour."
    blocks: list[Block] = [
        Table("Sampled answers, as they were classified", ["told to be", "of", "prompt", "answer"], rows),
        Points(rules),
    ]
    if rates := error_rates(labels):
        judged = [[Cell(f"{rate.kind}, {rate.behaviour}"), _rate(rate.mistaken), _rate(rate.missed)] for rate in rates]
        header = ["judged by a person", "wrongly told so", "wrongly told not so"]
        blocks.append(Table("How often the classifier was wrong", header, judged, narrow=True))
    else:
        lead += " No person has judged any yet: the shares are as good as the rules below."
        lead += f" To measure these: workbench label-samples {quoted(evidence.run)}"
    return Section("classified", "Classified answers", lead, blocks)


def _rate(estimate: Estimate | None) -> Cell:
    if estimate is None:
        return Cell("–", "number")
    wrong = round(estimate.value * estimate.samples)
    return Cell(f"{wrong} of {estimate.samples}", "number", detail=interval(estimate.low, estimate.high))


def _said_by(model: str, shows: Sequence[str]) -> str:
    return f"{model} ({', '.join(shows)})" if shows else model


def _before_after(caption: str, measurements: Sequence[Measurement], anchor: str) -> Table:
    rows = []
    for index, m in enumerate(measurements):
        change = m.change
        picture = interval_plot(
            f"{anchor}-{index}",
            f"{_of(m)}, {m.measure}",
            _bounds(change.before),
            _bounds(change.after),
            axis=(0, 1),
        )
        before, after, difference = _numbers(change)
        drawn = Cell("", "picture", picture=picture)
        rows.append([Cell(_of(m), detail=_by(m)), before, after, drawn, difference, *_test(change)])
    header = ["what", "before", "after", "0 to 1", "change", *_TEST]
    return Table(
        caption,
        header,
        rows,
        note="p: a paired test that exchanges before and after within groups of like prompts. Effect: mean change over "
        "its standard deviation. Detectable: the smallest true change that so many groups find in 80% of cases.",
    )


def _in_nats(caption: str, measurements: Sequence[Measurement]) -> Table:
    rows = [[Cell(_of(m), detail=_by(m)), *_numbers(m.change), *_test(m.change)] for m in measurements]
    return Table(caption, ["what", *_CHANGE, *_TEST], rows, note=_NATS)


def _length(control: LengthControl) -> Table:
    estimates = (
        ("accuracy at equal length", control.accuracy),
        ("accuracy, as it is", control.uncontrolled),
        ("accuracy of “the longer wins”", control.longer_wins),
        ("pull of length, in log-odds (0: none; above: longer ones)", control.slope),
    )
    rows = [[Cell(name), _estimate(estimate)] for name, estimate in estimates]
    return Table(
        "With the length taken out",
        ["measure", "value"],
        rows,
        narrow=True,
        note="A logistic regression of “the run prefers chosen” on the difference in length, after length-controlled "
        "AlpacaEval (Dubois et al. 2024).",
    )


def _calibration(calibration: Calibration) -> list[Block]:
    points = [
        Point(group.confidence, (group.accuracy.value, group.accuracy.low, group.accuracy.high), group.count)
        for group in calibration.bins
    ]
    caption = (
        f"σ({number(calibration.beta)} · Δ) of {calibration.pairs:,} pairs. On the dashed line, it means what it says."
    )
    chart = Drawing(
        "Reliability of the preference probability", reliability("reliability", "Reliability", points), caption
    )
    rows = [
        [Cell("expected calibration error (0: none)"), _estimate(calibration.error)],
        [Cell("Brier score (always saying ½: 0.25)"), _estimate(calibration.brier)],
    ]
    return [Charts([chart]), Table("Calibration", ["measure", "value"], rows, narrow=True)]


def _of(m: Measurement) -> str:
    return m.response if m.kind == HELD_OUT else f"{m.kind}, {m.response}"


def _by(m: Measurement) -> str:
    part = f", {m.part}" if m.part else ""
    things = {HELD_OUT: "pairs", TASK: "items"}.get(m.kind, "probes")
    return f"{m.measure}{part} · {m.prompts:,} {things}"


def _accuracy(evidence: Evidence, part: str) -> Cell:
    change = evidence.find(HELD_OUT, BOTH, "accuracy", part)
    return _estimate(change.after) if change else Cell("–", "number")


def _count(m: Measurement) -> Cell:
    return Cell(f"{m.prompts:,}", "number")


def _numbers(change: Change) -> list[Cell]:
    difference = change.difference
    return [
        _estimate(change.before),
        _estimate(change.after),
        Cell(signed(difference.value, 3), "number", detail=_interval(difference)),
    ]


def _test(change: Change) -> Iterable[Cell]:
    for value, places in ((change.p_value, 4), (change.effect, 2), (change.detectable, 3)):
        yield Cell("–" if value is None else decimal(value, places), "number")


def _estimate(estimate: Estimate) -> Cell:
    return Cell(decimal(estimate.value), "number", detail=_interval(estimate))


def _interval(estimate: Estimate) -> str:
    return interval(estimate.low, estimate.high) if estimate.has_interval else ""


def _bounds(estimate: Estimate) -> tuple[float, float, float]:
    return estimate.value, estimate.low, estimate.high


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
        summary=f"P {decimal(before)} → {decimal(after)}; log-probability {decimal(response.before, 2)} → "
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
