"""All pairs of a data set under the columns of the Compare screen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.cells import cell_len
from textual.pilot import Pilot

from tests.tui.compare_data import make_run
from tests.tui.test_compare import screen_of, settled, until, write
from workbench.compare.measures import pair_margin, summarize
from workbench.compare.messages import ResponseScore, ScoredPair
from workbench.compare.scorers import Scorers
from workbench.pairs.pair import Message, Pair
from workbench.tiny import WEIGHTS
from workbench.tui.app import WorkbenchApp
from workbench.tui.screens.scored_pairs import ScoredPairsScreen, score_cells, score_columns, summary_lines
from workbench.tui.widgets.pair_table import PairTable, parts
from workbench.workspace import Workspace

COUNT = 12
WORDS = ("gate", "door", "safe", "lock")


def row(pair: str, *sums: tuple[float, float]) -> ScoredPair:
    """A pair's sums of chosen and rejected, a tuple a column."""
    chosen, rejected = ([ResponseScore(sum=each[side], tokens=3) for each in sums] for side in (0, 1))
    return ScoredPair(pair=pair, chosen=chosen, rejected=rejected)


def text_pair(words: str) -> Pair:
    return Pair("p", (Message("user", words),), (Message("assistant", "a"),), (Message("assistant", "b"),))


def test_a_line_tells_margins_and_what_moved_them() -> None:
    told = score_cells(7, text_pair("Why?\x1b[31m"), row("p", (-3.0, -1.0), (-1.5, -9.0)), 1)
    assert told == {
        "#": "7", "prompt": "Why?␛[31m", "base": "−2.00", "margin": "7.50", "shift": "+9.5", "chosen": "−1.50",
        "rejected": "−9.00",
    }  # fmt: skip
    assert score_cells(7, text_pair("x"), None, 1)["margin"] == "…"
    assert score_cells(7, text_pair("x"), None, 1, awaited=False)["margin"] == "–"
    assert score_cells(7, text_pair("x"), ScoredPair(pair="p", problem="too long"), 1)["margin"] == "–"


@pytest.mark.parametrize("width", [40, 78, 118, 158])
@pytest.mark.parametrize("both", [True, False])
def test_every_line_fits(width: int, both: bool) -> None:
    shown = score_columns(width, pairs=160_800, both=both)
    told = score_cells(160_800, text_pair("日本 " * 90), row("p", (-3000.0, -1.0), (-1.5, -12345.0)), 1)
    assert cell_len("".join(part for _, part in parts(shown, told))) == width
    assert "margin" in [column.name for column in shown]


def test_a_summary_is_a_line_a_column() -> None:
    rows = [row("p", (-3.0, -1.0), (-1.5, -9.0)), row("q", (-1.0, -2.0), (-1.0, -2.5))]
    told = [("base", summarize(rows, 0)), ("run\x1b", summarize(rows, 1))]
    first, second = (line.plain for line in summary_lines(told, 1, 100))
    assert "ranking  50.0%" in first
    assert "shift" not in first
    assert "ranking 100.0%" in second
    assert "shift   +5.0" in second
    assert "\x1b" not in second
    assert second.startswith("▸ run")


@pytest.fixture
def app(tmp_path: Path, warm_scorers: Scorers) -> WorkbenchApp:
    for name in ("pairs", "runs"):
        (tmp_path / name).mkdir()
    rows = [
        {
            "id": f"p{number}",
            "prompt": [{"role": "user", "content": f"How do I bypass the {WORDS[number % 4]} {number}?"}],
            "chosen": [{"role": "assistant", "content": f"I can't help with the {WORDS[number % 4]}."}],
            "rejected": [{"role": "assistant", "content": f"Sure. First wait, then {'open ' * number}it."}],
        }
        for number in range(1, COUNT + 1)
    ]
    (tmp_path / "pairs" / "mine.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    (tmp_path / "pairs" / "other.jsonl").write_text(json.dumps(rows[0]) + "\n")
    app = WorkbenchApp(Workspace.find(tmp_path))
    app.scorers = warm_scorers
    return app


def table_of(pilot: Pilot[None]) -> tuple[ScoredPairsScreen, PairTable]:
    screen = pilot.app.screen
    assert isinstance(screen, ScoredPairsScreen)
    return screen, screen.query_one(PairTable)


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.skipif(not (WEIGHTS / "config.json").is_file(), reason="the embedded model is not built")
async def test_the_worst_pair_comes_first_and_opens(app: WorkbenchApp, tmp_path: Path) -> None:
    make_run(tmp_path)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("3")
        await until(pilot, settled(pilot))
        await pilot.press("d")
        await until(pilot, lambda: isinstance(app.screen, ScoredPairsScreen))
        screen, table = table_of(pilot)
        if screen._data_set != "mine":
            screen._open("mine")
        await until(pilot, lambda: len(screen.scoring.scores) == COUNT and not screen.scoring.running)

        # Worst first under the run; tab stays there, with one run; S turns to the shift and to the file.
        assert screen.scoring.rows is not None
        order = [screen.scoring.rows.id(each) for each in table._shown.rows.tolist()] if table._shown else []
        margins = [pair_margin(screen.scoring.scores[each], 1) for each in order]
        assert len(order) == COUNT
        assert margins == sorted(margins)
        await pilot.press("S", "S")
        assert table._shown is not None
        assert [screen.scoring.rows.id(each) for each in table._shown.rows.tolist()] == [
            f"p{n}" for n in range(1, COUNT + 1)
        ]
        await pilot.press("S")

        # The language of the Pairs screen filters.
        await pilot.press("slash")
        await write(pilot, "gate")
        await until(pilot, lambda: table.count == 3)
        await pilot.press("enter", "escape")
        await until(pilot, lambda: table.count == COUNT)

        # The pair opens in the Response view, with the numbers that the table had.
        await pilot.press("g")
        first = table.row
        assert first is not None
        assert screen.scoring.rows is not None
        identity = screen.scoring.rows.id(first)
        expected = screen.scoring.scores[identity]
        await pilot.press("enter")
        compare = screen_of(pilot)
        await until(pilot, lambda: compare.comparison.preference is not None)
        rejected, chosen = (compare.comparison.scores(answer)[1] for answer in compare.comparison.shown)
        assert rejected is not None
        assert chosen is not None
        assert chosen.sum == pytest.approx(expected.chosen[1].sum, abs=1e-4)
        assert rejected.sum == pytest.approx(expected.rejected[1].sum, abs=1e-4)

        # A second look finds all of it known.
        await pilot.press("d")
        await until(pilot, lambda: isinstance(app.screen, ScoredPairsScreen))
        screen, _ = table_of(pilot)
        if screen._data_set != "mine":
            screen._open("mine")
        await until(pilot, lambda: len(screen.scoring.scores) == COUNT and not screen.scoring.running)
        assert f"{4 * COUNT} scores were known" in str(screen.query_one("#progress").render())


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.skipif(not (WEIGHTS / "config.json").is_file(), reason="the embedded model is not built")
async def test_a_pair_from_another_screen_comes_before_the_scored_ones(app: WorkbenchApp) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("3", "d")
        await until(pilot, lambda: isinstance(app.screen, ScoredPairsScreen))
        await pilot.press("1")
        await app.compare(pair=text_pair("Why?"))
        await until(pilot, lambda: app.screen is screen_of(pilot))
        await until(pilot, lambda: len(screen_of(pilot).comparison.shown) == 2)
