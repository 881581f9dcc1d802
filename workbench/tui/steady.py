"""An app that no error in a handler ends, whose keys go where they were meant to, and that no slow link stops.

All of Textual's internals that this leans on are in this module, and `tests/tui/test_steady.py` checks them:
`MessagePump._dispatch_message` (through which every message of every widget goes), `App._handle_exception` (to which
timers, layout and Textual's own workers bring their errors), `App.on_event` (which hands a key to what has the focus
at that moment), `active_message_pump` and the pumps' queues, `Screen._callbacks` (what waits for the next refresh),
`App._screen_stacks`, `App._nodes`, `OptionList._move_page` and `_lines`, `CommandPalette._refresh_command_list`,
`Screen._compositor_refresh` (which paints what has changed since it was last called), the driver's `_writer_thread`
`StylesCache.get_inner_outer`, the app's list of who watches it, `ToastRack.show`, and `Strip.render_ansi`.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from textual import events
from textual._context import active_message_pump
from textual._styles_cache import StylesCache
from textual.app import App
from textual.await_complete import AwaitComplete
from textual.color import Color
from textual.command import CommandInput, CommandPalette
from textual.css.query import NoMatches
from textual.dom import DOMNode
from textual.message import Message
from textual.message_pump import MessagePump
from textual.screen import ModalScreen, Screen
from textual.strip import Strip
from textual.widgets import Input, OptionList, TextArea
from textual.widgets._toast import Toast, ToastHolder, ToastRack
from textual.worker import Worker, WorkerFailed, get_current_worker

from workbench.errors import WorkbenchError
from workbench.tui.background import is_going
from workbench.tui.dialogs.show import ErrorDialog
from workbench.tui.unforeseen import Unforeseen

_LONGEST_HOLD = 5.0
"""Seconds after which it is said that keys wait for work to end; where none goes on, they are dropped."""
_LOOK_AGAIN = 0.002
_PAINT_AGAIN = 0.005
_textual_dispatch = MessagePump._dispatch_message
_textual_move_page = OptionList._move_page
_textual_paint = Screen._compositor_refresh
_textual_show_toasts = ToastRack.show
_textual_render_ansi = Strip.render_ansi.__wrapped__
_textual_inner_outer = StylesCache.get_inner_outer.__wrapped__


@dataclass(slots=True)
class _Opening:
    """A worker that is about to open something, and the dialog that it opened last."""

    worker: Worker[Any]
    screen: Screen[Any] | None = None


class SteadyApp(App[None]):
    """The policy for errors, and the way of keys.

    Errors: `tell_failure`. Keys: one that arrives while the one before it still works waits until that has done what
    it does: until the dialog, field or screen that it opens is there and has the focus. So a burst of keys means what
    the same keys mean when they are typed slowly.
    """

    def __init__(self, errors: Path | None = None) -> None:
        """`errors` is the folder for tracebacks, which need not exist; else they go among the temporary files."""
        super().__init__()
        self.unforeseen = Unforeseen(errors)
        self.fatal: Exception | None = None
        """The error that ended the app."""
        self._shown: WorkbenchError | None = None
        self._dispatching = 0
        """Messages that are being handled by any widget, screen or the app now."""
        self._openings: list[_Opening] = []
        self._held: deque[events.Event] = deque()
        self._overdue = False
        """Whether keys have waited so long for a job that esc lets them go."""
        self._sender: asyncio.Task[None] | None = None
        self._unpainted: set[Screen[Any]] = set()
        """Screens that are painted once the terminal has taken what was painted before."""

    # Errors

    def tell_failure(self, error: Exception, doing: str) -> None:
        """Shows an error. `doing` says after "While " what was being done."""
        if isinstance(error, WorkerFailed) and isinstance(error.error, Exception):
            error = error.error
        if self._exit or not self._running or not self._screen_stacks.get(self._current_mode):
            return  # There is nothing any more to show it on.
        if isinstance(error, WorkbenchError):
            self.show_error(error)
        elif (to_show := self.unforeseen.take(error, doing)) is not None:
            self.show_error(to_show)

    def show_error(self, error: WorkbenchError) -> None:
        """Shows what went wrong and what to do about it; not twice at a time, and no error a second time."""
        shown = [screen.error for screen in self.screen_stack if isinstance(screen, ErrorDialog)]
        known = any((other.title, other.message) == (error.title, error.message) for other in shown)
        if not known and error is not self._shown:
            self._shown = error
            self.call_later(self.push_screen, ErrorDialog(error))

    def _handle_exception(self, error: Exception) -> None:
        """Textual's last resort. The app ends only where it has not begun, or cannot even show an error."""
        pump = active_message_pump.get(self)
        if self._dom_ready and not self._exit and not isinstance(_screen_of(pump), ErrorDialog):
            self._give_up_building(pump)
            self.tell_failure(error, f"{type(pump).__name__} was drawn, or at a beat of its clock")
        else:
            self._end_through(error)

    def _give_up_building(self, pump: MessagePump) -> None:
        """Closes the dialog that a widget is not there yet for: one of which a part is missing is no use."""
        screen = _screen_of(pump)
        if isinstance(screen, ModalScreen) and not pump._is_mounted:
            self.call_later(screen.dismiss, None)

    def _end_through(self, error: Exception) -> None:
        self.fatal = self.fatal or error
        self._return_code = 1
        if self._exception is None:
            self._exception = error  # So tests see it.
            self._exception_event.set()
        self._close_messages_no_wait()

    async def guarded(self, pump: MessagePump, message: Message) -> None:
        """Handles a message as Textual does. An error in it is told, and the widget lives on."""
        self._dispatching += 1
        try:
            await _textual_dispatch(pump, message)
        except Exception as error:
            building = isinstance(message, (events.Compose, events.Mount, events.Load))
            if pump is self and building:
                raise  # There is nothing yet to show an error on.
            if isinstance(error, NoMatches) and is_going(pump):
                return
            if isinstance(_screen_of(pump), ErrorDialog):
                self._end_through(error)
            else:
                self._give_up_building(pump)
                self.tell_failure(error, _doing(pump, message))
        finally:
            self._dispatching -= 1

    # Keys

    async def on_event(self, event: events.Event) -> None:
        """Hands keys and pasted text on, one at a time."""
        typed = isinstance(event, (events.Key, events.Paste)) and not event.is_forwarded
        if self._overdue and isinstance(event, events.Key) and event.key == "escape":
            self._drop_held()
        elif typed and (self._held or not self._settled(handling=1)):
            self._held.append(event)
            if self._sender is None or self._sender.done():
                self._sender = asyncio.create_task(self._send_held())
        else:
            await super().on_event(event)

    async def _send_held(self) -> None:
        """Hands on what is held: each event once the one before it has done its work."""
        since = time.monotonic()
        field: Input | TextArea | None = None
        while self._held and self._running:
            # A letter after a letter, in one field, opens nothing in between.
            if self._settled() or (field is not None and field is self.focused and _is_letter(self._held[0])):
                event = self._held.popleft()
                field = self.focused if _is_letter(event) and isinstance(self.focused, Input | TextArea) else None
                self.call_later(super().on_event, event)
                since = time.monotonic()
                await asyncio.sleep(0)
            elif time.monotonic() - since < _LONGEST_HOLD or self._overdue:
                await asyncio.sleep(_LOOK_AGAIN)
            elif awaited := self._awaited:
                self._overdue = True
                doing = awaited[0].worker.description
                self.notify(f"Still {doing}: keys wait until that is done. esc drops them.", markup=False)
            else:
                self._drop_held()
        self._overdue = False

    def _drop_held(self) -> None:
        self._held.clear()
        self._openings.clear()
        self.bell()

    def _settled(self, handling: int = 0) -> bool:
        """Whether nobody has anything left to do, besides `handling` messages that are known of."""
        if self._dispatching > handling or self.message_queue_size or self._next_callbacks:
            return False
        if self._awaited or any(screen not in self._standing for screen in self._nodes):
            return False  # A screen has yet to come, or one that was closed has yet to go.
        screen = self.screen
        return not screen._callbacks and all(
            node._is_mounted and not node.message_queue_size for node in screen.walk_children(with_self=True)
        )

    @property
    def _standing(self) -> list[Screen[Any]]:
        return [screen for stack in self._screen_stacks.values() for screen in stack]

    @property
    def _awaited(self) -> list[_Opening]:
        """The jobs that have yet to open something."""
        self._openings = [opening for opening in self._openings if not opening.worker.is_finished]
        standing = self._standing
        return [opening for opening in self._openings if opening.screen not in standing]

    def hold_keys_for(self, worker: Worker[Any]) -> None:
        """Holds keys until the worker has opened a dialog, or has ended."""
        self._openings.append(_Opening(worker))

    def let_keys_go_on(self, worker: Worker[Any]) -> None:
        """Holds keys for the worker no longer."""
        self._openings = [opening for opening in self._openings if opening.worker is not worker]

    async def push_screen_wait(self, screen: Any, *, mode: str | None = None) -> Any:
        """Shows a dialog and waits for its answer. While it stands, keys are its own."""
        worker = get_current_worker()
        for opening in self._openings:
            if opening.worker is worker:
                opening.screen = screen
        return await super().push_screen_wait(screen, mode=mode)

    # What is painted

    def pop_screen(self) -> AwaitComplete:
        """As Textual's. Text areas watch the app for its theme; those that are closed are let go before it changes."""
        for watching in getattr(self, "__watchers", {}).values():
            watching[:] = [(watcher, call) for watcher, call in watching if not watcher._closing]
        return super().pop_screen()

    @property
    def behind(self) -> bool:
        """Whether the terminal has yet to take what was painted. Textual lets thirty writes wait, then stands still."""
        writer = getattr(self._driver, "_writer_thread", None)
        return writer is not None and writer._queue.qsize() > 0

    def paint_later(self, screen: Screen[Any]) -> None:
        """Paints what will have changed by then, so that over a slow link it is seen late but never waits in line."""
        if screen not in self._unpainted:
            self._unpainted.add(screen)
            self.set_timer(_PAINT_AGAIN, lambda: self._paint_now(screen))

    def _paint_now(self, screen: Screen[Any]) -> None:
        self._unpainted.discard(screen)
        if screen.is_current:
            screen._compositor_refresh()

    def action_command_palette(self) -> None:
        """Shows every command."""
        if not isinstance(self.screen, CommandPalette):
            self.push_screen(_Palette(id="--command-palette"))

    def _suspend_signal(self) -> None:
        """What was typed for another program is not for the screen that comes after it."""
        self._held.clear()
        super()._suspend_signal()


