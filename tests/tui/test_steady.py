"""The one policy for what nobody foresaw, in every background job and in handlers; and what it leans on in Textual."""

from __future__ import annotations

import ast
import asyncio
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from textual import events
from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.command import CommandList, CommandPalette
from textual.drivers._writer_thread import WriterThread
from textual.drivers.linux_driver import LinuxDriver
from textual.message_pump import MessagePump
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widgets import OptionList, Static

import workbench.tui
from tests.tui.runs_screen import until
from workbench.errors import WorkbenchError
from workbench.tui import background as background_module
from workbench.tui.background import JOBS, Job, background, background_loop, is_going
from workbench.tui.dialogs.base import Dialog
from workbench.tui.dialogs.show import ErrorDialog
from workbench.tui.steady import SteadyApp

for _module in pkgutil.walk_packages(workbench.tui.__path__, "workbench.tui."):
    importlib.import_module(_module.name)

_FAILURES = (PermissionError(13, "no right"), RuntimeError("boom"))
pytestmark = pytest.mark.unforeseen


def told(app: SteadyApp) -> str:
    return f"{app.screen.error.title} {app.screen.error.message}" if isinstance(app.screen, ErrorDialog) else ""


def ours() -> list[Job]:
    return [job for job in JOBS if job.method.__module__.startswith("workbench.")]


async def closed(pilot: Pilot[None]) -> None:
    """Closes the dialog that tells of an error."""
    app = pilot.app
    assert isinstance(app, SteadyApp)
    await pilot.press("escape")
    await until(pilot, lambda: not told(app))


# Background jobs


async def test_an_error_in_any_job_is_told_with_what_was_done_and_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.tui.unforeseen._QUIET", 0.0)
    app, jobs = SteadyApp(tmp_path), ours()
    async with app.run_test() as pilot:
        for number, job in enumerate(jobs):
            error = _FAILURES[number % len(_FAILURES)]

            async def fail(*_: Any, error: Exception = error, **__: Any) -> None:
                raise error

            monkeypatch.setattr(job, "method", fail)
            worker = job.start(app.screen)
            await until(pilot, lambda job=job: f"While {job.doing}: " in told(app))
            assert str(error) in told(app)
            written = app.unforeseen.written[-1].read_text("utf-8")
            assert f"While {job.doing}" in written
            assert "in fail" in written
            worker.cancel()  # Where it is a loop.
            await closed(pilot)
        assert len(app.unforeseen.written) == len(jobs)
    assert not app.return_code


async def test_a_foreseen_error_is_shown_as_it_is() -> None:
    class Failing(SteadyApp):
        @background("work", doing="working")
        async def work(self) -> None:
            raise WorkbenchError("The disk is full", "No room.", "Make room.")

    app = Failing()
    async with app.run_test() as pilot:
        app.work()
        await until(pilot, lambda: "The disk is full" in told(app))
        assert not app.unforeseen.written


async def test_a_loop_tells_of_a_failing_pass_once_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background_module, "_AFTER_FAILURE", 0.01)
    passes = 0

    class Looping(SteadyApp):
        failing = True

        @background_loop("watch", doing="watching")
        async def watch_files(self) -> None:
            nonlocal passes
            passes += 1
            if self.failing:
                raise RuntimeError(f"pass {passes}")
            await asyncio.sleep(0.01)

    app = Looping()
    async with app.run_test() as pilot:
        app.watch_files()
        await until(pilot, lambda: "pass 1" in told(app) and passes > 3)
        await pilot.press("escape")
        app.failing, before = False, passes
        await until(pilot, lambda: passes > before + 3)
        assert not told(app)
        assert len(app.unforeseen.written) == 1


def test_no_work_goes_around_the_policy() -> None:
    around = [
        f"{path.name}:{number}: {line.strip()}"
        for path in Path(workbench.tui.__path__[0]).rglob("*.py")
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if line.strip().startswith("@work") or "import work\n" in f"{line}\n" or "run_worker(" in line
        if path.name != "background.py"
    ]
    assert around == []


def test_what_opens_a_dialog_holds_the_keys() -> None:
    """A job that waits for a dialog says `opens=True`: keys that come with its own go to that dialog."""
    for job in ours():
        source = inspect.getsource(job.method)
        if "push_screen_wait" in source or "self._ask(" in source:
            assert job.opens, job.method.__qualname__


# Handlers


class _Failing(Dialog[None]):
    BINDINGS = [Binding("x", "fail", "Fail"), Binding("escape", "dismiss(None)")]  # noqa: RUF012
    at: str = ""

    def compose(self) -> ComposeResult:
        yield Static("here")
        if self.at == "compose":
            raise RuntimeError("boom")

    def on_mount(self) -> None:
        if self.at == "mount":
            raise RuntimeError("boom")
        if self.at == "timer":
            self.set_interval(0.01, self.action_fail)
        if self.at == "later":
            self.call_later(self.action_fail)
        if self.at == "next":
            self.call_next(self.action_fail)
        if self.at == "refresh":
            self.call_after_refresh(self.action_fail)

    def on_click(self) -> None:
        self.action_fail()

    def on_descendant_focus(self) -> None:
        self.action_fail()

    def action_fail(self) -> None:
        raise RuntimeError("boom")


