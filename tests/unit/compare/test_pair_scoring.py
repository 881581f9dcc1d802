"""A data set scored pair by pair without a screen, against a scripted scorer: what came, its order, and the end."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.unit.pairs.some_pairs import some
from workbench.compare.client import ScorerClient
from workbench.compare.messages import Column
from workbench.compare.pair_scoring import PairScoring, ScoringProgress
from workbench.errors import WorkbenchError
from workbench.pairs.query import parse
from workbench.pairs.store import write_pairs

SCRIPT = Path(__file__).with_name("scripted_scorer.py")


class Desk:
    """A scoring of five pairs, id0 to id4, and how far it was each time that it told of a change."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.client = ScorerClient("m", command=[sys.executable, str(SCRIPT), "plays along"])
        self.told: list[ScoringProgress] = []
        columns = [Column(name="base"), Column(name="one", adapter="one"), Column(name="two", adapter="two")]
        self.scoring = PairScoring(
            self.started, columns, 1, cache=folder / "cache", on_change=self.tell, gather_seconds=0
        )

    async def started(self) -> ScorerClient:
        return self.client

    def tell(self) -> None:
        self.told.append(self.scoring.progress)

    async def read(self, name: str) -> None:
        write_pairs(self.folder / f"{name}.jsonl", some(5))
        await self.scoring.read(self.folder / f"{name}.jsonl")

    def ordered(self) -> list[str]:
        rows, numbers = self.scoring.rows, self.scoring.ordered()
        assert rows is not None
        assert numbers is not None
        return [rows.pair(int(number)).id for number in numbers]


@pytest_asyncio.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    desk = Desk(tmp_path)
    async with desk.client:
        yield desk


async def test_lowest_come_first_under_the_column_looked_at_and_pairs_without_numbers_last(desk: Desk) -> None:
    await desk.read("x")
    await desk.scoring.score()
    assert [progress.stage for progress in desk.told][-1] == "done"
    end = desk.scoring.progress.end
    assert end is not None
    assert (end.total, end.problems, desk.scoring.progress.done) == (5, 1, 5)
    # The script's margins: base 1 2 3 4, one 0 4 1 3, two 4 3 2 1; and a problem for id0.
    assert desk.ordered() == ["id1", "id3", "id4", "id2", "id0"]
    desk.scoring.next_order()
    assert (desk.scoring.order_by, desk.ordered()) == ("shift", ["id3", "id1", "id4", "id2", "id0"])
    desk.scoring.next_order()
    assert (desk.scoring.order_by, desk.ordered()) == ("", ["id0", "id1", "id2", "id3", "id4"])
    desk.scoring.next_order()
    desk.scoring.next_column()
    assert desk.ordered() == ["id4", "id3", "id2", "id1", "id0"]
    desk.scoring.next_column()
    assert desk.scoring.current == 1, "the base is no column to look at: it is what others are compared with"
    desk.scoring.set_order("colour")
    assert desk.ordered()[0] == "id0", "an order that is none is that of the file"


async def test_a_query_narrows_what_is_ordered_and_a_summary_counts_every_pair(desk: Desk) -> None:
    await desk.read("x")
    assert not desk.scoring.summary_due
    await desk.scoring.score()
    await desk.scoring.find(parse('"prompt 4"'))
    assert desk.ordered() == ["id4"]
    assert desk.scoring.summary_due
    await desk.scoring.summarize()
    assert not desk.scoring.summary_due
    assert [(summary.pairs, summary.margin) for summary in desk.scoring.summaries] == [(4, 2.5), (4, 2.0), (4, 2.5)]


async def test_pairs_of_the_data_set_before_count_no_more(desk: Desk) -> None:
    await desk.read("x")
    await desk.scoring.score()
    await desk.read("y")
    assert (desk.scoring.scores, desk.scoring.progress.stage) == ({}, "reading")
    assert desk.ordered() == ["id0", "id1", "id2", "id3", "id4"]


async def test_what_came_before_it_was_cancelled_stays(desk: Desk) -> None:
    await desk.read("half")
    scoring = asyncio.create_task(desk.scoring.score())
    while len(desk.scoring.scores) < 2:
        await asyncio.sleep(0.01)
    assert desk.scoring.running
    scoring.cancel()
    with pytest.raises(asyncio.CancelledError):
        await scoring
    assert (desk.scoring.progress.stage, desk.scoring.progress.done, desk.scoring.running) == ("cancelled", 2, False)
    assert desk.ordered()[:2] == ["id1", "id2"]


async def test_a_scorer_that_refuses_is_told_and_the_scoring_failed(desk: Desk) -> None:
    await desk.read("refused")
    with pytest.raises(WorkbenchError, match="No adapter there"):
        await desk.scoring.score()
    assert (desk.scoring.progress.stage, desk.scoring.progress.end) == ("failed", None)
