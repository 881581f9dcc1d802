"""Work behind the screens: one decorator, and one policy for what goes wrong in it.

A `WorkbenchError` is shown. Anything else becomes a dialog that says what was being done, and a traceback file.
Textual's own decorator is used nowhere: it ends the app, or swallows the error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, cast

from textual.css.query import NoMatches
from textual.dom import DOMNode
from textual.message_pump import MessagePump
from textual.worker import Worker, get_current_worker

_AFTER_FAILURE = 1.0
"""Seconds until a loop tries again after a pass that failed."""

_Node = TypeVar("_Node", bound=DOMNode)
_P = ParamSpec("_P")
_Method = Callable[Concatenate[_Node, _P], Coroutine[Any, Any, None]]
_Start = Callable[Concatenate[_Node, _P], Worker[None]]


class _App(Protocol):
    """What background work needs of the app; `steady.SteadyApp` has it."""

    def tell_failure(self, error: Exception, doing: str) -> None: ...

    def hold_keys_for(self, worker: Worker[None]) -> None: ...

    def let_keys_go_on(self, worker: Worker[Any]) -> None: ...


@dataclass
class Job:
    """A method that runs in the background, for the tests: they make each of them fail."""

    method: Callable[..., Coroutine[Any, Any, None]]
    doing: str
    start: Callable[..., Worker[None]]
    opens: bool = False
    loops: bool = False


JOBS: list[Job] = []
"""Every background job of the modules that are imported."""


def background(
    group: str, *, doing: str, exclusive: bool = False, opens: bool = False
) -> Callable[[_Method[_Node, _P]], _Start[_Node, _P]]:
    """Decorates an async method of an app, screen, dialog or widget that shall run in the background.

    `doing` says after "While " what it does. `exclusive`: a new call cancels the one before it of the same group.
    `opens`: it opens a dialog or another data set. Keys that are typed meanwhile wait for that, and go to it.
    """
    return _decorator(group, doing, exclusive=exclusive, opens=opens)


def background_loop(group: str, *, doing: str) -> Callable[[_Method[_Node, _P]], _Start[_Node, _P]]:
    """Decorates an async method that is one pass of a loop, and waits itself until the next is due.

    The loop lasts as long as its node. A pass that fails is told once, not again before a pass succeeded.
    """
    return _decorator(group, doing, exclusive=True, loops=True)


def is_going(pump: MessagePump) -> bool:
    """Whether a widget is being taken away, its children before it."""
    return not pump.is_attached or (isinstance(pump, DOMNode) and getattr(pump.screen, "answered", False))


def let_keys_go_on() -> None:
    """Called in a job that `opens`, before long work after which it opens nothing more: keys need not wait for it."""
    worker = get_current_worker()
    cast("_App", worker.node.app).let_keys_go_on(worker)


def _decorator(
    group: str, doing: str, *, exclusive: bool, opens: bool = False, loops: bool = False
) -> Callable[[_Method[_Node, _P]], _Start[_Node, _P]]:
    def decorate(method: _Method[_Node, _P]) -> _Start[_Node, _P]:
        @wraps(method)
        def start(self: _Node, *arguments: _P.args, **named: _P.kwargs) -> Worker[None]:
            async def run() -> None:
                failed = False
                while True:
                    try:
                        await job.method(self, *arguments, **named)
                        failed = False
                    except Exception as error:
                        if isinstance(error, NoMatches) and is_going(self):
                            return
                        if not failed:
                            cast("_App", self.app).tell_failure(error, doing)
                        failed = True
                    if not loops:
                        return
                    if failed:
                        await asyncio.sleep(_AFTER_FAILURE)

            worker: Worker[None] = self.run_worker(
                run, name=method.__name__, description=doing, group=group, exclusive=exclusive, exit_on_error=False
            )
            if opens:
                cast("_App", self.app).hold_keys_for(worker)
            return worker

        job = Job(method, doing, start, opens, loops)
        JOBS.append(job)
        return cast("_Start[_Node, _P]", start)

    return decorate
