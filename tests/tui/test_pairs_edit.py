"""The editor of a pair, the tags of a pair, and $EDITOR, which really runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from textual.app import App
from textual.drivers.headless_driver import HeadlessDriver
from textual.pilot import Pilot

from tests.tui.dialogs import NOTHING, DialogApp
from tests.tui.pairs_data import make_pair
from workbench.errors import WorkbenchError
from workbench.pairs.pair import Message, Pair
from workbench.tui.dialogs.ask import ConfirmDialog, TagsDialog
from workbench.tui.dialogs.edit import EditDialog, TurnEditor, edit_pair, editor_command
from workbench.tui.widgets.pair_view import Preference, doubt

PAIR = make_pair(1)


def _said(pilot: Pilot[None]) -> str:
    return str(pilot.app.screen.query_one(Preference).render())


async def test_turns_are_added_renamed_and_taken_out() -> None:
    app = DialogApp(EditDialog(PAIR, "Edit"))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("shift+tab", "ctrl+n", *"Hm", "ctrl+n", *"So")
        assert "▲" not in _said(pilot)
        await pilot.press("ctrl+r")
        assert "turns out of order" in _said(pilot)
        await pilot.press("ctrl+d")
        assert isinstance(app.screen, ConfirmDialog)
        await pilot.press("y")
        assert [turn.role for turn in app.dialog.query(TurnEditor)] == ["user", "assistant", "assistant", "assistant"]
        await pilot.press("ctrl+s")
        assert app.answer.prompt == (*PAIR.prompt, Message("assistant", "Hm"))
        assert replace(app.answer, prompt=PAIR.prompt) == PAIR


async def test_answers_of_several_turns_stay() -> None:
    turns = (Message("assistant", "look"), Message("tool", "42"), Message("assistant", "It is 42."))
    app = DialogApp(EditDialog(replace(PAIR, chosen=turns), "Edit"))
    async with app.run_test(size=(160, 45)) as pilot:
        await pilot.press("z", "ctrl+s")
        assert app.answer.chosen == (Message("assistant", "zlook"), *turns[1:])


async def test_plain_text_has_no_turns() -> None:
    app = DialogApp(EditDialog(Pair("a", "Why?", "Sorry.", "No."), "Edit"))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("ctrl+n", "ctrl+d", "ctrl+r", "z", "ctrl+s")
        assert app.answer == Pair("a", "Why?", "zSorry.", "No.")


async def test_an_empty_text_is_saved_only_when_asked_twice() -> None:
    app = DialogApp(EditDialog(PAIR, "Edit"))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("f7", "delete", "ctrl+s")
        assert app.answer is NOTHING
        assert "empty: chosen" in _said(pilot)
        await pilot.press("ctrl+s")
        assert isinstance(app.answer, Pair)
        assert app.answer.chosen == (Message("assistant", ""),)


async def test_wide_screens_show_both_answers_beside_each_other() -> None:
    for width, beside in ((80, False), (130, True)):
        async with DialogApp(EditDialog(PAIR, "Edit")).run_test(size=(width, 30)) as pilot:
            await pilot.pause()
            chosen, rejected = (pilot.app.screen.query_one(f"#{part}").region for part in ("chosen", "rejected"))
            assert (chosen.y == rejected.y) is beside


def test_what_is_to_be_said_against_a_pair() -> None:
    assert doubt(PAIR) == ""
    assert "the same" in doubt(replace(PAIR, rejected=PAIR.chosen))
    assert doubt(replace(PAIR, rejected=(Message("assistant", " "),))) == "empty: rejected"
    assert "out of order" in doubt(replace(PAIR, chosen=(Message("user", "x"),)))


async def test_known_tags_are_offered() -> None:
    app = DialogApp(TagsDialog(("late",), ["card", "late", "tone", "too, long"]))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press(*"to", "tab", *"to", "tab", *"new", "enter")
        assert app.answer == ("late", "tone", "too, long", "new")


class _Editing(App[None]):
    """Opens $EDITOR on a pair."""

    after: Pair | None = None
    error: WorkbenchError | None = None
    done = False

    def on_mount(self) -> None:
        self.run_worker(self._edit())

    async def _edit(self) -> None:
        try:
            self.after = await edit_pair(self, PAIR)
        except WorkbenchError as error:
            self.error = error
        self.done = True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the app of a test stand aside as one in a terminal does."""
    monkeypatch.setattr(HeadlessDriver, "can_suspend", True)
    monkeypatch.delenv("VISUAL", raising=False)


