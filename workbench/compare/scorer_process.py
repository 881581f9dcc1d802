"""A scorer's process as its client sees it: requests go in, replies come out, and its end is told to all who wait."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence

from pydantic import ValidationError

from workbench.child import ENVIRONMENT
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

_CHUNK = 65536
_LAST_WORDS = 12
_KEPT_LINES = 200
_LONGEST_LINE = 2000
_KILLED = -9
_PATIENCE = 3.0
"""Seconds that a scorer gets to end by itself."""

ScorerRequest = NextToken | ScoreResponse | DistributionAt | Generate | ScorePairs
ScorerReply = Distribution | Scored | Generated | PairsScored
StreamedReply = TextChunk | PairBatch
"""What comes before the answer."""


class ScorerProcess:
    """A running scorer. `ready` tells when its model is loaded, or why it cannot be."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        """Reads what `process` says from now on; call `start`."""
        self._process = process
        self.ready: asyncio.Future[Ready] = asyncio.get_running_loop().create_future()
        # Nobody may be waiting when the scorer dies: that is no error in itself.
        self.ready.add_done_callback(lambda future: future.cancelled() or future.exception())
        self._open: dict[int, tuple[asyncio.Future[ScorerReply], Callable[[StreamedReply], None] | None]] = {}
        self._last_lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._dead = self._closed = False
        words = asyncio.create_task(self._keep_last_lines())
        self._tasks = [words, asyncio.create_task(self._read_replies(words))]

    @classmethod
    async def start(cls, command: Sequence[str]) -> ScorerProcess:
        """Starts `command`. Raises `WorkbenchError` where there is no such program."""
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                # Its own session: Ctrl+C and a hang-up of the terminal are this process's business alone.
                start_new_session=True,
                env={**ENVIRONMENT, **os.environ},
            )
        except OSError as error:
            raise WorkbenchError("The scorer did not start", f"{command[0]}: {error}.") from error
        return cls(process)

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process.returncode is None

    async def ask(self, request: ScorerRequest, on_part: Callable[[StreamedReply], None] | None = None) -> ScorerReply:
        """The answer to `request`; `on_part` hears what comes before. Raises `WorkbenchError`.

        Cancelling the task that waits gives the request up in the scorer as well.
        """
        await asyncio.shield(self.ready)
        if self._dead:
            raise await self._obituary()
        answer: asyncio.Future[ScorerReply] = asyncio.get_running_loop().create_future()
        self._open[request.id] = answer, on_part
        try:
            self._write(request)
            assert self._process.stdin is not None
            await self._process.stdin.drain()
            return await answer
        except asyncio.CancelledError:
            with contextlib.suppress(ConnectionError, RuntimeError):
                self._write(Cancel(id=request.id))
            raise
        except ConnectionError:
            raise await self._obituary() from None
        finally:
            self._open.pop(request.id, None)

    async def close(self) -> None:
        """Ends the process; requests that wait are answered with a `WorkbenchError`."""
        self._closed = True
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), _PATIENCE)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _write(self, request: ScorerRequest | Cancel) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(request.model_dump_json().encode() + b"\n")

    async def _keep_last_lines(self) -> None:
        assert self._process.stderr is not None
        async for line in _lines(self._process.stderr):
            # Progress bars write one line again and again: its last state is what counts.
            words = line.rstrip(b"\r").rpartition(b"\r")[2]
            self._last_lines.append(words[-_LONGEST_LINE:].decode("utf-8", "replace"))

    async def _read_replies(self, words: asyncio.Task[None]) -> None:
        assert self._process.stdout is not None
        async for line in _lines(self._process.stdout):
            try:
                self._deliver(REPLIES.validate_json(line))
            except ValidationError:
                self._last_lines.append(line[-_LONGEST_LINE:].decode("utf-8", "replace"))
        await self._process.wait()
        await words
        self._dead = True
        if self._process.stdin is not None:
            self._process.stdin.close()
        error = await self._obituary()
        if not self.ready.done():
            self.ready.set_exception(error)
        for answer, _ in self._open.values():
            _settle(answer, error)

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

    async def _obituary(self) -> WorkbenchError:
        code = await self._process.wait()
        words = "\n".join(list(self._last_lines)[-_LAST_WORDS:])
        if self._closed:
            return WorkbenchError("The scorer was closed", "It was asked to end before it could answer.")
        cause = (
            "It was killed: most likely the machine ran out of memory." if code == _KILLED else f"Exit status {code}."
        )
        return WorkbenchError(
            "The scorer died", f"{cause}\n{words}".rstrip(), "Ask again: it is started anew with the next request."
        )


async def _lines(stream: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Whole lines of any length (`StreamReader.readline` gives up on those over its limit)."""
    parts: list[bytes] = []
    while chunk := await stream.read(_CHUNK):
        *whole, rest = chunk.split(b"\n")
        for line in whole:
            yield b"".join((*parts, line))
            parts.clear()
        parts.append(rest)
    if any(parts):
        yield b"".join(parts)


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
