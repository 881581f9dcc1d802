"""The search line: what it offers, what it says is wrong, and the queries it remembers."""

from __future__ import annotations

import asyncio
from pathlib import Path

from textual.widgets import Input, OptionList, Static

from tests.tui.pairs_data import make_workspace
from tests.tui.pairs_screen import Screen, opened
from workbench.pairs.pair import STATUSES
from workbench.tui.widgets.pair_table import PairTable
from workbench.tui.widgets.search_line import SearchLine


def offers(screen: Screen) -> list[str]:
    listed = screen.pairs_screen.query_one(SearchLine).query_one(OptionList)
    return [str(option.prompt).split()[0] for option in listed.options] if listed.display else []


def line(screen: Screen) -> Input:
    return screen.pairs_screen.query_one(SearchLine).query_one(Input)


async def test_what_is_wrong_is_shown_below_its_place_once_the_typing_rests(tmp_path: Path) -> None:
    async with opened(make_workspace(tmp_path)) as screen:
        await screen.press("slash")
        await screen.type("refund ")
        assert screen.numbers() == [4, 14, 24]
        await screen.type("statsu:new")
        wrong = screen.pairs_screen.query_one("#wrong", Static)
        assert not wrong.display
        for _ in range(100):
            await asyncio.sleep(0.02)
            if wrong.display:
                break
        marks, said = str(wrong.render()).split("\n")
        at = line(screen).region.x + len("refund ")
        assert marks == " " * (at - 1) + "▔" * len("statsu")
        assert said.startswith("▲ No field 'statsu' to search by. Did you mean 'status'?")
        await screen.press(*["left"] * 4, *["backspace"] * 2, "u", "s", "end")
        await screen.settle()
        assert line(screen).value == "refund status:new"
        assert not wrong.display
        assert screen.numbers() == [4, 14, 24]
        await screen.press("escape")
        assert not screen.pairs_screen.query_one(SearchLine).display
        assert len(screen.numbers()) == 30


async def test_a_query_that_finds_nothing_says_so_and_how_to_go_on(tmp_path: Path) -> None:
    async with opened(make_workspace(tmp_path)) as screen:
        await screen.press("slash")
        await screen.type("zebra")
        table = screen.pairs_screen.query_one(PairTable)
        assert screen.numbers() == []
        assert "No pair matches. esc shows all" in table.render_line(2).text
        await screen.press("escape")
        assert len(screen.numbers()) == 30
        assert "No pair matches" not in table.render_line(2).text


async def test_tab_and_arrows_write_terms_out(tmp_path: Path) -> None:
    async with opened(make_workspace(tmp_path)) as screen:
        await screen.press("j", "j", "a", "slash")
        await screen.type("sta")
        assert offers(screen) == ["status:"]
        await screen.press("tab")
        assert line(screen).value == "status:"
        offered = [f"status:{each}" for each in (*STATUSES, "undrafted")]
        assert offers(screen) == offered
        await screen.press("down", "down", "enter")
        assert line(screen).value == "status:accepted "
        assert screen.numbers() == [3]
        await screen.type("tag:")
        assert "tag:tone" in offers(screen)
        await screen.press("enter")
        assert isinstance(screen.pilot.app.focused, PairTable)
        assert offers(screen) == []


async def test_f_lists_all_that_can_be_asked_for(tmp_path: Path) -> None:
    async with opened(make_workspace(tmp_path)) as screen:
        await screen.press("f")
        assert offers(screen)[:3] == ["status:", "split:", "tag:"]
        await screen.press("down", "down", "down", "tab")
        assert line(screen).value == "tag:"
        await screen.type("to")
        await screen.press("tab", "enter")
        assert screen.numbers() == [number for number in range(1, 31) if number % 2]


async def test_earlier_queries_come_back(tmp_path: Path) -> None:
    async with opened(make_workspace(tmp_path)) as screen:
        for query in ("refund", "meal"):
            await screen.press("slash")
            await screen.type(query)
            await screen.press("enter", "escape")
        await screen.press("slash", "up")
        assert line(screen).value == "meal"
        await screen.press("up", "up")
        assert line(screen).value == "refund"
        await screen.press("down", "down")
        assert line(screen).value == ""
        await screen.press("down")
        assert isinstance(screen.pilot.app.focused, PairTable)


async def test_wild_tags_are_offered_unharmed(tmp_path: Path) -> None:
    async with opened(make_workspace(tmp_path, 3)) as screen:
        store = screen.store
        store.add_tag([0], "[bold]a\x1b b")
        await screen.press("slash")
        await screen.type("tag:[")
        await screen.press("tab", "enter")
        assert screen.numbers() == [1]
