"""The Pairs screen, on real files: moving, judging, searching, and what is on disk afterwards."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.tui.pairs_data import make_pair, make_workspace
from tests.tui.pairs_screen import Screen, opened
from tests.tui.runs_screen import until
from workbench.pairs.pair import Message, Pair
from workbench.pairs.session import DataSetSession
from workbench.pairs.store import write_pairs
from workbench.tui.dialogs.data_sets import DataSetsDialog
from workbench.tui.dialogs.show import ErrorDialog
from workbench.tui.widgets.pair_table import PairTable
from workbench.tui.widgets.pair_view import PairText, PairView
from workbench.tui.widgets.review_bar import EmptyPairs, ReviewBar
from workbench.workspace import Workspace


async def test_moving_shows_the_pair_under_the_cursor(tmp_path: Path) -> None:
    async with opened(make_workspace(tmp_path)) as screen:
        assert "Why was my order 1 declined?" in screen.detail()
        for keys, number in ((["j", "j"], 3), (["k"], 2), (["G"], 30), (["g"], 1), (["down", "pagedown"], 14)):
            await screen.press(*keys)
            assert f" {number} declined?" in screen.detail(), keys


async def test_judging_marks_the_row_saves_it_and_moves_on(tmp_path: Path) -> None:
    async with opened(make_workspace(tmp_path)) as screen:
        await screen.press("a", "x", "m")
        assert [screen.row(line).split()[1:3] for line in range(2)] == [["✔", "accepted"], ["✘", "dropped"]]
        assert screen.table.cursor == 2
        assert "⚑ flagged" in screen.row(2)
        assert [pair.status for pair in screen.on_disk()[:4]] == ["accepted", "dropped", "flagged", "new"]
        await screen.press("m")
        assert screen.on_disk()[2].status == "new"


def shown(screen: Screen) -> str:
    """All that is on the screen."""
    strips = screen.pilot.app.screen._compositor.render_strips()
    return "\n".join("".join(part.text for part in strip) for strip in strips)


async def test_an_answer_judged_alone_is_accepted_and_dropped_as_pairs_are(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, 3)
    none = (Message("assistant", ""),)
    write_pairs(workspace.pairs_file("support"), [make_pair(1, rejected=none), make_pair(2, chosen=none)])
    async with opened(workspace) as screen:
        assert "◌ to draft" in screen.row(0)
        assert "judged good alone: kto trains on it" in shown(screen)
        await screen.press("a")
        assert "✔ accepted" in screen.row(0)
        assert "judged bad alone: kto trains on it" in shown(screen)
        await screen.press("x")
        assert [pair.status for pair in screen.on_disk()] == ["accepted", "dropped"]


async def test_a_pair_without_any_answer_is_marked_and_not_accepted(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, 3)
    none = (Message("assistant", ""),)
    lacking = make_pair(1, chosen=none, rejected=none)
    write_pairs(workspace.pairs_file("support"), [lacking, make_pair(2)])
    async with opened(workspace) as screen:
        assert "◌ to draft" in screen.row(0)
        await screen.press("a")
        assert "It has no answer yet: r drafts one" in screen.told()
        assert (screen.table.cursor, screen.on_disk()[0].status) == (0, "new")
        await screen.press("slash", *"status:und", "enter")
        assert len(screen.numbers()) == 1
        await screen.press("escape", "x")
        assert "✘ dropped" in screen.row(0)


async def test_an_untouched_line_stays_byte_for_byte(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, 3)
    path = workspace.pairs_file("support")
    odd = b'{"rejected":"b",   "prompt":"p", "id": "odd", "chosen":"a", "mine": 1.50}\n'
    path.write_bytes(odd + odd.replace(b"odd", b"even"))
    async with opened(workspace) as screen:
        await screen.press("j", "a")
    lines = path.read_bytes().splitlines(keepends=True)
    assert lines[0] == odd
    assert lines[1] == odd.replace(b"odd", b"even")[:-2] + b',   "status":"accepted"}\n'


async def test_a_judgement_is_written_down_before_it_shows(tmp_path: Path) -> None:
    async with opened(make_workspace(tmp_path)) as screen:
        screen.pairs_screen.action_judge("accepted")
        assert screen.on_disk()[0].status == "accepted"
        assert "✔ accepted" in screen.row(0)
        assert screen.pairs_screen.query_one(ReviewBar).counts["accepted"] == 1


async def test_every_judgement_is_saved_when_one_quits_at_once(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    async with opened(workspace) as screen:
        for _ in range(12):
            screen.pairs_screen.action_judge("accepted")
    lines = workspace.pairs_file("support").read_text().splitlines()
    assert sum('"status": "accepted"' in line for line in lines) == 12


async def test_space_goes_to_the_next_new_pair_and_wraps(tmp_path: Path) -> None:
    async with opened(make_workspace(tmp_path, 5)) as screen:
        await screen.press("j", "a", "a", "g", "space")
        assert screen.table.cursor == 3
        await screen.press("space", "space")
        assert screen.table.cursor == 0
        await screen.press("a", "j", "j", "a", "a")
        assert {pair.status for pair in screen.on_disk()} == {"accepted"}
        await screen.press("space")
        assert any("reviewed" in str(toast.message) for toast in screen.pilot.app._notifications)


async def test_undo_and_redo_go_back_to_the_pair(tmp_path: Path) -> None:
    async with opened(make_workspace(tmp_path)) as screen:
        before = screen.on_disk()
        await screen.press("a", "s", "G", "u")
        assert screen.table.cursor == 1
        await screen.press("u")
        assert screen.table.cursor == 0
        assert screen.on_disk() == before
        await screen.press("ctrl+r", "ctrl+r")
        assert screen.on_disk()[0].status == "accepted"
        assert screen.on_disk()[1] == before[1].swapped()
        await screen.press("u", "u", "u")
        assert screen.on_disk() == before


async def test_swap_exchanges_the_responses(tmp_path: Path) -> None:
    async with opened(make_workspace(tmp_path)) as screen:
        assert "prefer: “I'm sorry" in screen.preference()
        await screen.press("s")
        assert "prefer: “Not our problem" in screen.preference()
        assert screen.on_disk()[0].chosen == make_pair(1).rejected


async def test_the_detail_marks_differences_by_sign_and_counts_words(tmp_path: Path) -> None:
    async with opened(make_workspace(tmp_path)) as screen:
        detail = screen.detail()
        assert "+I'm sorry about that. Your order was declined because of" in detail
        assert "a +check. I can fix it." in detail
        assert "−Not our problem" in detail
        assert "✔ chosen  16 words" in detail
        assert "✘ rejected  11 words (−5)" in detail


async def test_responses_stand_side_by_side_or_one_below_the_other(tmp_path: Path) -> None:
    for size, beside in (((120, 40), True), ((160, 45), True), ((60, 30), False)):
        async with opened(make_workspace(tmp_path), size) as screen:
            line = next(line for line in screen.detail().splitlines() if "✔ chosen" in line)
            assert ("✘ rejected" in line) is beside, size


async def test_the_panes_stand_beside_each_other_where_there_is_room(tmp_path: Path) -> None:
    for size, beside in (((120, 40), False), ((160, 45), True)):
        async with opened(make_workspace(tmp_path), size) as screen:
            view = screen.pairs_screen.query_one(PairView)
            assert (view.region.x >= screen.table.region.right) is beside
            assert (view.region.y >= screen.table.region.bottom) is not beside


async def test_search_filters_while_typing_and_keeps_the_pair(tmp_path: Path) -> None:
    async with opened(make_workspace(tmp_path)) as screen:
        await screen.press(*"jjjj", "slash", *"refund")
        assert screen.numbers() == [4, 14, 24]
        assert screen.said("#found") == "3 of 30"
        assert screen.table.row == 13
        await screen.press("enter")
        assert screen.pilot.app.focused is screen.table
        await screen.press("a", "escape")
        assert screen.table.count == 30
        assert screen.table.row == 23
        assert screen.on_disk()[13].status == "accepted"


async def test_nothing_found_is_a_state_like_any_other(tmp_path: Path) -> None:
    async with opened(make_workspace(tmp_path)) as screen:
        await screen.press("j", "slash", *"zebra", "enter")
        assert screen.table.row is None
        await screen.press("a", "x", "m", "s", "e", "t", "o", "enter", "space", "j", "G")
        assert screen.on_disk() == [make_pair(number) for number in range(1, 31)]
        await screen.press("escape")
        assert screen.table.row == 1


async def test_another_data_set_can_be_opened(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    make_workspace(tmp_path, 4, name="second")
    async with opened(workspace) as screen:
        assert "second · 4 pairs" in screen.said("#context")
        await screen.press("d")
        assert isinstance(screen.pilot.app.screen, DataSetsDialog)
        await screen.press("j", "enter")
        assert "support · 30 pairs" in screen.said("#context")


async def test_an_empty_workspace_says_what_to_do_and_opens_what_comes(tmp_path: Path) -> None:
    async with opened(Workspace.find(tmp_path)) as screen:
        words = screen.said("EmptyPairs Static")
        assert "workbench import FILE|HUB_ID --name NAME" in words
        assert "workbench demo" in words
        await screen.press("a", "space", "e", "n", "d", "slash", "escape", "u")
        make_workspace(tmp_path)
        screen.pairs_screen.look_again()
        await screen.settle()
        assert screen.table.count == 30
        assert not screen.pairs_screen.query_one(EmptyPairs).display


async def test_the_first_data_set_is_opened_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.tui.screens.pairs.LOOK_AGAIN", 1000.0)
    async with opened(Workspace.find(tmp_path)) as screen:
        await screen.press("d", "n", *"mine", "enter")
        store = screen.store
        screen.pairs_screen.look_again()
        await screen.settle()
        assert screen.store is store


async def test_a_data_set_that_is_opened_twice_at_once_is_not_locked_by_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = []

    def slowly(path: Path, *, checks_changed: Callable[[], None]) -> DataSetSession:
        kept.append(DataSetSession(path, checks_changed=checks_changed))
        time.sleep(0.2)
        return kept[-1]

    async with opened(make_workspace(tmp_path)) as screen:
        monkeypatch.setattr("workbench.pairs.session.DataSetSession", slowly)
        screen.pairs_screen.open("support")
        await until(screen.pilot, lambda: len(kept) == 1)
        screen.pairs_screen.open("support")
        await screen.settle()
        assert len(kept) == 2
        assert not screen.store.file.read_only


async def test_an_empty_data_set_offers_to_write_the_first_pair(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs" / "support.jsonl", ())
    async with opened(Workspace.find(tmp_path)) as screen:
        assert "writes the first one" in screen.said("EmptyPairs Static")
        await screen.press("n", *"Why", "tab", *"Sorry", "tab", *"No", "ctrl+s")
        assert len(screen.on_disk()) == 1
        assert screen.table.display


async def test_a_file_that_cannot_be_read_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "pairs").mkdir()
    path = tmp_path / "pairs" / "broken.jsonl"
    path.write_text("{}\n")
    workspace = Workspace.find(tmp_path)
    async with opened(workspace) as screen:
        assert "1 line is no pair" in screen.said("#status")
        path.unlink()
        screen.pairs_screen.open("broken")
        await screen.settle()
        assert isinstance(screen.pilot.app.screen, ErrorDialog)


async def test_the_bar_counts_and_tells_the_pace(tmp_path: Path) -> None:
    async with opened(make_workspace(tmp_path, 10), (160, 45)) as screen:
        await screen.press("a", "a", "x", "m")
        bar = screen.pairs_screen.query_one(ReviewBar)
        line = str(bar.render())
        assert "40%" in line
        assert "✔ 2 accepted  ✘ 1 dropped  ⚑ 1 flagged  6 left" in line
        assert "4 reviewed" in line
        assert "pairs/min" not in line
        assert bar.pace is not None
        bar.pace = replace(bar.pace, seconds=18.0)
        assert "4 reviewed · 10 pairs/min · under 1 min left" in str(bar.render())


async def test_a_click_moves_the_cursor(tmp_path: Path) -> None:
    async with opened(make_workspace(tmp_path)) as screen:
        await screen.pilot.click(PairTable, offset=(20, 4))
        await screen.settle()
        assert screen.table.cursor == 3


async def test_enter_opens_the_pair_in_compare(tmp_path: Path) -> None:
    async with opened(make_workspace(tmp_path)) as screen:
        opened_with: list[Pair | None] = []

        async def compare(*, pair: Pair | None = None, run: str | None = None) -> None:
            del run
            opened_with.append(pair)

        screen.pairs_screen.workbench.compare = compare  # type: ignore[method-assign]
        await screen.press("j", "enter")
        assert opened_with == [make_pair(2)]


async def test_a_longer_pair_does_not_lay_the_screen_out_anew(tmp_path: Path) -> None:
    long = make_pair(2, chosen=(Message("assistant", "One word after the other. " * 400),))
    write_pairs(tmp_path / "pairs" / "support.jsonl", [make_pair(1), long, make_pair(3)])
    (tmp_path / "runs").mkdir()
    async with opened(Workspace.find(tmp_path)) as screen:
        text = screen.pairs_screen.query_one(PairText)
        await screen.press("g")
        laid_out: list[object] = []
        screen.pairs_screen.screen_layout_refresh_signal.subscribe(text, laid_out.append, immediate=True)
        lengths = []
        for key in ("j", "j"):
            await screen.press(key)
            assert text.show_vertical_scrollbar
            lengths.append(text.vertical_scrollbar.window_virtual_size)
        assert lengths[0] > text.size.height > lengths[1]
        assert not laid_out