def _editor(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    path = folder / "my editor.sh"
    path.write_text(f"#!/bin/sh\ncd '{folder}'\n{script}\n")
    path.chmod(0o700)
    monkeypatch.setenv("EDITOR", f"'{path}' --wait")


async def _ended(app: _Editing, pilot: Pilot[None], *keys: str) -> None:
    await pilot.pause(0.1)
    await pilot.press(*keys)
    for _ in range(200):
        if app.done:
            return
        await pilot.pause(0.02)


@pytest.mark.usefixtures("terminal")
async def test_the_editor_changes_the_pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = 'stat -c %a "$2" > mode; echo "$2" > name; sed -i "s/a check/an error/; s/^tags:.*/tags: fixed/" "$2"'
    _editor(tmp_path, monkeypatch, script)
    app = _Editing()
    async with app.run_test() as pilot:
        await _ended(app, pilot)
    text = PAIR.chosen[0].content.replace("a check", "an error")  # type: ignore[union-attr]
    assert app.after == replace(PAIR, chosen=(Message("assistant", text),), tags=("fixed",))
    assert (tmp_path / "mode").read_text().strip() == "600"
    name = Path((tmp_path / "name").read_text().strip())
    assert name.suffix == ".md"
    assert not name.exists()


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("script", ["true", "sed -i s/check/error/ $2; exit 3"])
async def test_unchanged_or_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    _editor(tmp_path, monkeypatch, script)
    app = _Editing()
    async with app.run_test() as pilot:
        await _ended(app, pilot)
        assert ("code 3" in "".join(each.message for each in app._notifications)) is ("exit" in script)
    assert app.done
    assert app.after is None


@pytest.mark.usefixtures("terminal")
async def test_a_mistake_is_named_and_nothing_typed_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = "sed -i 's/^status: new/status: fine/; s/a check/an error/' $2"
    _editor(
        tmp_path, monkeypatch, f"if [ -e seen ]; then cp $2 again; sed -i s/fine/flagged/ $2; else {first}; fi; >seen"
    )
    app = _Editing()
    async with app.run_test() as pilot:
        await _ended(app, pilot, "enter")
    assert app.after is not None
    assert app.after.status == "flagged"
    assert "an error" in app.after.chosen[0].content  # type: ignore[union-attr]
    lines = (tmp_path / "again").read_text().splitlines()
    number = int(lines[0].removeprefix("# ✘ Line ").split(":")[0])
    assert lines[number - 1] == "status: fine"


@pytest.mark.usefixtures("terminal")
async def test_bytes_that_are_no_text_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _editor(tmp_path, monkeypatch, "printf 'caf\\351\\n' >> $2; cp $2 last")
    app = _Editing()
    async with app.run_test() as pilot:
        await pilot.pause(0.1)
        assert isinstance(app.screen, ConfirmDialog)
        await pilot.press("enter")
        await pilot.pause(0.1)
        await pilot.press("y")
        await _ended(app, pilot)
    assert app.after is None
    assert (tmp_path / "last").read_bytes().count(b"caf\xe9") == 2


async def test_where_no_editor_can_be_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISUAL", "true")
    app = _Editing()
    async with app.run_test() as pilot:
        await _ended(app, pilot)
    assert app.error is not None
    assert app.error.title == "No editor can be opened here"


@pytest.mark.usefixtures("terminal")
async def test_an_editor_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDITOR", "no-such-editor -w")
    app = _Editing()
    async with app.run_test() as pilot:
        await _ended(app, pilot)
    assert app.error is not None
    assert "no-such-editor" in app.error.message


def test_which_editor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EDITOR", "vim -n")
    monkeypatch.setenv("VISUAL", "'my code' --wait")
    assert editor_command() == ["my code", "--wait"]
    monkeypatch.setenv("VISUAL", "'open")
    with pytest.raises(WorkbenchError, match="VISUAL"):
        editor_command()
    monkeypatch.delenv("VISUAL")
    monkeypatch.delenv("EDITOR")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(WorkbenchError, match="There is no editor"):
        editor_command()
