"""The Pairs screen beside another workbench, and beside programs that write its file."""

from __future__ import annotations

from pathlib import Path

from tests.tui.pairs_data import make_pair, make_workspace
from tests.tui.pairs_screen import Screen, opened, write_from_outside
from workbench.pairs.pair import Pair
from workbench.pairs.store import PairStore
from workbench.tui.dialogs.ask import ConfirmDialog
from workbench.tui.dialogs.show import ErrorDialog
from workbench.tui.widgets.review_bar import ReviewBar

ALL = range(1, 31)


async def _taken_in(screen: Screen) -> None:
    """What the next look at the file finds, and what comes of it."""
    screen.pairs_screen.look_again()
    await screen.settle()


async def test_what_another_program_changed_is_taken_in_and_the_cursor_stays_on_its_pair(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    async with opened(workspace) as screen:
        await screen.press("j", "j")
        write_from_outside(workspace, [make_pair(number) for number in ALL[1:]])
        await _taken_in(screen)
        assert screen.table.count == 29
        assert "router 3" in screen.detail()
        assert screen.table.cursor == 1
        assert "1 pair of support: taken in" in screen.told()


async def test_both_changes_are_kept_where_they_do_not_meet(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    async with opened(workspace) as screen:
        theirs = [make_pair(number).swapped() if number == 5 else make_pair(number) for number in ALL]
        write_from_outside(workspace, theirs)
        await screen.press("a")
        await _taken_in(screen)
        assert screen.on_disk()[0].status == "accepted"
        assert screen.on_disk()[4] == make_pair(5).swapped()


async def test_a_pair_that_both_changed_waits_for_a_decision(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)

    def theirs(pair: Pair) -> Pair:
        return make_pair(1, note="theirs") if pair.id == "pair-1" else pair

    async with opened(workspace) as screen:
        await screen.press("o", *"mine", "enter")
        write_from_outside(workspace, [theirs(make_pair(number)) for number in ALL])
        await _taken_in(screen)
        assert "1 conflict · C decides" in screen.pairs_screen.query_one(ReviewBar).notice
        await screen.press("C", "m")
        assert screen.on_disk()[0].note == "mine"
        assert screen.pairs_screen.query_one(ReviewBar).notice == ""


async def test_a_file_that_is_gone_is_written_anew_where_one_wants_that(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    async with opened(workspace) as screen:
        await screen.press("a")
        workspace.pairs_file("support").unlink()
        await _taken_in(screen)
        assert isinstance(screen.pilot.app.screen, ConfirmDialog)
        await screen.press("y")
        assert screen.on_disk()[0].status == "accepted"
        assert len(screen.on_disk()) == 30


async def test_a_second_workbench_reads_and_says_who_edits(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    with PairStore(workspace.pairs_file("support")) as first:
        async with opened(workspace) as screen:
            assert "read only: it is being edited by" in screen.pairs_screen.query_one(ReviewBar).notice
            await screen.press("j", "a")
            assert isinstance(screen.pilot.app.screen, ErrorDialog)
            await screen.press("escape")
            assert screen.table.cursor == 1
            first.set_status([0], "accepted")
            first.file.save()
            await _taken_in(screen)
            assert "✔ accepted" in screen.row(0)
