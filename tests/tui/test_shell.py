"""What the three screens share: the tabs, the sheet of keys, the palette, errors, the way out."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
from textual.binding import Binding
from textual.command import CommandPalette
from textual.widgets import Static

from tests.tui.pairs_data import make_workspace
from tests.tui.runs_screen import until
from workbench.errors import WorkbenchError
from workbench.tui.app import WorkbenchApp
from workbench.tui.dialogs.keys import KeysDialog
from workbench.tui.dialogs.show import ErrorDialog
from workbench.tui.screens.base import WorkbenchScreen
from workbench.tui.widgets.key_bar import KeyBar

UNTRUSTED = "\x1b]52;c;aGk=\x07 [/] [bold red]x[/bold red] \u202eevil\u202c \x9b31m \x00"


def _shown(app: WorkbenchApp) -> str:
    """All text on the screen, as it would go to the terminal."""
    lines = app.screen._compositor.render_strips()
    return "\n".join(line.text for line in lines)


async def test_the_number_keys_and_the_tabs_switch_the_screen(tmp_path: Path) -> None:
    app = WorkbenchApp(make_workspace(tmp_path, 3))
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        for key, mode in (("2", "runs"), ("1", "pairs")):
            await pilot.press(key)
            assert app.current_mode == mode
            assert isinstance(app.screen, WorkbenchScreen)
            assert mode == app.screen.MODE
            current = app.screen.query_one("_Tab.-current", Static)
            assert mode in str(current.render()).lower()
        await pilot.click(app.screen.query("_Tab")[1])
        assert app.current_mode == "runs"


async def test_a_screen_keeps_its_state_while_another_is_shown(tmp_path: Path) -> None:
    app = WorkbenchApp(make_workspace(tmp_path, 9))
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause(0.2)
        await pilot.press("j", "j", "j", "2", "1")
        await pilot.pause()
        assert "── 4 " in _shown(app)


@pytest.mark.parametrize("mode", ["pairs", "runs", "compare"])
async def test_the_sheet_and_the_palette_tell_every_key(tmp_path: Path, mode: str) -> None:
    app = WorkbenchApp(make_workspace(tmp_path, 3))
    async with app.run_test(size=(120, 60)) as pilot:
        await pilot.pause()
        await app.action_mode(mode)
        await pilot.pause()
        declared = {binding.description for binding in type(app.screen).BINDINGS if isinstance(binding, Binding)}
        active = app.screen.active_bindings.values()
        described = declared & {each.binding.description for each in active}
        enabled = declared & {each.binding.description for each in active if each.enabled}
        palette = {command.title for command in app.get_system_commands(app.screen)}
        assert described
        assert enabled <= palette
        await app.action_keys()
        await pilot.pause()
        assert isinstance(app.screen, KeysDialog)
        sheet = str(app.screen.query_one("#keys", Static).render())
        assert all(description in sheet for description in described | {"Quit", "Keys"})
        assert "Copy selected text" not in sheet
        await pilot.press("escape")
        assert not isinstance(app.screen, KeysDialog)


async def test_a_click_on_a_key_in_the_bar_below_presses_it(tmp_path: Path) -> None:
    app = WorkbenchApp(make_workspace(tmp_path, 3))
    async with app.run_test(size=(60, 24)) as pilot:
        await pilot.pause(0.2)
        line = _shown(app).splitlines()[-1]
        await pilot.hover(KeyBar, (line.index("Accept"), 0))
        await pilot.click(KeyBar, (line.index("Accept"), 0))
        await pilot.pause()
        assert "✔ accepted" in _shown(app)
        assert "Keys" not in line
        bar = app.screen.query_one(KeyBar)
        bar.scroll_to(bar.max_scroll_x, animate=False)
        await pilot.pause()
        await pilot.click(KeyBar, (_shown(app).splitlines()[-1].index("Keys"), 0))
        await pilot.pause()
        assert isinstance(app.screen, KeysDialog)


async def test_the_bar_below_tells_one_key_for_each_action_that_is_shown(tmp_path: Path) -> None:
    app = WorkbenchApp(make_workspace(tmp_path, 3))
    async with app.run_test(size=(200, 24)) as pilot:
        await pilot.pause(0.2)
        first = {}
        for active in app.screen.active_bindings.values():
            if active.binding.show:
                first.setdefault(active.binding.action, active.binding)
        told = " ".join(f"{app.get_key_display(each)} {each.description}" for each in first.values())
        assert _shown(app).splitlines()[-1].strip() == told


async def test_a_command_of_the_palette_does_what_its_key_does(tmp_path: Path) -> None:
    app = WorkbenchApp(make_workspace(tmp_path, 3))
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause(0.2)
        command = next(each for each in app.get_system_commands(app.screen) if each.title == "Drop")
        command.callback()
        await pilot.pause(0.1)
        assert "✘ dropped" in _shown(app)


async def test_the_palette_saves_a_picture_in_the_workspace(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, 3)
    app = WorkbenchApp(workspace)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await pilot.press("ctrl+p")
        await until(pilot, lambda: isinstance(app.screen, CommandPalette))
        await pilot.press(*"screenshot")
        await until(pilot, lambda: "Save a picture of this screen under views/" in _shown(app))
        await pilot.press("enter")
        await until(pilot, lambda: "Saved views/pairs-" in _shown(app))
        (picture,) = workspace.views.iterdir()
        assert "Accept" in picture.read_text("utf-8")
        assert not isinstance(app.screen, CommandPalette)

        picture.unlink()
        workspace.views.rmdir()
        workspace.views.write_text("no folder")
        app.call_later(app.save_picture)
        await until(pilot, lambda: "The view could not be saved" in _shown(app))


async def test_the_question_mark_opens_the_sheet(tmp_path: Path) -> None:
    app = WorkbenchApp(make_workspace(tmp_path, 3))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        await pilot.press("question_mark")
        assert isinstance(app.screen, KeysDialog)
        assert "Accept" in _shown(app)


async def test_an_error_is_shown_in_three_parts_and_untrusted_text_does_nothing(tmp_path: Path) -> None:
    app = WorkbenchApp(make_workspace(tmp_path, 3))
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        app.show_error(WorkbenchError(f"title {UNTRUSTED}", f"message {UNTRUSTED}", f"hint {UNTRUSTED}"))
        await pilot.pause()
        assert isinstance(app.screen, ErrorDialog)
        shown = _shown(app)
        for part in ("title", "message", "hint"):
            assert part in shown
        assert "[bold red]x[/bold red]" in shown
        assert "␛]52;c;aGk=␇" in shown
        assert not set(shown) & set("\x1b\x07\x9b\x00\u202e\u202c")
        await pilot.press("escape")
        assert not isinstance(app.screen, ErrorDialog)


async def test_a_notice_may_hold_untrusted_text(tmp_path: Path) -> None:
    app = WorkbenchApp(make_workspace(tmp_path, 3))
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await pilot.pause()
        app.tell(f"notice {UNTRUSTED}")
        await pilot.pause(0.2)
        shown = _shown(app)
        assert "notice ␛]52;c;aGk=␇" in shown
        assert not set(shown) & set("\x1b\x07\x9b\x00\u202e\u202c")


async def test_garbage_is_collected_once_the_first_screen_is_there(tmp_path: Path) -> None:
    gc.disable()
    try:
        async with WorkbenchApp(make_workspace(tmp_path, 3)).run_test() as pilot:
            await pilot.pause()
            assert gc.isenabled()
    finally:
        gc.enable()


async def test_q_quits(tmp_path: Path) -> None:
    app = WorkbenchApp(make_workspace(tmp_path, 3))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        await pilot.press("q")
        await pilot.pause()
        assert app._exit
        assert app.return_code == 0
