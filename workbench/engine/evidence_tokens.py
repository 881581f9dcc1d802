"""The probes that a report shows token by token, scored under base and run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from workbench.compare.messages import Column, Score, ScoredColumn, Turn
from workbench.compare.pieces import pieces
from workbench.engine.scorer import Scorer
from workbench.evidence.probes import Probe
from workbench.evidence.tokens import TokenPiece, TokenResponse, TokenView, choose, question
from workbench.evidence.verdicts import Readings


def token_views(
    scorer: Scorer, adapter: Path, probes: Sequence[Probe], readings: Mapping[tuple[str, str, Any], Readings]
) -> list[TokenView]:
    """The worst and a typical probe of every kind, by `readings`, with every token of their responses.

    Raises `WorkbenchError`.
    """
    columns = [Column(name="base"), Column(name="run", adapter=str(adapter))]
    return [
        TokenView(
            probe.id,
            probe.kind,
            choice,
            question(probe),
            [_scored(scorer, probe, family, columns) for family in probe.responses],
        )
        for probe, choice in choose(probes, readings)
    ]


def _scored(scorer: Scorer, probe: Probe, family: str, columns: list[Column]) -> TokenResponse:
    prompt = probe.prompt
    asked = prompt if isinstance(prompt, str) else [Turn(role=turn.role, content=turn.content) for turn in prompt]
    found = scorer.score(Score(id=0, prompt=asked, response=probe.responses[family], columns=columns, top_k=1))
    base, run = found.columns
    return TokenResponse(family, base.sum, run.sum, _pieces(base, run))


def _pieces(base: ScoredColumn, run: ScoredColumn) -> list[TokenPiece]:
    """The tokens, those that only together are a character as one."""
    return [
        TokenPiece(
            text=piece.text,
            before=sum(token.logprob for token in base.tokens[piece.first : piece.last + 1]),
            after=sum(token.logprob for token in run.tokens[piece.first : piece.last + 1]),
            ranks=(base.tokens[piece.first].rank, run.tokens[piece.first].rank),
            likeliest=run.tokens[piece.first].top[0][0],
            special=run.tokens[piece.first].special,
        )
        for piece in pieces(run.tokens)
    ]
