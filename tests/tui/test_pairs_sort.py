"""Orders of the pairs, a run's margins among them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.tui.pairs_data import make_pair, make_workspace
from tests.tui.pairs_screen import opened
from workbench.config import build_config
from workbench.pairs.pair import to_row
from workbench.pairs.query import Order
from workbench.pairs.store import write_pairs
from workbench.runs.folder import create
from workbench.runs.pair_scores import Score, ScoreWriter, fingerprint
from workbench.tui.screens.pair_browser import sort_offers


async def test_by_length_ratio_and_round_again(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, 3)
    async with opened(workspace) as screen:
        store = screen.store
        store.swap([1])
        await screen.press("S", "j", "enter")
        assert screen.numbers() == [1, 3, 2]
        await screen.press("S", "enter")
        assert screen.numbers() == [2, 1, 3]
        await screen.press("S", "k", "enter")
        assert screen.numbers() == [1, 2, 3]


async def test_the_worst_margins_of_a_run_come_first(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, 4)
    folder = create(workspace.runs, build_config({"pairs": ["support"]}), [], {})
    margins = {"pair-1": 0.5, "pair-2": -1.25, "pair-4": 2.0}
    with ScoreWriter(folder.path) as writer:
        for number, (identity, margin) in enumerate(margins.items()):
            text = fingerprint(to_row(make_pair(number)))
            writer.write([Score(identity, text, "train", 10, -5.0, -6.0, margin, -5.0, -5.0)])
    async with opened(workspace, (160, 45)) as screen:
        await screen.press("S", *["j"] * 11, "enter")
        assert screen.numbers() == [2, 1, 4, 3]
        assert "−1.25" in screen.row(0)


async def test_the_current_order_is_marked_and_names_are_shown_unharmed() -> None:
    *_, other, current = sort_offers(Order("margin", run="b"), [("a", "[bold]one\x1b"), ("b", "two")])
    assert other[0] == Order("margin", run="a")
    assert other[1].startswith("  margin: [bold]one␛")
    assert current == (Order("margin", descending=True, run="b"), "▲ margin: two", "lowest margin first")


async def test_margins_of_the_data_have_a_column_a_filter_and_an_order(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, 1)
    scored = [
        replace(make_pair(number), extra={"margin": margin} if margin else {})
        for number, margin in enumerate([0.5, 0, 3])
    ]
    write_pairs(workspace.pairs_file("support"), scored)
    async with opened(workspace, (160, 45)) as screen:
        assert "+0.50" in screen.row(0)
        await screen.press("S", *["j"] * 10, "enter")
        assert screen.numbers() == [1, 3, 2]
        await screen.press("S", "enter")
        assert screen.numbers() == [3, 1, 2]
        await screen.press("g", "s")
        assert "−3.00" in screen.row(0)
        await screen.press("u", "/", *"margin>1", "enter")
        assert screen.numbers() == [3]
