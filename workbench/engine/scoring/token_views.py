"""The probes that a report shows token by token, scored under base and run."""

from __future__ import annotations

from collections.abc import Sequence

from workbench.compare.messages import ScoredColumn
from workbench.compare.token_text import text_spans
from workbench.engine.scoring.probing import Beside
from workbench.evidence.probes import Probe
from workbench.evidence.readings import ProbeReading
from workbench.evidence.tokens import TokenPiece, TokenResponse, TokenView, choose

_DECIMALS = 4
"""Of a logarithm: of more, a reader of single tokens learns nothing."""


def token_views(beside: Beside, probes: Sequence[Probe], readings: Sequence[ProbeReading]) -> list[TokenView]:
    """The worst and a typical probe of every kind, by `readings`, with every token of their responses.

    Raises `WorkbenchError`.
    """
    beside.progress("looking at responses token by token")
    known = {probe.id: probe for probe in probes}
    return [
        TokenView(
            probe=found.id,
            kind=found.kind,
            choice=choice,
            prompt=found.prompt,
            responses=[_scored(beside, known[found.id], family) for family in found.responses],
        )
        for found, choice in choose(readings)
    ]


def _scored(beside: Beside, probe: Probe, family: str) -> TokenResponse:
    base, run = beside.tokens(probe.prompt, probe.responses[family], top_k=1).columns
    return TokenResponse(family, round(base.sum, _DECIMALS), round(run.sum, _DECIMALS), _pieces(base, run))


def _pieces(base: ScoredColumn, run: ScoredColumn) -> list[TokenPiece]:
    """The tokens, those that only together are a character as one."""
    found = []
    for piece in text_spans(run.tokens):
        inside, first = slice(piece.first, piece.last + 1), run.tokens[piece.first]
        found.append(
            TokenPiece(
                text=piece.text,
                before=round(sum(token.logprob for token in base.tokens[inside]), _DECIMALS),
                after=round(sum(token.logprob for token in run.tokens[inside]), _DECIMALS),
                ranks=(base.tokens[piece.first].rank, first.rank),
                likeliest=first.top[0][0],
                special=first.special,
            )
        )
    return found
