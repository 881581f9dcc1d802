"""The Pairs screen, on real files: every key of it, and what is on disk afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from textual.pilot import Pilot
from textual.widgets import Input, Static

from tests.tui.pairs_data import make_pair, make_workspace
from workbench.pairs.pair import Message, Pair, to_line
from workbench.pairs.store import load_pairs, write_pairs
from workbench.tui.app import WorkbenchApp
from workbench.tui.dialogs.choose import ChooseDialog
from workbench.tui.dialogs.confirm import ConfirmDialog
from workbench.tui.dialogs.edit import EditDialog
from workbench.tui.dialogs.error import ErrorDialog
from workbench.tui.screens.pairs import PairsScreen
from workbench.tui.widgets.empty_pairs import EmptyPairs
from workbench.tui.widgets.fields import TextField
from workbench.tui.widgets.pair_table import PairTable
from workbench.tui.widgets.pair_text import PairText
from workbench.tui.widgets.pair_view import PairView
from workbench.tui.widgets.review_bar import ReviewBar
from workbench.tui.widgets.search_line import SearchLine
from workbench.workspace import Workspace


class Screen:
    """The Pairs screen as a user sees it."""

    def __init__(self, pilot: Pilot[None], workspace: Workspace) -> None:
        self.pilot, self.workspace = pilot, workspace
        self.pairs_screen = next(each for each in pilot.app.screen_stack if isinstance(each, PairsScreen))

    @property
    def table(self) -> PairTable:
        return self.pairs_screen.query_one(PairTable)

    def row(self, line: int) -> str:
        self.table.render_lines(self.table.size.region)
        return self.table.render_line(line + 1 - round(self.table.scroll_y)).text

    def detail(self) -> str:
        text = self.pairs_screen.query_one(PairText)
        return "\n".join(strip.text.rstrip() for strip in text.render_lines(text.size.region))

    def said(self, selector: str) -> str:
        return str(self.pairs_screen.query_one(selector, Static).render())

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.settle()

    async def type(self, text: str) -> None:
        await self.press(*("space" if letter == " " else letter for letter in text))

    async def settle(self) -> None:
        """Waits until all is saved and all workers are done."""
        for _ in range(400):
            await self.pilot.pause()
            dialogs = {"dialog", "default"}
            if not any(not each.is_finished and each.group not in dialogs for each in self.pilot.app.workers):
                return
            await asyncio.sleep(0.01)
        raise TimeoutError("the screen did not come to rest")

    def on_disk(self, name: str = "support") -> list[Pair]:
        return load_pairs(self.workspace.pairs_file(name))[0]


@asynccontextmanager
async def opened(workspace: Workspace, size: tuple[int, int] = (120, 40)) -> AsyncIterator[Screen]:
    app = WorkbenchApp(workspace)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        screen = Screen(pilot, workspace)
        await screen.settle()
        yield screen


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


async def test_the_row_changes_before_it_is_saved(tmp_path: Path) -> None:
    async with opened(make_workspace(tmp_path)) as screen:
        screen.pairs_screen.action_judge("accepted")
        assert "✔ accepted" in screen.row(0)
        assert screen.pairs_screen.query_one(ReviewBar).counts["accepted"] == 1
        await screen.settle()
        assert screen.on_disk()[0].status == "accepted"


async def test_every_judgement_is_saved_when_one_quits_at_once(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    async with opened(workspace) as screen:
        for _ in range(12):
            screen.pairs_screen.action_judge("accepted")
        edits = screen.pairs_screen._edits
        assert edits is not None
    edits._thread.shutdown(wait=True)
    assert sum(pair.status == "accepted" for pair in load_pairs(workspace.pairs_file("support"))[0]) == 12


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
        assert "prefer: “I'm sorry" in screen.said("#preference")
        await screen.press("s")
        assert "prefer: “Not our problem" in screen.said("#preference")
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


async def test_editing_saves_with_ctrl_s(tmp_path: Path) -> None:
    async with opened(make_workspace(tmp_path)) as screen:
        await screen.press("e")
        dialog = screen.pilot.app.screen
        assert isinstance(dialog, EditDialog)
        fields = list(dialog.query(TextField))
        assert [field.content for field in fields] == [
            make_pair(1).prompt[0].content,  # type: ignore[union-attr]
            make_pair(1).chosen[0].content,  # type: ignore[union-attr]
            make_pair(1).rejected[0].content,  # type: ignore[union-attr]
        ]
        assert dialog.focused is fields[1]
        await screen.press("ctrl+home", *"Dear customer", "enter", "ctrl+s")
        chosen = make_pair(1).chosen[0].content  # type: ignore[union-attr]
        assert screen.on_disk()[0].chosen == (Message("assistant", "Dear customer\n" + chosen),)
        assert "Dear" in screen.detail()
        await screen.press("u")
        assert screen.on_disk()[0] == make_pair(1)


async def test_escape_asks_only_where_something_was_changed(tmp_path: Path) -> None:
    async with opened(make_workspace(tmp_path)) as screen:
        await screen.press("e", "escape")
        assert screen.pilot.app.screen is screen.pairs_screen
        await screen.press("e", "z", "escape")
        assert isinstance(screen.pilot.app.screen, ConfirmDialog)
        await screen.press("n")
        assert isinstance(screen.pilot.app.screen, EditDialog)
        await screen.press("escape", "y")
        assert screen.pilot.app.screen is screen.pairs_screen
        assert screen.on_disk()[0] == make_pair(1)


async def test_a_pair_without_a_response_is_not_saved(tmp_path: Path) -> None:
    async with opened(make_workspace(tmp_path)) as screen:
        await screen.press("e", "f7", "delete", "ctrl+s")
        assert isinstance(screen.pilot.app.screen, EditDialog)
        assert screen.on_disk()[0] == make_pair(1)


async def test_a_new_pair_is_added_at_the_end(tmp_path: Path) -> None:
    async with opened(make_workspace(tmp_path)) as screen:
        await screen.press("n", *"Why", "tab", *"Sorry", "tab", *"No", "ctrl+s")
        new = screen.on_disk()[-1]
        assert (new.prompt, new.chosen) == ((Message("user", "Why"),), (Message("assistant", "Sorry"),))
        assert screen.table.cursor == 30
        await screen.press("u")
        assert len(screen.on_disk()) == 30


async def test_tags_and_note(tmp_path: Path) -> None:
    async with opened(make_workspace(tmp_path)) as screen:
        await screen.press("t", "ctrl+u", *"late,", "space", *"tone,late", "enter")
        assert screen.on_disk()[0].tags == ("late", "tone")
        assert screen.row(0).rstrip().endswith("late tone")
        await screen.press("o", *"ask", "space", *"Ann", "enter")
        assert screen.on_disk()[0].note == "ask Ann"
        await screen.press("o", *"xx", "escape")
        assert screen.on_disk()[0].note == "ask Ann"


async def test_search_filters_while_typing_and_keeps_the_pair(tmp_path: Path) -> None:
    async with opened(make_workspace(tmp_path)) as screen:
        await screen.press(*"jjjj", "slash", *"refund")
        assert [position + 1 for position in screen.table.positions] == [4, 14, 24]
        assert screen.said("#found") == "3 of 30"
        assert screen.table.position == 13
        await screen.press("enter")
        assert screen.pilot.app.focused is screen.table
        await screen.press("a", "escape")
        assert len(screen.table.positions) == 30
        assert screen.table.position == 23
        assert screen.on_disk()[13].status == "accepted"


async def test_a_query_that_makes_no_sense_says_so_and_finds_what_it_found(tmp_path: Path) -> None:
    async with opened(make_workspace(tmp_path)) as screen:
        await screen.press("slash", *"refund", "space", *"s", "colon")
        assert [position + 1 for position in screen.table.positions] == [4, 14, 24]
        assert "status" in screen.said("#found")
        assert screen.pairs_screen.query_one("#found").has_class("-error")
        await screen.press("escape")
        assert not screen.pairs_screen.query_one(SearchLine).display
        assert screen.pairs_screen.query_one(Input).value == ""


async def test_nothing_found_is_a_state_like_any_other(tmp_path: Path) -> None:
    async with opened(make_workspace(tmp_path)) as screen:
        await screen.press("j", "slash", *"zebra", "enter")
        assert screen.table.position is None
        await screen.press("a", "x", "m", "s", "e", "t", "o", "enter", "space", "j", "G")
        assert screen.on_disk() == [make_pair(number) for number in range(1, 31)]
        await screen.press("escape")
        assert screen.table.position == 1


async def test_another_data_set_can_be_opened(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    make_workspace(tmp_path, 4, name="second")
    async with opened(workspace) as screen:
        assert "second · 4 pairs" in screen.said("#context")
        await screen.press("d")
        assert isinstance(screen.pilot.app.screen, ChooseDialog)
        await screen.press("j", "enter")
        assert "support · 30 pairs" in screen.said("#context")


async def test_an_empty_workspace_says_what_to_do_and_opens_what_comes(tmp_path: Path) -> None:
    async with opened(Workspace.find(tmp_path)) as screen:
        words = screen.said("EmptyPairs Static")
        assert "workbench import FILE --name NAME" in words
        assert "workbench demo" in words
        await screen.press("a", "space", "e", "n", "d", "slash", "escape", "u")
        make_workspace(tmp_path)
        screen.pairs_screen._look_again()
        await screen.settle()
        assert len(screen.table.positions) == 30
        assert not screen.pairs_screen.query_one(EmptyPairs).display


async def test_an_empty_data_set_offers_to_write_the_first_pair(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs" / "support.jsonl", ())
    async with opened(Workspace.find(tmp_path)) as screen:
        assert "writes the first one" in screen.said("EmptyPairs Static")
        await screen.press("n", *"Why", "tab", *"Sorry", "tab", *"No", "ctrl+s")
        assert len(screen.on_disk()) == 1
        assert screen.table.display


ALL = range(1, 31)


def write_from_outside(workspace: Workspace, pairs: list[Pair]) -> None:
    """As another program does, which knows nothing of journals."""
    workspace.pairs_file("support").write_text("".join(map(to_line, pairs)))


async def test_a_file_that_someone_else_wrote_is_not_overwritten(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    async with opened(workspace) as screen:
        write_from_outside(
            workspace, [make_pair(number).swapped() if number == 5 else make_pair(number) for number in ALL]
        )
        await screen.press("a", "R")
        assert screen.on_disk()[0].status == "accepted"
        assert screen.on_disk()[4] == make_pair(5).swapped()


async def test_a_change_on_disk_is_told_and_read_with_a_key(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    async with opened(workspace) as screen:
        await screen.press("j", "j")
        write_from_outside(workspace, [make_pair(number) for number in ALL[1:]])
        screen.pairs_screen._look_again()
        assert "changed on disk" in screen.pairs_screen.query_one(ReviewBar).notice
        await screen.press("R")
        assert len(screen.table.positions) == 29
        assert "router 3" in screen.detail()
        assert screen.table.position == 1


async def test_a_file_that_cannot_be_read_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "pairs").mkdir()
    path = tmp_path / "pairs" / "broken.jsonl"
    path.write_text("{}\n")
    workspace = Workspace.find(tmp_path)
    async with opened(workspace) as screen:
        assert "1 line is no pair" in screen.said("#status")
        path.unlink()
        screen.pairs_screen._open("broken")
        await screen.settle()
        assert isinstance(screen.pilot.app.screen, ErrorDialog)


async def test_the_bar_counts_and_tells_the_pace(tmp_path: Path) -> None:
    async with opened(make_workspace(tmp_path, 10)) as screen:
        await screen.press("a", "a", "x", "m")
        line = str(screen.pairs_screen.query_one(ReviewBar).render())
        assert "40%" in line
        assert "✔ 2 accepted  ✘ 1 dropped  ⚑ 1 flagged  6 left" in line
        assert "4 reviewed" in line
        assert "pairs/min" in line


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