@pytest.mark.parametrize("at", ["compose", "mount", "timer", "later", "next", "refresh"])
async def test_an_error_in_a_dialog_ends_neither_the_app_nor_the_screen_below(at: str) -> None:
    app = SteadyApp()
    async with app.run_test() as pilot:
        dialog = _Failing()
        dialog.at = at
        app.push_screen(dialog)
        await until(pilot, lambda: "boom" in told(app))
        await closed(pilot)
        if at in ("compose", "mount"):
            assert dialog not in app.screen_stack
        else:
            await pilot.press("escape")
        assert len(app.screen_stack) == 1
    assert not app.return_code


async def test_an_error_at_a_key_or_click_leaves_the_dialog_working(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.tui.unforeseen._QUIET", 0.0)
    app = SteadyApp()
    async with app.run_test() as pilot:
        app.push_screen(dialog := _Failing())
        await pilot.pause()
        await pilot.press("x")
        await until(pilot, lambda: "boom" in told(app))
        await closed(pilot)
        await pilot.click(Static)
        await until(pilot, lambda: "boom" in told(app))
        await closed(pilot)
        assert app.screen is dialog
        await pilot.press("escape")
        assert dialog not in app.screen_stack
    assert not app.return_code


def _actions() -> Iterator[tuple[type[Dialog[Any]], str]]:
    for kind in Dialog.__subclasses__():
        if kind.__module__.startswith("workbench.") and kind is not ErrorDialog:
            yield from ((kind, name) for name in vars(kind) if name.startswith("action_"))


async def test_an_error_in_any_action_of_any_dialog_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.tui.unforeseen._QUIET", 0.0)

    def fail(*_: Any) -> None:
        raise PermissionError(13, "boom")

    def nothing(*_: Any) -> tuple[()]:
        return ()

    def not_handled(_: Any, event: events.Event) -> None:
        event.prevent_default()

    app = SteadyApp()
    async with app.run_test() as pilot:
        for kind, name in _actions():
            # The dialog's own parts would need what it is about.
            parts = {"__init__": Dialog.__init__, "compose": nothing, "on_resize": not_handled, "on_mount": not_handled}
            stub = type("Stub", (kind,), parts | {name: fail})
            await app.push_screen(dialog := stub())
            app.call_later(app.run_action, f"screen.{name.removeprefix('action_')}()")
            await until(pilot, lambda: "boom" in told(app))
            await closed(pilot)
            assert app.screen is dialog
            await dialog.dismiss(None)
    assert not app.return_code


async def test_a_full_disk_does_not_hide_the_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    app = SteadyApp(tmp_path / "errors")
    async with app.run_test() as pilot:
        app.push_screen(_Failing())
        await pilot.press("x")
        await until(pilot, lambda: "boom" in told(app))
        assert isinstance(app.screen, ErrorDialog)
        assert "could not be written" in app.screen.error.hint


async def test_an_app_that_cannot_show_an_error_ends_with_another_status_than_0() -> None:
    app = SteadyApp()
    async with app.run_test() as pilot:
        app.push_screen(ErrorDialog(WorkbenchError("first", "")))
        await pilot.pause()
        app.screen.call_later(_Failing.action_fail, app.screen)
        await until(pilot, lambda: app.fatal is not None)
        app._exception = None  # Which the test would raise.
    assert app.return_code == 1


# Dialogs


async def test_a_second_answer_is_none() -> None:
    answers: list[bool | None] = []

    class Twice(Dialog[bool]):
        pass

    app = SteadyApp()
    async with app.run_test() as pilot:
        app.push_screen(dialog := Twice(), answers.append)
        await pilot.pause()
        dialog.dismiss(result=True)
        dialog.dismiss(result=False)
        await pilot.pause()
        assert answers == [True]
        assert len(app.screen_stack) == 1


async def test_a_dialog_that_answers_below_another_closes_after_it() -> None:
    answers: list[Any] = []
    app = SteadyApp()
    async with app.run_test() as pilot:
        app.push_screen(lower := _Failing(), answers.append)
        app.push_screen(upper := _Failing())
        await pilot.pause()
        lower.dismiss(None)
        await pilot.pause()
        assert app.screen is upper
        assert answers == []
        await pilot.press("escape")
        await until(pilot, lambda: len(app.screen_stack) == 1)
        assert answers == [None]


class _Closing(Dialog[None]):
    """Looks for a part that is not there."""

    @background("look", doing="looking")
    async def look(self, going: asyncio.Event) -> None:
        await going.wait()
        self.query_one("#part")


async def test_no_error_is_told_of_a_job_whose_dialog_was_answered_meanwhile() -> None:
    app, going = SteadyApp(), asyncio.Event()
    async with app.run_test() as pilot:
        await app.push_screen(dialog := _Closing())
        dialog.look(going)
        await pilot.pause()
        dialog._answered = True  # As between its answer and its end.
        going.set()
        await app.workers.wait_for_complete()
        await pilot.pause()
        assert not told(app)
        assert not app.unforeseen.written


async def test_a_part_that_is_missing_in_an_open_dialog_is_told(tmp_path: Path) -> None:
    app, going = SteadyApp(tmp_path), asyncio.Event()
    async with app.run_test() as pilot:
        await app.push_screen(dialog := _Closing())
        assert not is_going(dialog)
        dialog.look(going)
        going.set()
        await until(pilot, lambda: "While looking" in told(app))
        await closed(pilot)
        await dialog.dismiss(None)
        assert is_going(dialog)


# Keys that wait


class _Slow(SteadyApp):
    """s works until `done` is set; keys pressed meanwhile are for what comes after."""

    BINDINGS = [Binding("s", "work", "Work"), Binding("a", "note", "Note")]  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self.done, self.noted = asyncio.Event(), 0

    @background("work", doing="working hard", opens=True)
    async def action_work(self) -> None:
        await self.done.wait()

    def action_note(self) -> None:
        self.noted += 1


def send(app: SteadyApp, *keys: str) -> None:
    """Keys from the terminal, without waiting for what they do."""
    assert app._driver is not None
    for key in keys:
        app._driver.send_message(events.Key(key, key if len(key) == 1 else None))


async def test_keys_wait_for_long_work_and_are_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.tui.steady._LONGEST_HOLD", 0.1)
    app = _Slow()
    async with app.run_test() as pilot:
        send(app, *"saa")
        await until(pilot, lambda: any("Still working hard" in str(notice.message) for notice in app._notifications))
        assert app.noted == 0
        app.done.set()
        await until(pilot, lambda: app.noted == 2)


async def test_esc_drops_keys_that_wait_for_long_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.tui.steady._LONGEST_HOLD", 0.1)
    app = _Slow()
    async with app.run_test() as pilot:
        send(app, *"saa")
        await until(pilot, lambda: app._overdue)
        send(app, "escape")
        await until(pilot, lambda: not app._held)
        send(app, "a")
        await until(pilot, lambda: app.noted == 1)
        app.done.set()


# The palette


async def test_the_palette_begins_at_no_command() -> None:
    app = _Slow()
    async with app.run_test() as pilot:
        await pilot.press("ctrl+p")
        await until(pilot, lambda: app.screen.has_class("-ready"))
        assert app.screen.query_one(CommandList).highlighted is None
        await pilot.press("enter")
        await pilot.pause(0.2)
        assert isinstance(app.screen, CommandPalette)
        assert app.noted == 0
        await pilot.press(*"not", "enter")
        await until(pilot, lambda: not isinstance(app.screen, CommandPalette))


class _Lists(SteadyApp):
    """A list without entries, and one with entries that is not shown yet, as the palette's."""

    def compose(self) -> ComposeResult:
        yield OptionList(id="empty")
        hidden = OptionList("one", "two", id="hidden")
        hidden.display = False
        yield hidden


@pytest.mark.parametrize("name", ["empty", "hidden"])
async def test_page_keys_do_nothing_in_a_list_that_has_no_lines(name: str) -> None:
    app = _Lists()
    async with app.run_test():
        options = app.query_one(f"#{name}", OptionList)
        if name == "hidden":
            options.highlighted = 0
        options._move_page(-1)
        options.action_page_down()


# Textual


def test_what_is_leaned_on_in_textual_is_as_it_was() -> None:
    """Where this fails with another Textual: read `workbench/tui/steady.py`, and see what it needs now."""
    from textual import message_pump

    assert list(inspect.signature(App._handle_exception).parameters) == ["self", "error"]
    assert list(inspect.signature(App.on_event).parameters) == ["self", "event"]
    assert list(inspect.signature(App._suspend_signal).parameters) == ["self"]
    loop = inspect.getsource(MessagePump._process_messages_loop)
    assert "await self._dispatch_message(message)" in loop
    assert "self.app._handle_exception(error)" in loop
    pump = ast.unparse(ast.parse(Path(message_pump.__file__).read_text("utf-8")))
    assert "async def _dispatch_message(self, message: Message) -> None" in pump
    assert "_callbacks" in inspect.getsource(Screen._invoke_and_clear_callbacks)
    assert "_next_callbacks" in inspect.getsource(MessagePump.call_next)
    # All that paints goes through the method that is replaced.
    assert inspect.getsource(Screen).count("self._compositor_refresh") == 3
    assert "self._queue.put(text)" in inspect.getsource(WriterThread.write)
    assert "_writer_thread" in inspect.getsource(LinuxDriver.write)
    for name in ("_exit", "_dom_ready", "_exception", "_screen_stacks", "_current_mode", "_exception_event"):
        assert hasattr(App(), name), name
    assert hasattr(events.Key("a", "a"), "is_forwarded")
    assert isinstance(OptionList._move_page, type(told))
    assert isinstance(OptionList._lines, property)
    assert "command_list.highlighted = 0" in inspect.getsource(CommandPalette._refresh_command_list)
