"""score --pairs: every pair of a data set under the base and the runs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from workbench.cli.compare_columns import scorer_of
from workbench.cli.context import note, print_json, print_table
from workbench.workspace import Workspace

if TYPE_CHECKING:
    from workbench.compare.measures import ColumnSummary
    from workbench.compare.messages import Column, PairsScored, ScoredPair
    from workbench.compare.scorers import Base

_EVERY = 5.0
"""Seconds between two lines of progress."""
_WORST = 10
"""Rows that are shown; --json has them all."""


def score_data_set(
    workspace: Workspace, name: str, base: Base, columns: Sequence[Column], max_length: int | None, *, as_json: bool
) -> None:
    """Prints what the columns make of the data set `name`, worst pairs of the last column first.

    Raises `WorkbenchError` where the data set or a model cannot be read.
    """
    from workbench.compare.measures import summarize, worst_first
    from workbench.compare.messages import ScorePairs

    path = workspace.existing_pairs_file(name)
    request = ScorePairs(path=str(path), columns=list(columns), max_length=max_length, cache=str(workspace.scores))
    rows, end = _scored(base, request)
    rows = worst_first(rows, len(columns) - 1)
    summaries = [summarize(rows, place) for place in range(len(columns))]
    if as_json:
        print_json(
            {
                "pairs": name,
                "columns": [{"name": column.name, **asdict(each)} for column, each in _with(columns, summaries)],
                "problems": [{"id": row.pair, "reason": row.problem} for row in rows if row.problem],
                "rows": [_document(row, columns) for row in rows if not row.problem],
            }
        )
        return
    _print(columns, summaries, rows)
    note(f"{end.total:,} pairs, {end.computed:,} responses scored, {end.cached:,} known from before.")
    if end.problems:
        reason = next(row.problem for row in rows if row.problem)
        note(f"{end.problems:,} without numbers, the first of them: {reason}")


def _scored(base: Base, request: Any) -> tuple[list[ScoredPair], PairsScored]:
    scorer = scorer_of(base)
    from workbench.compare.messages import PairBatch
    from workbench.engine.model.inference import fitting_threads
    from workbench.engine.scoring.data_set_scores import score_pairs

    rows: list[ScoredPair] = []
    told = time.monotonic()
    with fitting_threads(scorer.adapters.model):
        for reply in score_pairs(scorer, request):
            if isinstance(reply, PairBatch):
                rows += reply.rows
                if time.monotonic() - told > _EVERY:
                    told = time.monotonic()
                    note(f"Scored {reply.done:,} of {reply.total:,} pairs …")
            elif reply is not None:
                end = reply
    return rows, end


def _with(columns: Sequence[Column], summaries: Sequence[ColumnSummary]) -> list[tuple[Column, ColumnSummary]]:
    return list(zip(columns, summaries, strict=True))


def _document(row: ScoredPair, columns: Sequence[Column]) -> dict[str, Any]:
    from workbench.compare.measures import margin_shift, pair_margin

    return {
        "id": row.pair,
        "columns": [
            {
                "name": column.name,
                "chosen": row.chosen[place].sum,
                "rejected": row.rejected[place].sum,
                "chosen_tokens": row.chosen[place].tokens,
                "rejected_tokens": row.rejected[place].tokens,
                "margin": pair_margin(row, place),
                "shift": margin_shift(row, place),
                "cut": row.chosen[place].cut or row.rejected[place].cut,
            }
            for place, column in enumerate(columns)
        ],
    }


def _print(columns: Sequence[Column], summaries: Sequence[ColumnSummary], rows: Sequence[ScoredPair]) -> None:
    from workbench.compare.measures import margin_shift, pair_margin
    from workbench.figures import nats, nats_change

    table = []
    for column, each in _with(columns, summaries):
        shares = ["" if value is None else f"{value:.1%}" for value in (each.accuracy, each.improved)]
        means = ["" if value is None else nats(value) for value in (each.margin, each.chosen, each.rejected)]
        table.append([column.name, *shares, *means, "" if each.shift is None else nats_change(each.shift)])
    header = ["", "accuracy", "improved", "margin", "chosen", "rejected", "shift"]
    print_table(header, table, right=range(1, len(header)))
    worst = [row for row in rows if not row.problem][:_WORST]
    if worst:
        print()
        last = len(columns) - 1
        print_table(
            ["worst pairs", "margin", "chosen", "rejected", *(["shift"] if last else [])],
            [
                [
                    row.pair,
                    nats(pair_margin(row, last)),
                    nats(row.chosen[last].sum),
                    nats(row.rejected[last].sum),
                    *([nats_change(margin_shift(row, last))] if last else []),
                ]
                for row in worst
            ],
            right=range(1, 5),
        )
    note(f"Means over pairs, in nats. The worst pairs are those of {columns[-1].name}; --json has all.")
