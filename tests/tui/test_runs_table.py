"""The table of runs: its columns, its order, and where the highlight stays."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from tests.tui.runs_data import beginning, displaced, finished, make_run, training, whole_run
from tests.tui.runs_screen import runs_screen, shown, shows, until
from workbench.runs.catalog import Catalog, Run
from workbench.runs.labels import Labels
from workbench.tui.widgets.run_table import RunTable, arrange, final, fitting, header, matches, metrics_of, row


@pytest.fixture
def runs(root: Path) -> list[Run]:
    make_run(root, "long", [*beginning(), *training(0, 100), displaced(), finished()], model="tiny")
    make_run(root, "short", [*beginning(), *training(0, 45)], age=5)
    make_run(root, "none", [], age=9)
    return Catalog(root / "runs").summaries()


@pytest.mark.parametrize("width", [30, 58, 78, 118, 158, 300])
def test_columns_fit_every_width_and_lines_are_aligned(runs: list[Run], width: int) -> None:
    columns = fitting(runs, width, "kl")
    lines = [header(columns, "kl", upwards=True), *(row(run, columns) for run in runs)]
    assert len({line.cell_length for line in lines}) == 1
    assert lines[0].cell_length <= width
    keys = [column.key for column, _ in columns]
    assert keys[0] == "status"
    assert "kl" in keys or width < 58
    assert "margin" in keys or width < 78


def test_runs_are_sorted_by_any_metric_and_those_without_come_last(runs: list[Run]) -> None:
    names = [[run.id[16:-4] for run in arrange(runs, "margin", upwards=up)] for up in (True, False)]
    assert names == [["short", "long", "none"], ["long", "short", "none"]]
    assert [run.id[16:-4] for run in arrange(runs, "name", upwards=True)] == ["none", "short", "long"]
    assert [run.id[16:-4] for run in arrange(runs, "grad_norm", upwards=True)][-1] == "none"
    assert "logps/rejected" in metrics_of(runs)


def test_a_run_whose_training_broke_shows_that_and_not_its_last_good_evaluation(root: Path) -> None:
    events = [*beginning(), *training(0, 25)]
    events[-1].metrics["loss"] = math.nan  # type: ignore[attr-defined]
    make_run(root, "broken", events)
    [run] = Catalog(root / "runs").summaries()
    value = final(run, "loss")
    assert value is not None
    assert math.isnan(value)
    assert arrange([run], "loss", upwards=True) == [run]


def test_a_filter_wants_every_word_somewhere(runs: list[Run]) -> None:
    from dataclasses import replace

    run = replace(runs[0], labels=Labels("best of all", "a note", ("sft",)))
    assert matches(run, "BEST #sft note tiny finished")
    assert not matches(run, "best worst")
    assert matches(run, "")


@pytest.mark.usefixtures("runs")
async def test_sorting_by_the_dialog_and_by_a_click(root: Path) -> None:
    async with runs_screen(root, (120, 30)) as pilot:
        table = pilot.app.screen.query_one(RunTable)
        await shows(pilot, "started▾", "long-dpo", "none-dpo")
        await pilot.press("S")
        await shows(pilot, "Sort by", "reward margin", "logps/chosen")
        await pilot.press(*"jjjjj", "enter")
        await shows(pilot, "margin▾")
        assert [run[16:-4] for run in table.ids] == ["long", "short", "none"]
        await pilot.press("S")
        await shows(pilot, "▾ downwards")
        await pilot.press("enter")
        await shows(pilot, "margin▴")
        assert [run[16:-4] for run in table.ids] == ["short", "long", "none"]
        at = shown(pilot).split("\n")[1].index("loss")
        await pilot.click(RunTable, offset=(at + 1, 0))
        await shows(pilot, "loss▴")
        await pilot.click(RunTable, offset=(12, 3))
        await until(pilot, lambda: table.current == table.ids[2])


async def test_the_highlight_stays_on_its_run_when_a_newer_one_comes(root: Path) -> None:
    old = make_run(root, "old", whole_run(), age=10)
    older = make_run(root, "older", whole_run(), age=20)
    async with runs_screen(root) as pilot:
        await shows(pilot, old.id, "older-dpo")
        await pilot.press("j")
        make_run(root, "new", whole_run())
        await shows(pilot, "3 done")
        assert pilot.app.screen.query_one(RunTable).current == older.id


async def test_a_long_list_is_paged(root: Path) -> None:
    for age in range(30):
        make_run(root, f"set-{age:02}", [], age=age)
    async with runs_screen(root, (80, 24)) as pilot:
        await shows(pilot, "1–5 of 30", "set-00")
        await pilot.press("G")
        await shows(pilot, "26–30 of 30", "set-29")
        await pilot.press("g", "pagedown")
        await shows(pilot, "2–6 of 30")
