"""The part of a report that shows responses token by token, base beside run."""

from __future__ import annotations

import math
from collections.abc import Sequence

from workbench.evidence.report.content import Cell, Probed, ReportResponse, ReportToken, Section, Table
from workbench.evidence.report.svg import two_bars
from workbench.evidence.token_views import TokenPiece, TokenResponse, TokenView
from workbench.figures import decimal, number, signed

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
