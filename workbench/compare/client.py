"""Talks to a warm scorer process: starts it, keeps many requests apart, and tells when it died."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from workbench.compare.messages import (
    REPLIES,
    Cancel,
    Column,
    Distribution,
    Generate,
    Generated,
    NextToken,
    PairScores,
    PairsScored,
    Piece,
    Place,
    Prompt,
    Ready,
    Refused,
    Response,
    Score,
    Scored,
    ScorePairs,
)
from workbench.errors import WorkbenchError
from workbench.runs.process import ENVIRONMENT

_CHUNK = 65536
_LAST_WORDS = 12
_KEPT_LINES = 200
_LONGEST_LINE = 2000
_KILLED = -9
_PATIENCE = 3.0
"""Seconds that a scorer gets to end by itself."""

Answer = Distribution | Scored | Generated | PairsScored
Part = Piece | PairScores
"""What comes before the answer."""
_Asked = NextToken | Score | Place | Generate | ScorePairs
_Expected = TypeVar("_Expected", Distribution, Scored, Generated, PairsScored)
_Part = TypeVar("_Part", Piece, PairScores)


@dataclass(slots=True)
class _Open:
    """A request that waits for its answer."""

    answer: asyncio.Future[Answer]
    on_part: Callable[[Part], None] | None


@dataclass(slots=True)
class _Process:
    """A running scorer and the tasks that read from it."""

    process: asyncio.subprocess.Process
    ready: asyncio.Future[Ready]
    open: dict[int, _Open] = field(default_factory=dict)
    last_lines: deque[str] = field(default_factory=lambda: deque(maxlen=_KEPT_LINES))
    dead: bool = False
    closed: bool = False
    tasks: list[asyncio.Task[None]] = field(default_factory=list)


class ScorerClient:
    """One scorer process for one base model, shared by all that ask.

    A request on a scorer that is not running starts it. Cancelling the task that waits for an answer gives the
    request up in the scorer as well. Use from one event loop; `close` when done, or use `async with`.
    """

    def __init__(self, model: str, quantization: str = "nf4", *, command: Sequence[str] | None = None) -> None:
        self.model = model
        self.quantization = quantization
        self._command = list(command) if command else [
            sys.executable, "-P", "-m", "workbench.engine.score", "--model", model, "--quantization", quantization,
        ]  # fmt: skip
        self._ids = itertools.count(1)
        self._current: _Process | None = None
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
        return self._current is not None and self._current.process.returncode is None

    async def start(self) -> Ready:
        """Starts the scorer where none runs, and waits until its model is loaded.

        Raises `WorkbenchError` where the model cannot be loaded.
        """
        return await asyncio.shield((await self._running()).ready)

    async def next_token(
        self,
        prompt: Prompt,
        columns: Sequence[Column],
        *,
        prefix: str = "",
        taken: Sequence[int] = (),
        top_k: int = 12,
        template: Mapping[str, Any] | None = None,
    ) -> Distribution:
        """The distribution of the token after `prompt`, `prefix` and the tokens `taken`. Raises `WorkbenchError`."""
        request = NextToken(
            id=next(self._ids),
            prompt=prompt,
            prefix=prefix,
            taken=list(taken),
            columns=list(columns),
            top_k=top_k,
            template=dict(template or {}),
        )
        return await self._ask(request, Distribution)

    async def score(
        self,
        prompt: Prompt,
        response: Response,
        columns: Sequence[Column],
        *,
        top_k: int = 5,
        template: Mapping[str, Any] | None = None,
    ) -> Scored:
        """Log-probabilities and ranks of the tokens of `response`. Raises `WorkbenchError`."""
        request = Score(
            id=next(self._ids),
            prompt=prompt,
            response=response,
            columns=list(columns),
            top_k=top_k,
            template=dict(template or {}),
        )
        return await self._ask(request, Scored)

    async def place(
        self,
        prompt: Prompt,
        response: Response,
        columns: Sequence[Column],
        place: int,
        *,
        top_k: int = 12,
        template: Mapping[str, Any] | None = None,
    ) -> Distribution:
        """What every column might have said at token number `place` of a response. Raises `WorkbenchError`."""
        request = Place(
            id=next(self._ids),
            prompt=prompt,
            response=response,
            place=place,
            columns=list(columns),
            top_k=top_k,
            template=dict(template or {}),
        )
        return await self._ask(request, Distribution)

    async def generate(
        self,
        prompt: Prompt,
        columns: Sequence[Column],
        *,
        prefix: str = "",
        max_new_tokens: int = 128,
        temperature: float = 0.0,
        seed: int = 0,
        samples: int = 1,
        template: Mapping[str, Any] | None = None,
        on_piece: Callable[[Piece], None] | None = None,
    ) -> Generated:
        """Responses from every column; `on_piece` is called with each bit of text as it comes.

        Raises `WorkbenchError`.
        """
        request = Generate(
            id=next(self._ids),
            prompt=prompt,
            prefix=prefix,
            columns=list(columns),
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            seed=seed,
            samples=samples,
            template=dict(template or {}),
        )
        return await self._ask(request, Generated, _only(Piece, on_piece))

    async def score_pairs(
        self,
        path: Path,
        columns: Sequence[Column],
        *,
        ids: Sequence[str] | None = None,
        max_length: int | None = None,
        cache: Path | None = None,
        on_rows: Callable[[PairScores], None] | None = None,
    ) -> PairsScored:
        """Scores the pairs of a data set behind all other requests; `on_rows` is called with rows as they come.

        `path` is the data set's file, `cache` that of `Workspace.scores`; see `ScorePairs`. Raises `WorkbenchError`.
        """
        request = ScorePairs(
            id=next(self._ids),
            path=str(path.resolve()),
            columns=list(columns),
            ids=None if ids is None else list(ids),
            max_length=max_length,
            cache=str(cache.resolve()) if cache is not None else None,
        )
        return await self._ask(request, PairsScored, _only(PairScores, on_rows))

    async def close(self) -> None:
        """Ends the scorer; requests that wait are answered with a `WorkbenchError`."""
        current, self._current = self._current, None
        if current is None:
            return
        current.closed = True
        with contextlib.suppress(ProcessLookupError):
            current.process.terminate()
        try:
            await asyncio.wait_for(current.process.wait(), _PATIENCE)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                current.process.kill()
            await current.process.wait()
        await asyncio.gather(*current.tasks, return_exceptions=True)

    async def _ask(
        self,
        request: _Asked,
        expected: type[_Expected],
        on_part: Callable[[Part], None] | None = None,
    ) -> _Expected:
        current = await self._running()
        await asyncio.shield(current.ready)
        if current.dead:
            raise await self._obituary(current)
        waiting = _Open(asyncio.get_running_loop().create_future(), on_part)
        current.open[request.id] = waiting
        try:
            await _send(current.process, request)
            answer = await waiting.answer
        except asyncio.CancelledError:
            with contextlib.suppress(ConnectionError, RuntimeError):
                _write(current.process, Cancel(id=request.id))
            raise
        except ConnectionError:
            raise await self._obituary(current) from None
        finally:
            current.open.pop(request.id, None)
        if not isinstance(answer, expected):
            raise WorkbenchError(
                "The scorer answered another question",
                f"Asked for {expected.__name__}, it sent {type(answer).__name__}.",
                "Start the workbench anew; if this comes back, report it as a bug.",
            )
        return answer

    async def _running(self) -> _Process:
        async with self._starting:
            if self._current is None or self._current.process.returncode is not None:
                self._current = await self._spawn()
            return self._current

    async def _spawn(self) -> _Process:
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                # Its own session: Ctrl+C and a hang-up of the terminal are this process's business alone.
                start_new_session=True,
                env={**ENVIRONMENT, **os.environ},
            )
        except OSError as error:
            raise WorkbenchError("The scorer did not start", f"{self._command[0]}: {error}.") from error
        ready: asyncio.Future[Ready] = asyncio.get_running_loop().create_future()
        # Nobody may be waiting when the scorer dies: that is no error in itself.
        ready.add_done_callback(lambda future: future.cancelled() or future.exception())
        current = _Process(process, ready)
        words = asyncio.create_task(self._keep_last_lines(current))
        current.tasks = [words, asyncio.create_task(self._read_replies(current, words))]
        return current

    async def _keep_last_lines(self, current: _Process) -> None:
        assert current.process.stderr is not None
        async for line in _lines(current.process.stderr):
            # Progress bars write one line again and again: its last state is what counts.
            words = line.rstrip(b"\r").rpartition(b"\r")[2]
            current.last_lines.append(words[-_LONGEST_LINE:].decode("utf-8", "replace"))

    async def _read_replies(self, current: _Process, words: asyncio.Task[None]) -> None:
        assert current.process.stdout is not None
        async for line in _lines(current.process.stdout):
            try:
                _deliver(REPLIES.validate_json(line), current)
            except ValidationError:
                current.last_lines.append(line[-_LONGEST_LINE:].decode("utf-8", "replace"))
        await current.process.wait()
        await words
        current.dead = True
        if current.process.stdin is not None:
            current.process.stdin.close()
        error = await self._obituary(current)
        if not current.ready.done():
            current.ready.set_exception(error)
        for waiting in current.open.values():
            _settle(waiting.answer, error)

    async def _obituary(self, current: _Process) -> WorkbenchError:
        code = await current.process.wait()
        words = "\n".join(list(current.last_lines)[-_LAST_WORDS:])
        if current.closed:
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


def _write(process: asyncio.subprocess.Process, request: _Asked | Cancel) -> None:
    assert process.stdin is not None
    process.stdin.write(request.model_dump_json().encode() + b"\n")


async def _send(process: asyncio.subprocess.Process, request: _Asked) -> None:
    _write(process, request)
    assert process.stdin is not None
    await process.stdin.drain()


def _deliver(reply: object, current: _Process) -> None:
    match reply:
        case Ready() if not current.ready.done():
            current.ready.set_result(reply)
        case Refused(id=0) if not current.ready.done():
            current.ready.set_exception(_told(reply))
        case Piece() | PairScores() if (waiting := current.open.get(reply.id)) and waiting.on_part:
            _hand_over(reply, waiting.on_part, waiting.answer)
        case Distribution() | Scored() | Generated() | PairsScored() if reply.id in current.open:
            _settle(current.open[reply.id].answer, reply)
        case Refused() if reply.id in current.open:
            _settle(current.open[reply.id].answer, _told(reply))
        case _:
            pass  # late words about a request that nobody waits for any more


def _only(kind: type[_Part], on_part: Callable[[_Part], None] | None) -> Callable[[Part], None] | None:
    """`on_part`, called with replies of one kind only."""
    if on_part is None:
        return None
    return lambda part: on_part(part) if isinstance(part, kind) else None


def _hand_over(part: Part, on_part: Callable[[Part], None], answer: asyncio.Future[Answer]) -> None:
    """Calls back; what the callback raises ends the request that it belongs to and no other."""
    try:
        on_part(part)
    except Exception as error:
        if not answer.done():
            answer.set_exception(error)


def _settle(future: asyncio.Future[Answer], outcome: Answer | WorkbenchError) -> None:
    if future.done():
        return
    if isinstance(outcome, WorkbenchError):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)


def _told(refused: Refused) -> WorkbenchError:
    return WorkbenchError(refused.title, refused.message, refused.hint)
