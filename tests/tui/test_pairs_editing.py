"""The Pairs screen, on real files: every key that changes a pair, and what is on disk afterwards."""

from __future__ import annotations

from pathlib import Path

from tests.tui.pairs_data import make_pair, make_workspace
from tests.tui.pairs_screen import opened
from workbench.pairs.pair import Message
from workbench.tui.dialogs.ask import ConfirmDialog
from workbench.tui.dialogs.edit import EditDialog
from workbench.tui.widgets.fields import TextField


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


async def test_a_copy_stands_below_its_original(tmp_path: Path) -> None:
    async with opened(make_workspace(tmp_path, 3)) as screen:
        await screen.press("j", "N")
        pairs = screen.on_disk()
        assert [pair.id for pair in pairs] == ["pair-1", "pair-2", "pair-2-2", "pair-3"]
        assert pairs[2].chosen == pairs[1].chosen
        assert screen.table.cursor == 2
        await screen.press("u")
        assert len(screen.on_disk()) == 3


async def test_a_pair_is_taken_out_after_a_question_and_comes_back(tmp_path: Path) -> None:
    async with opened(make_workspace(tmp_path, 3)) as screen:
        await screen.press("j", "D", "n")
        assert len(screen.on_disk()) == 3
        await screen.press("D", "y")
        assert [pair.id for pair in screen.on_disk()] == ["pair-1", "pair-3"]
        assert [line.split()[0] for line in (screen.row(0), screen.row(1))] == ["1", "▌2"] or screen.table.cursor == 1
        await screen.press("u")
        assert [pair.id for pair in screen.on_disk()] == ["pair-1", "pair-2", "pair-3"]
        assert screen.table.cursor == 1


async def test_undo_goes_on_in_the_next_session(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, 5)
    async with opened(workspace) as screen:
        await screen.press("a", "s", "x")
    async with opened(workspace) as screen:
        assert screen.on_disk()[0].status == "accepted"
        await screen.press("u", "u", "u")
        assert screen.on_disk() == [make_pair(number) for number in range(1, 6)]
        await screen.press("u")
        assert "Nothing to undo" in screen.told()
