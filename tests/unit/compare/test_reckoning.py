"""Shares of answers, the cost of a system message, and margins over a data set: counted by hand."""

import pytest

from workbench.compare.cost import PromptCost, prompt_costs
from workbench.compare.messages import Generation, PairRow, ScoredColumn, Side, TokenScore
from workbench.compare.pair_table import Summary, margin, shift, summary, worst_first
from workbench.compare.shares import Share, shares
from workbench.compare.tokens import shifts


def said(name: str, *families: str | None) -> list[Generation]:
    return [
        Generation(name=name, sample=number, text="x", tokens=1, ended=True, family=family)
        for number, family in enumerate(families)
    ]


def test_shares_stand_side_by_side() -> None:
    found = shares([*said("base", "harmful", "harmful", None), *said("run", "refusing", "harmful", "refusing")])
    assert list(found) == ["base", "run"]
    assert found["base"] == [Share("harmful", 2, 3), Share("refusing", 0, 3), Share(None, 1, 3)]
    assert found["run"] == [Share("harmful", 1, 3), Share("refusing", 2, 3), Share(None, 0, 3)]
    assert found["base"][0].share == pytest.approx(2 / 3)
    assert shares([]) == {}


def test_a_system_message_is_paid_for_with_every_request() -> None:
    base, run, prompted = prompt_costs([14, 14, 37])
    assert base == run == PromptCost(14, 0)
    assert (prompted.extra, prompted.per_million) == (23, 23_000_000)


def row(name: str, *sides: tuple[float, float], cut: bool = False, problem: str = "") -> PairRow:
    return PairRow(
        pair=name,
        chosen=[Side(sum=chosen, tokens=4, cut=cut) for chosen, _ in sides],
        rejected=[Side(sum=rejected, tokens=5) for _, rejected in sides],
        problem=problem,
    )


ROWS = [
    row("a", (-10, -4), (-5, -9)),
    row("b", (-3, -4), (-8, -6), cut=True),
    row("c", problem="too long"),
    row("d", (-2, -5), (-1, -8)),
]


def test_margins_and_what_moved_them() -> None:
    assert (margin(ROWS[0], 0), margin(ROWS[0], 1), shift(ROWS[0], 1)) == (-6, 4, 10)
    assert [each.pair for each in worst_first(ROWS, 0)] == ["a", "b", "d", "c"]
    assert [each.pair for each in worst_first(ROWS, 1)] == ["b", "a", "d", "c"]


def test_a_column_over_all_pairs() -> None:
    base, run = summary(ROWS, 0), summary(ROWS, 1)
    assert base == Summary(3, 2 / 3, None, -2 / 3, None, -5.0, -13 / 3, 1)
    assert run == Summary(3, 2 / 3, 2 / 3, 3.0, 11 / 3, -14 / 3, -23 / 3, 1)
    assert summary([ROWS[2]], 1) == Summary(0, None, None, None, None, None, None, 0)


def test_the_shift_is_told_by_the_rank_of_the_choice() -> None:
    tokens = [
        TokenScore(id=0, text="x", logprob=-1, rank=9, top=[], shift_rank=rank) for rank in (1, 2, 3, 4, 99, None)
    ]
    column = ScoredColumn(name="run", sum=-6, mean=-1, probability=0.1, tokens=tokens)
    assert shifts(column) == ["unshifted", "marginal", "marginal", "shifted", "shifted", None]