class _Palette(CommandPalette):
    """The palette, which offers nothing to enter before something was typed: its first command changes a pair."""

    def _refresh_command_list(self, command_list: Any, commands: Any, clear_current: bool) -> None:
        super()._refresh_command_list(command_list, commands, clear_current)
        if not self.query_one(CommandInput).value:
            command_list.highlighted = None


def _is_letter(event: events.Event) -> bool:
    return isinstance(event, events.Key) and event.is_printable


def _screen_of(pump: MessagePump) -> Screen[Any] | None:
    """The screen that a widget is on; None for the app, and for what is on none."""
    return pump.screen if isinstance(pump, DOMNode) and not isinstance(pump, App) and pump.is_attached else None


def _doing(pump: MessagePump, message: Message) -> str:
    what = f"the key {message.key}" if isinstance(message, events.Key) else type(message).__name__
    return f"{type(pump).__name__} handled {what}"


async def _dispatch(pump: MessagePump, message: Message) -> None:
    app = pump.app
    if isinstance(app, SteadyApp):
        await app.guarded(pump, message)
    else:
        await _textual_dispatch(pump, message)


def _move_page(options: OptionList, direction: Any) -> None:
    if options._lines:
        _textual_move_page(options, direction)


def _paint(screen: Screen[Any]) -> None:
    app = screen.app
    if isinstance(app, SteadyApp) and app.behind:
        app.paint_later(screen)
    else:
        _textual_paint(screen)


