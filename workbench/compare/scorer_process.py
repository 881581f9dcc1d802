"""A scorer's process as its client sees it: requests go in, replies come out, and its end is told to all who wait."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from pydantic import ValidationError

from workbench.child import GRACE, Child
from workbench.compare.messages import (
    REPLIES,
    Cancel,
    Distribution,
    DistributionAt,
    Generate,
    Generated,
    NextToken,
    PairBatch,
    PairsScored,
    Ready,
    Refused,
    Scored,
    ScorePairs,
    ScoreResponse,
    TextChunk,
)
from workbench.errors import WorkbenchError

ScorerRequest = NextToken | ScoreResponse | DistributionAt | Generate | ScorePairs
ScorerReply = Distribution | Scored | Generated | PairsScored
StreamedReply = TextChunk | PairBatch
"""What comes before the answer."""


class ScorerProcess:
    """A running scorer. `ready` tells when its model is loaded, or why it cannot be."""

    def __init__(self, process: Child) -> None:
        """Reads what `process` says from now on; call `start`."""
        self._process = process
        self._loop = asyncio.get_running_loop()
        # Callbacks may need the context variables of who started this; a thread of our own has none.
        self._context = contextvars.copy_context()
        self.ready: asyncio.Future[Ready] = self._loop.create_future()
        # Nobody may be waiting when the scorer dies: that is no error in itself.
        self.ready.add_done_callback(lambda future: future.cancelled() or future.exception())
        self._open: dict[int, tuple[asyncio.Future[ScorerReply], Callable[[StreamedReply], None] | None]] = {}
        self._obituary: WorkbenchError | None = None
        self._closed = False
        self._ended = asyncio.Event()
        # A scorer that does not read would make who writes wait; one thread keeps the requests in order.
        self._writer = ThreadPoolExecutor(1, "scorer-requests")
        threading.Thread(target=self._read_replies, name=f"scorer-{process.pid}", daemon=True).start()

    @classmethod
    async def start(cls, command: Sequence[str]) -> ScorerProcess:
        """Starts `command`. Raises `WorkbenchError` where there is no such program."""
        try:
            return cls(Child(command))
        except OSError as error:
            raise WorkbenchError("The scorer did not start", f"{command[0]}: {error}.") from error

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process.running

    async def ask(self, request: ScorerRequest, on_part: Callable[[StreamedReply], None] | None = None) -> ScorerReply:
        """The answer to `request`; `on_part` hears what comes before. Raises `WorkbenchError`.

        Cancelling the task that waits gives the request up in the scorer as well.
        """
        await asyncio.shield(self.ready)
        if self._obituary is not None:
            raise WorkbenchError(*self._obituary.args)
        answer: asyncio.Future[ScorerReply] = self._loop.create_future()
        self._open[request.id] = answer, on_part
        try:
            await self._write(request)
            return await answer
        except asyncio.CancelledError:
            with contextlib.suppress(RuntimeError):
                self._write(Cancel(id=request.id))
            raise
        finally:
            self._open.pop(request.id, None)

    async def close(self) -> None:
        """Ends the process; requests that wait are answered with a `WorkbenchError`."""
        self._closed = True
        await asyncio.to_thread(self._process.end)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ended.wait(), GRACE)
        self._writer.shutdown(wait=False)

    def _write(self, request: ScorerRequest | Cancel) -> asyncio.Future[None]:
        line = request.model_dump_json().encode() + b"\n"
        return self._loop.run_in_executor(self._writer, self._process.write, line)

    def _read_replies(self) -> None:
        """In a thread of its own, until the process ends."""
        with contextlib.suppress(RuntimeError):  # The loop is closed, and nobody waits for anything.
            for line in self._process.lines():
                self._loop.call_soon_threadsafe(self._hear, line, context=self._context)
            last_words = self._process.last_words("The scorer").message
            self._loop.call_soon_threadsafe(self._die, last_words, context=self._context)

    def _hear(self, line: bytes) -> None:
        try:
            self._deliver(REPLIES.validate_json(line))
        except ValidationError:
            self._process.remember(line)

    def _die(self, last_words: str) -> None:
        self._obituary = (
            WorkbenchError("The scorer was closed", "It was asked to end before it could answer.")
            if self._closed
            else WorkbenchError("The scorer died", last_words, "Ask again: it is started anew with the next request.")
        )
        if not self.ready.done():
            self.ready.set_exception(self._obituary)
        for answer, _ in self._open.values():
            _settle(answer, self._obituary)
        self._ended.set()

    def _deliver(self, reply: object) -> None:
        match reply:
            case Ready() if not self.ready.done():
                self.ready.set_result(reply)
            case Refused(id=0) if not self.ready.done():
                self.ready.set_exception(_told(reply))
            case TextChunk() | PairBatch() if reply.id in self._open:
                answer, on_part = self._open[reply.id]
                if on_part is not None:
                    _hand_over(reply, on_part, answer)
            case Distribution() | Scored() | Generated() | PairsScored() if reply.id in self._open:
                _settle(self._open[reply.id][0], reply)
            case Refused() if reply.id in self._open:
                _settle(self._open[reply.id][0], _told(reply))
            case _:
                pass  # late words about a request that nobody waits for any more


def _hand_over(
    part: StreamedReply, on_part: Callable[[StreamedReply], None], answer: asyncio.Future[ScorerReply]
) -> None:
    """Calls back; what the callback raises ends the request that it belongs to and no other."""
    try:
        on_part(part)
    except Exception as error:
        if not answer.done():
            answer.set_exception(error)


def _settle(future: asyncio.Future[ScorerReply], outcome: ScorerReply | WorkbenchError) -> None:
    if future.done():
        return
    if isinstance(outcome, WorkbenchError):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)


def _told(refused: Refused) -> WorkbenchError:
    return WorkbenchError(refused.title, refused.message, refused.hint)
