"""Talks to a warm scorer process: starts it, keeps many requests apart, and tells when it died."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import itertools
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, overload

from pydantic import ValidationError

from workbench.child import GRACE, Child
from workbench.compare.messages import (
    REPLIES,
    BehavioursTold,
    Cancel,
    Distribution,
    DistributionAt,
    Generate,
    Generated,
    NextToken,
    OpeningsScored,
    PairBatch,
    PairsScored,
    Ready,
    Refused,
    Scored,
    ScoreOpenings,
    ScorePairs,
    ScoreResponse,
    ScorerRequest,
    TellBehaviours,
    TextChunk,
)
from workbench.errors import WorkbenchError

HUNG = 60.0
"""Seconds without a word after a request was given up, after which a scorer is taken for one that hangs: no forward
takes as long."""


class ScorerClient:
    """One scorer process for one base model, shared by all that ask.

    A request on a scorer that is not running starts it. Use from one event loop; `close` when done, or use
    `async with`.
    """

    def __init__(
        self,
        model: str,
        quantization: str = "nf4",
        chat_template: str = "",
        trust_remote_code: bool = False,
        allow_pickle: bool = False,
        *,
        command: Sequence[str] | None = None,
    ) -> None:
        self.serves = (model, quantization, chat_template, trust_remote_code, allow_pickle)
        self._command = list(command) if command else [
            sys.executable, "-P", "-m", "workbench.engine.score", "--model", model, "--quantization", quantization,
            *(["--chat-template", chat_template] if chat_template else []),
            *(["--trust-remote-code"] if trust_remote_code else []), *(["--allow-pickle"] if allow_pickle else []),
        ]  # fmt: skip
        self._ids = itertools.count(1)
        self._process: _ScorerProcess | None = None
        self._starting = asyncio.Lock()

    async def __aenter__(self) -> ScorerClient:
        try:
            await self.start()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    @property
    def running(self) -> bool:
        """Whether a scorer process is there (it may still be loading the model)."""
        return self._process is not None and self._process.running

    async def start(self) -> Ready:
        """Starts the scorer where none runs, and waits until its model is loaded.

        Raises `WorkbenchError` where the model cannot be loaded.
        """
        return await asyncio.shield((await self._started()).ready)

    @overload
    async def ask(self, request: NextToken | DistributionAt) -> Distribution: ...
    @overload
    async def ask(self, request: ScoreResponse) -> Scored: ...
    @overload
    async def ask(self, request: ScoreOpenings) -> OpeningsScored: ...
    @overload
    async def ask(self, request: TellBehaviours) -> BehavioursTold: ...
    @overload
    async def ask(self, request: Generate, on_part: Callable[[TextChunk], None] | None = None) -> Generated: ...
    @overload
    async def ask(self, request: ScorePairs, on_part: Callable[[PairBatch], None] | None = None) -> PairsScored: ...
    async def ask(self, request: ScorerRequest, on_part: Callable[[Any], None] | None = None) -> Any:
        """The answer to `request`, which gets an id; `on_part` is called with what comes before the answer.

        Cancelling the task that waits gives the request up in the scorer as well. Raises `WorkbenchError`.
        """
        process = await self._started()
        return await process.ask(request.model_copy(update={"id": next(self._ids)}), on_part)

    async def close(self) -> None:
        """Ends the scorer; requests that wait are answered with a `WorkbenchError`."""
        process, self._process = self._process, None
        if process is not None:
            await process.close()

    async def _started(self) -> _ScorerProcess:
        async with self._starting:
            if self._process is None or not self._process.running:
                try:
                    self._process = _ScorerProcess(Child(self._command))
                except OSError as error:
                    raise WorkbenchError("The scorer did not start", f"{self._command[0]}: {error}.") from error
            return self._process


class _ScorerProcess:
    """A running scorer: requests go in, replies come out, and its end is told to all who wait.

    `ready` tells when its model is loaded, or why it cannot be.
    """

    def __init__(self, process: Child) -> None:
        """Reads what `process` says from now on."""
        self._process = process
        self._loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[Ready] = self._loop.create_future()
        # Nobody may be waiting when the scorer dies: that is no error in itself.
        self.ready.add_done_callback(lambda future: future.cancelled() or future.exception())
        self._open: dict[int, tuple[asyncio.Future[Any], Callable[[Any], None] | None, contextvars.Context]] = {}
        self._end_error: WorkbenchError | None = None
        self._heard = 0
        """Lines that came from it."""
        self._closed = False
        self._ended = asyncio.Event()
        # A scorer that does not read would make who writes wait; one thread keeps the requests in order.
        self._writer = ThreadPoolExecutor(1, "scorer-requests")
        threading.Thread(target=self._read_replies, name=f"scorer-{process.pid}", daemon=True).start()

    @property
    def running(self) -> bool:
        """Whether it may answer yet: one that refused to load its model is about to end."""
        refused = self.ready.done() and not self.ready.cancelled() and self.ready.exception() is not None
        return self._process.running and not refused

    async def ask(self, request: ScorerRequest, on_part: Callable[[Any], None] | None) -> Any:
        await asyncio.shield(self.ready)
        if self._end_error is not None:
            raise WorkbenchError(*self._end_error.args)
        answer: asyncio.Future[Any] = self._loop.create_future()
        # What `on_part` calls may need the context variables of who asks; the thread that reads replies has none.
        self._open[request.id] = answer, on_part, contextvars.copy_context()
        try:
            await self._write(request)
            return await answer
        except asyncio.CancelledError:
            with contextlib.suppress(RuntimeError):
                self._write(Cancel(id=request.id))
                self._loop.call_later(HUNG, self._end_where_silent, self._heard)
            raise
        finally:
            self._open.pop(request.id, None)

    async def close(self) -> None:
        self._closed = True
        await asyncio.to_thread(self._process.end)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ended.wait(), GRACE)
        self._writer.shutdown(wait=False)

    def _write(self, message: ScorerRequest | Cancel) -> asyncio.Future[None]:
        line = message.model_dump_json().encode() + b"\n"
        return self._loop.run_in_executor(self._writer, self._process.write, line)

    def _read_replies(self) -> None:
        """In a thread of its own, until the process ends."""
        with contextlib.suppress(RuntimeError):  # The loop is closed, and nobody waits for anything.
            for line in self._process.lines():
                self._loop.call_soon_threadsafe(self._hear, line)
            last_words = self._process.last_words("The scorer").message
            self._loop.call_soon_threadsafe(self._die, last_words)

    def _end_where_silent(self, heard: int) -> None:
        """Ends a process that has not even answered a `Cancel`: the next request starts another."""
        if self._heard == heard and self.running:
            self._loop.run_in_executor(None, self._process.end)

    def _hear(self, line: bytes) -> None:
        self._heard += 1
        try:
            reply = REPLIES.validate_json(line)
        except ValidationError:
            self._process.remember(line)
            return
        if reply.id in self._open:
            answer, on_part, context = self._open[reply.id]
            if answer.done():
                return
            if isinstance(reply, Refused):
                answer.set_exception(_error(reply))
            elif not isinstance(reply, TextChunk | PairBatch):
                answer.set_result(reply)
            elif on_part is not None:
                try:
                    context.run(on_part, reply)
                except Exception as error:  # What a callback raises ends the request that it belongs to and no other.
                    answer.set_exception(error)
        elif not self.ready.done():
            if isinstance(reply, Ready):
                self.ready.set_result(reply)
            elif isinstance(reply, Refused):
                self.ready.set_exception(_error(reply))

    def _die(self, last_words: str) -> None:
        self._end_error = (
            WorkbenchError("The scorer was closed", "It was asked to end before it could answer.")
            if self._closed
            else WorkbenchError("The scorer died", last_words, "Ask again: it is started anew with the next request.")
        )
        for waiting in (self.ready, *(answer for answer, *_ in self._open.values())):
            if not waiting.done():
                waiting.set_exception(self._end_error)
        self._ended.set()


def _error(refused: Refused) -> WorkbenchError:
    return WorkbenchError(refused.title, refused.message, refused.hint)
