"""Import, export and the data sets, from the Pairs screen."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import get_args, get_type_hints

from textual.widgets import Select, Static

from tests.tui.pairs_data import make_pair, make_workspace
from tests.tui.pairs_screen import Screen, opened
from workbench.cli.pairs_commands import export, import_
from workbench.pairs.importers import import_rows, in_words
from workbench.pairs.outward import READERS
from workbench.pairs.pair import Message, plain
from workbench.pairs.readers import read_rows
from workbench.pairs.store import load_pairs, write_pairs
from workbench.tui.dialogs.data_sets import DataSetsDialog
from workbench.tui.dialogs.pair_files import ExportDialog, ImportDialog
from workbench.tui.widgets.fields import LineField


def said(screen: Screen, selector: str = "#said") -> str:
    return str(screen.pilot.app.screen.query_one(selector, Static).render())


def answers(path: Path, count: int = 7) -> Path:
    rows = [{"question": f"Is {n} odd?", "good": "I'd be glad to check.", "bad": "No."} for n in range(count)]
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    return path


async def typed(screen: Screen, selector: str, text: str) -> None:
    screen.pilot.app.screen.query_one(selector, LineField).value = text
    await screen.settle()


async def test_columns_are_guessed_and_shown_before_anything_is_written(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, 3)
    path = answers(tmp_path / "answers.jsonl.gz")
    async with opened(workspace) as screen:
        await screen.press("i")
        await typed(screen, "#path", str(path))
        await screen.press("enter")
        preview = said(screen, "#preview")
        assert preview.count("the model will prefer: I'd be glad to check.") == 5
        assert preview.count("over: No.") == 5
        assert workspace.datasets() == ["support"]
        dialog = screen.pilot.app.screen
        dialog.query_one("#chosen", Select).value = "bad"
        dialog.query_one("#rejected", Select).value = "good"
        await screen.settle()
        assert said(screen, "#preview").count("the model will prefer: No.") == 5
        await screen.press("ctrl+s")
        assert "answers · 7 pairs" in screen.said("#context")
        assert "7 pairs imported into answers; 7 of plain text became conversations." in screen.told()
    pairs = load_pairs(workspace.pairs_file("answers"))[0]
    assert pairs[0].prompt == (Message("user", "Is 0 odd?"),)
    assert (plain(pairs[0].chosen), plain(pairs[0].rejected)) == ("No.", "I'd be glad to check.")


async def test_on_a_low_screen_the_keys_stay_in_view_and_what_lacks_is_named(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, 3)
    rows = [{"prompt": f"Is {n} odd?", "chosen": "I'd be glad to check."} for n in range(7)]
    path = tmp_path / "half.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    async with opened(workspace, size=(80, 24)) as screen:
        await screen.press("i")
        await typed(screen, "#path", str(path))
        await screen.press("enter")
        assert said(screen, "#preview").count("over: an answer that is to be drafted") == 5
        dialog = screen.pilot.app.screen
        hint = dialog.query_one(".dialog-hint")
        assert "ctrl+s imports" in str(hint.render())  # type: ignore[attr-defined]
        assert dialog.query_one(".dialog").content_region.contains_region(hint.region)
        told = dialog.query_one("#told")
        assert told.region.bottom < hint.region.y
        assert told.max_scroll_y > 0
        await screen.press(*["pagedown"] * 3)
        assert told.scroll_y == told.max_scroll_y
        await screen.press("pageup", "pageup", "pageup")
        assert told.scroll_y == 0
        await screen.press("ctrl+s")
        text = "\n".join(
            "".join(part.text for part in strip) for strip in screen.pilot.app.screen._compositor.render_strips()
        )
        assert "rejected  to be drafted" in text
        assert "none yet: r drafts it, e writes it" in text
        assert "judged good alone: kto trains on it · for pairs, r drafts a rejected answer" in text


async def test_answers_judged_alone_are_shown_as_such(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, 3)
    rows = [{"prompt": "Name a metal.", "completion": said, "label": said == "Iron"} for said in ("Iron", "Wood")]
    path = tmp_path / "judged.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    async with opened(workspace, size=(80, 24)) as screen:
        await screen.press("i")
        await typed(screen, "#path", str(path))
        await screen.press("enter")
        shown = said(screen, "#preview")
        assert "judged good: Iron" in shown
        assert "judged bad: Wood" in shown
        assert "to be drafted" not in shown


async def test_which_pairs_are_made_of_rankings_is_asked_with_their_counts(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, 3)
    rows = [
        {"prompt": f"Name {n}.", "answers": [{"answer": f"{each}", "rank": each} for each in (1, 2, 3)]}
        for n in range(3)
    ]
    path = tmp_path / "ranked.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    async with opened(workspace, size=(80, 24)) as screen:
        await screen.press("i")
        dialog = screen.pilot.app.screen
        select = dialog.query_one("#pairing", Select)
        assert not select.display
        await typed(screen, "#path", str(path))
        await screen.press("enter")
        assert select.display
        offered = {value: str(words) for words, value in select._options}
        assert list(offered) == list(get_args(get_type_hints(import_)["ranking"]))
        assert offered["all"] == "each over every worse one: 9 pairs of 3 rows"
        assert "pairs of the ranked answers: the best over the worst" in said(screen, "#words")
        hint = dialog.query_one(".dialog-hint")
        assert dialog.query_one(".dialog").content_region.contains_region(hint.region)
        assert dialog.query_one("#told").region.bottom < hint.region.y
        select.value = "all"
        await screen.settle()
        assert "each over every worse one" in said(screen, "#words")
        await screen.press("ctrl+s")
        assert "9 pairs imported into ranked" in screen.told()


async def test_a_folder_is_imported_and_its_files_are_named(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, 3)
    folder = tmp_path / "mixed"
    (folder / "dev").mkdir(parents=True)
    (folder / "a.csv").write_text("prompt,chosen,rejected\nq0,good,bad\n")
    (folder / "dev" / "b.jsonl").write_text(json.dumps({"prompt": "q1", "chosen": "good", "rejected": "bad"}) + "\n")
    (folder / "notes.doc").write_text("")
    async with opened(workspace, size=(120, 40)) as screen:
        await screen.press("i")
        await typed(screen, "#path", str(folder))
        await screen.press("enter")
        for words in ("Read 2 files: a.csv, dev/b.jsonl.", "Held out, as their names say: dev/b.jsonl.", "notes.doc"):
            assert words in said(screen)
        await screen.press("ctrl+s")
        assert "2 pairs imported into mixed" in screen.told()


async def test_what_becomes_of_plain_text_is_asked_where_there_is_some(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, 3)
    turns = tmp_path / "turns.jsonl"
    turns.write_bytes(workspace.pairs_file("support").read_bytes())
    async with opened(workspace) as screen:
        await screen.press("i")
        kind = screen.pilot.app.screen.query_one("#kind", Select)
        assert kind.disabled
        await typed(screen, "#path", str(turns))
        await screen.press("enter")
        assert (kind.disabled, kind.selection) == (True, None)
        await typed(screen, "#path", str(answers(tmp_path / "answers.jsonl.gz")))
        await screen.press("enter")
        assert (kind.disabled, kind.selection) == (False, True)
        kind.value = False
        screen.pilot.app.screen.query_one("#chosen", Select).value = "bad"
        await screen.settle()
        assert kind.selection is False
        screen.pilot.app.screen.query_one("#rejected", Select).value = "good"
        await screen.settle()
        await typed(screen, "#name", "kept")
        await screen.press("ctrl+s")
        assert "7 pairs imported into kept." in screen.told()
    assert load_pairs(workspace.pairs_file("kept"))[0][0].prompt == "Is 0 odd?"


async def test_an_import_into_the_open_data_set_adds_what_is_new_and_is_one_step(tmp_path: Path) -> None:
    path = answers(tmp_path / "answers.jsonl.gz", 4)
    workspace = make_workspace(tmp_path, 1)
    found = import_rows(read_rows(path), mapping={"prompt": "question", "chosen": "good", "rejected": "bad"})
    workspace.pairs_file("support").unlink()
    async with opened(workspace) as screen:
        await screen.press("d", "n", *"mine", "enter")
        store = screen.store
        store.add(found.pairs[:1])
        await screen.press("i")
        await typed(screen, "#path", str(path))
        await screen.press("enter")
        await typed(screen, "#name", "mine")
        assert "exists" in said(screen)
        await screen.press("ctrl+s")
        assert "3 pairs imported into mine; 3 of plain text became conversations; 1 were" in screen.told()
        assert len(screen.numbers()) == 4
        await screen.press("u")
        assert len(screen.numbers()) == 1


async def test_what_cannot_be_imported_is_told_and_the_dialog_stays(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, 3)
    (tmp_path / "bad.jsonl").write_text('{"a": 1}\n[bold\n')
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "folder").mkdir()
    async with opened(workspace) as screen:
        await screen.press("i")
        for path, words in (
            (tmp_path / "gone.jsonl", "Cannot read gone.jsonl"),
            (tmp_path / "folder", "No data in it"),
            (tmp_path / "empty.jsonl", "no rows"),
            (tmp_path / "bad.jsonl", "line 1 has no chosen and rejected"),
        ):
            await typed(screen, "#path", str(path))
            await screen.press("enter")
            assert words in said(screen), path
        await screen.press("ctrl+s")
        assert "none of its 2 rows can be used" in said(screen)
        await typed(screen, "#path", str(answers(tmp_path / "answers.jsonl.gz")))
        await screen.press("enter")
        await typed(screen, "#name", "../../x")
        await screen.press("ctrl+s")
        assert "Not a name for a data set" in said(screen)
        await screen.press("escape")
        assert not isinstance(screen.pilot.app.screen, ImportDialog)
    assert workspace.datasets() == ["support"]


async def test_what_the_filter_shows_is_exported(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    target = tmp_path / "out.jsonl"
    async with opened(workspace) as screen:
        await screen.press("slash", *"refund", "enter", "w")
        await typed(screen, "PathField", str(target))
        await screen.press("enter")
        assert f"3 pairs written to {target}." in screen.told()
        assert [pair.id for pair in load_pairs(target)[0]] == ["pair-4", "pair-14", "pair-24"]
        await screen.press("w", "down")
        for path, words in (
            (target, "exists and will be replaced"),
            (tmp_path / "x.zip", "Not a format"),
            (workspace.pairs / "mine.jsonl", "place"),
            (tmp_path / "no" / "x.csv", "folder that exists"),
        ):
            await typed(screen, "PathField", str(path))
            assert words in said(screen)
        await screen.press("enter")
        assert isinstance(screen.pilot.app.screen, ExportDialog)
        await typed(screen, "PathField", str(target))
        await screen.press("enter")
        assert len(load_pairs(target)[0]) == 30


async def test_csv_is_guarded_against_formulas_unless_that_is_switched_off(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    (workspace.pairs / "support.jsonl").write_text('{"id": "a", "prompt": "=1+1", "chosen": "-c", "rejected": "r"}\n')
    async with opened(workspace) as screen:
        for keys, words, written in (
            ((), "gets an ' before it", "'=1+1,'-c,r"),
            (("ctrl+r",), "may run what looks like a formula", "=1+1,-c,r"),
        ):
            target = tmp_path / f"out{len(keys)}.csv"
            await screen.press("w")
            await typed(screen, "PathField", str(target))
            await screen.press(*keys)
            assert words in said(screen)
            await screen.press("enter")
            assert "1 pair written" in screen.told()
            assert written in target.read_text()


async def test_an_export_is_for_whom_it_is_said_in_the_words_of_the_command_line(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    one = make_pair(2, chosen=(Message("assistant", ""),))
    write_pairs(workspace.pairs_file("support"), [make_pair(1), one])
    for shape, words in READERS.items():
        assert f"{shape}: {words}" in help_of(export, "shape")
    target = tmp_path / "out.jsonl"
    async with opened(workspace, size=(80, 24)) as screen:
        await screen.press("w")
        assert [*said(screen, "#shape").splitlines()][1] == f"for {READERS['trl']}"
        await screen.press("shift+tab")
        assert "[kto]" in said(screen, "#shape")
        assert "for TRL's KTO: a row an answer" in said(screen, "#shape")
        options = screen.pilot.app.screen.query_one("OptionList").options  # type: ignore[attr-defined]
        assert "2 pairs" in str(options[0].prompt)
        await typed(screen, "PathField", str(tmp_path / "out.csv"))
        assert "Rows for kto are JSON lines" in said(screen)
        await typed(screen, "PathField", str(target))
        assert "unknown columns are left out" in said(screen)
        await screen.press("enter")
        assert f"2 pairs written to {target}." in screen.told()
        labels = [json.loads(line)["label"] for line in target.read_text().splitlines()]
        assert labels == [True, False, False]
        await screen.press("w", "tab")
        await typed(screen, "PathField", str(target))
        await screen.press("enter")
        assert "dataset_info.json" in screen.told()
        assert list(json.loads((tmp_path / "dataset_info.json").read_text())) == ["support"]


def help_of(command: Callable[..., object], option: str) -> str:
    """The help of an option of a command."""
    told = get_type_hints(command, include_extras=True)[option].__metadata__[0].help
    return str(told)


async def test_pairs_are_copied_moved_and_merged(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    async with opened(workspace) as screen:
        await screen.press("slash", *"refund", "enter", "d", "j", "c", *"refunds", "enter")
        assert "3 pairs copied to refunds." in screen.told()
        assert [pair.id for pair in screen.on_disk("refunds")] == ["pair-4", "pair-14", "pair-24"]
        await screen.press("escape", "slash", *"meal", "enter", "d", "k", "m")
        assert "moved to refunds" in screen.told()
        assert len(screen.on_disk("refunds")) == 6
        await screen.press("escape")
        assert len(screen.numbers()) == 27
        await screen.press("d", "k", "g")
        assert "3 pairs of refunds merged into support; 3 were there already." in screen.told()
        assert len(screen.numbers()) == 30
        await screen.press("u")
        assert len(screen.numbers()) == 27


async def test_the_data_sets_are_described(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    make_workspace(tmp_path, 1, name="one")
    async with opened(workspace, (80, 24)) as screen:
        await screen.press("d")
        await screen.settle()
        dialog = screen.pilot.app.screen
        assert isinstance(dialog, DataSetsDialog)
        lines = [str(option.prompt) for option in dialog.query_one("OptionList").options]  # type: ignore[attr-defined]
        assert lines[0].startswith("● one")
        assert "1 pair" in lines[0]
        assert "30 pairs" in lines[1]
        await screen.press("g")
        assert "Choose another" in said(screen)
        await screen.press("c")
        assert "They are in it" in said(screen)
        await screen.press("n", *"a/b", "enter")
        assert "Not a name" in said(screen)


async def test_what_becomes_of_labelled_answers_is_said_in_the_words_of_the_command_line(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, 3)
    path = tmp_path / "safe.jsonl"
    labels = {"better_response_id": 0, "safer_response_id": 1}
    row = {"prompt": "Boil eggs?", "response_0": "Ten minutes.", "response_1": "No idea.", "critique": "Hm.", **labels}
    path.write_text(json.dumps(row) + "\n")
    async with opened(workspace) as screen:
        await screen.press("i")
        await typed(screen, "#path", str(path))
        await screen.press("enter")
        dialog = screen.pilot.app.screen
        words = said(screen, "#words")
        assert words.split("\n") == in_words(import_rows(read_rows(path)))
        assert "whichever better_response_id says" in words
        assert "--map label=safer_response_id" in words
        assert "used for nothing: critique" in words
        assert "will prefer: Ten minutes." in said(screen, "#preview")
        dialog.query_one("#label", Select).value = "safer_response_id"
        await screen.settle()
        assert "will prefer: No idea." in said(screen, "#preview")
        dialog.query_one("#label", Select).clear()
        dialog.query_one("#chosen", Select).value = "response_0"
        dialog.query_one("#rejected", Select).value = "response_1"
        await screen.settle()
        assert "may say row by row which answer is better" in said(screen)
        dialog.query_one("#chosen", Select).clear()
        dialog.query_one("#rejected", Select).clear()
        dialog.query_one("#label", Select).value = "safer_response_id"
        await screen.settle()
        await screen.press("ctrl+s")
        assert "nothing was made of critique" in screen.told()
    [pair] = load_pairs(workspace.pairs_file("safe"))[0]
    assert plain(pair.chosen) == "No idea."