def _show_toasts(rack: ToastRack, notifications: Any) -> None:
    for holder in rack.query(ToastHolder):
        if not any(toast._notification in notifications for toast in holder.query(Toast)):
            holder.remove()
    _textual_show_toasts(rack, notifications)


@lru_cache(1024)
def _inner_outer(base_background: Color, background: Color) -> Any:
    return _textual_inner_outer(None, base_background, background)


# An exception ends the loop of its widget (`_process_messages_loop`), and with it the app or a part of the screen.
# There is no hook around a message, and half of the widgets are Textual's own: so the one method is replaced.
MessagePump._dispatch_message = _dispatch  # type: ignore[method-assign, assignment]
# The page keys raise KeyError in a list without lines: the command palette's, where nothing is found or shown yet.
OptionList._move_page = _move_page  # type: ignore[method-assign, assignment]
# What has changed stays noted until it is painted: Textual paints each change, however long the line of them is.
Screen._compositor_refresh = _paint  # type: ignore[method-assign, assignment]
# Textual's own cache of these has the widget's painted lines in its keys: it keeps those of a thousand closed widgets.
StylesCache.get_inner_outer = staticmethod(_inner_outer)  # type: ignore[method-assign, assignment]
# Textual takes away a toast that ended while another screen was shown, but leaves what held it.
ToastRack.show = _show_toasts  # type: ignore[method-assign, assignment]
# Where a text stands on the screen is part of its style: Textual keeps the codes of 16,384 styles, and their places.
Strip.render_ansi = staticmethod(lru_cache(1024)(partial(_textual_render_ansi, Strip)))  # type: ignore[method-assign, assignment]
