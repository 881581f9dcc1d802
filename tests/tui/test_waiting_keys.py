"""Keys pressed faster than a dialog reads them: enter, ctrl+s and esc count after those before them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from textual.screen import ModalScreen

from tests.tui.dialogs import NOTHING, DialogApp, at_once
from workbench.pairs.outward import READERS
from workbench.pairs.pair import Message, Pair
from workbench.pairs.session import BulkChange, Which
from workbench.runs.folder import RunFolder
from workbench.runs.merging import Merging
from workbench.tui.dialogs.ask import AskDialog, ConfirmDialog
from workbench.tui.dialogs.bulk import BulkDialog
from workbench.tui.dialogs.edit import EditDialog
from workbench.tui.dialogs.merge import MergeDialog
from workbench.tui.dialogs.pair_files import ExportDialog, ExportTo
from workbench.workspace import Workspace

PAIR = Pair("p1", "Why?", "Because it is so.", "No.")


async def answer_to(dialog: ModalScreen[Any], first: tuple[str, ...], *keys: str) -> Any:
    app = DialogApp(dialog)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press(*first)
        assert app.answer is NOTHING
        await at_once(pilot, *keys)
    return app.answer


@pytest.mark.parametrize(
    ("first", "keys", "change"),
    [
        ((), "jjj", BulkChange("status", "flagged")),
        ((*"jjjjjjj", "enter"), "late", BulkChange("note", "late")),
        ((*"jjjjj", "enter"), "late", BulkChange("tag", "late")),
    ],
)
async def test_a_bulk_change_is_the_one_that_was_chosen(first: tuple[str, ...], keys: str, change: BulkChange) -> None:
    assert await answer_to(BulkDialog(9, 10, "sad", ["card"]), first, *keys, "enter") == change


async def test_an_export_goes_to_the_whole_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pairs").mkdir()
    counts: dict[Which, int] = {"shown": 1, "undropped": 1, "accepted": 1, "all": 1}
    dialog = ExportDialog(Workspace.find(tmp_path), "mine", dict.fromkeys(READERS, counts), "")
    answer = await answer_to(dialog, ("home",), *"new-", "tab", "enter")
    assert answer == ExportTo(Path("new-mine.jsonl"), "jsonl", "undropped", "llama-factory")


@pytest.mark.parametrize("key", ["enter", "ctrl+s"])
async def test_a_line_is_the_whole_one(key: str) -> None:
    assert await answer_to(AskDialog("run", [("name", "", ""), ("note", "n", "")]), (), *"best", key) == ("best", "n")


async def test_a_merge_goes_to_the_whole_name(tmp_path: Path) -> None:
    class Noted(Merging):
        to_be: Path | None = None

        def start(self, to: Path, *_: object, **__: object) -> None:
            self.to_be = to

    merging = Noted(RunFolder(tmp_path / "runs" / "a-run"))
    assert await answer_to(MergeDialog(merging, Workspace(tmp_path)), ("end",), *"-2", "enter") is NOTHING
    assert merging.to_be == tmp_path / "merged" / "a-run-2"


@pytest.mark.parametrize("pair", [PAIR, Pair("p2", (Message("user", "Why?"),), (), ())])
async def test_an_edit_is_saved_whole(pair: Pair) -> None:
    answer = await answer_to(EditDialog(pair, "Edit"), (), *"Well", "ctrl+s", "ctrl+s")
    assert isinstance(answer, Pair)
    assert "Well" in f"{answer.prompt}{answer.chosen}"


async def test_an_edit_is_not_thrown_away_unasked() -> None:
    app = DialogApp(EditDialog(PAIR, "Edit"))
    async with app.run_test(size=(80, 24)) as pilot:
        await at_once(pilot, "x", "escape")
        assert isinstance(app.screen, ConfirmDialog)
        assert app.answer is NOTHING
