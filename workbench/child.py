"""A Python process of our own, from both sides: the parent starts, follows and ends it; the child answers one request.

The parent writes one line of JSON to the child's stdin: the protocol's version and the request. The child answers with
lines of JSON on its stdout: any number of `Progress` and `Part`, then one `Result` or `Failure`. Its stderr is read all
the time, and its end is told where the child dies without an answer.

Every child has a session of its own: Ctrl+C and a hang-up of the terminal are the parent's business. A child ends when
its stdin does, so it does not outlive a parent that was killed, unless it says so to `serve`.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, TextIO

from workbench.console import show_traceback
from workbench.credentials import without_secrets
from workbench.errors import WorkbenchError
from workbench.memory_kills import count_kills, evidence

PROTOCOL = 1
"""The version in every line. It differs where the program was updated while a screen was open."""
ENVIRONMENT = {
    "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
    "CUDA_VISIBLE_DEVICES": "0",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "MALLOC_MMAP_THRESHOLD_": str(2**25),
    "MALLOC_TOP_PAD_": str(2**26),
    "MALLOC_TRIM_THRESHOLD_": str(2**30),
    "OMP_WAIT_POLICY": "PASSIVE",
    "PYTORCH_ALLOC_CONF": "expandable_segments:True",
    "PYTHONUNBUFFERED": "1",
    "PYTHONWARNINGS": "ignore::FutureWarning",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "warning",
    "TQDM_DISABLE": "1",
}
"""What the model libraries go by in a process of their own; what the user has set goes first.

MALLOC_…: memory of a step that is given back to the system is got again in the next one, page by page, which takes a
tenth of a small model's time. OMP_WAIT_POLICY: threads that spin while they wait slow each other down several times as
soon as anything else runs. CUDA_DEVICE_ORDER: GPUs are counted as their driver counts them, by which leases go; CUDA's
own order is the fastest first. PYTORCH_ALLOC_CONF: micro-batches of many lengths leave no holes that none of them fits.
"""
KILLED = (-signal.SIGKILL, 128 + signal.SIGKILL)
"""Exit statuses of a process that was killed: as Python gives them, and as shells do."""
GRACE = 3.0
"""Seconds that a child has to clean up after it was asked to end."""
_KILL_PATIENCE = 10.0
"""Seconds that the system has to end a killed process; a driver's call can hold it longer."""
_LOOK_EVERY = 0.03
_KEPT_LINES, _LAST_LINES, _LONGEST_LINE = 200, 12, 2000


@dataclass(frozen=True, slots=True)
class Progress:
    """What the child does now, and how much of it is done, from 0 to 1, where that is known."""

    text: str
    share: float | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """What comes before the result: JSON, as parent and child have agreed."""

    value: Any


@dataclass(frozen=True, slots=True)
class Result:
    """The last word where all went well: JSON."""

    value: Any


@dataclass(frozen=True, slots=True)
class Failure:
    """The last word where it did not: a `WorkbenchError`, or with `traceback` what nobody foresaw."""

    title: str
    message: str
    hint: str
    fields: Mapping[str, str]
    traceback: str = ""

    def raise_it(self) -> NoReturn:
        """Raises the `WorkbenchError` that the child met, or `UnforeseenError`."""
        if not self.traceback:
            raise WorkbenchError(self.title, self.message, self.hint, fields=self.fields)
        error = UnforeseenError(f"{self.title}: {self.message}")
        error.add_note(f"In the child process:\n{self.traceback}")
        raise error


ChildMessage = Progress | Part | Result | Failure
_KINDS: dict[str, type[ChildMessage]] = {
    "progress": Progress,
    "part": Part,
    "result": Result,
    "error": Failure,
}
_KIND_OF = {kind: name for name, kind in _KINDS.items()}


class GivenUpError(Exception):
    """The parent gave the request up."""


class UnforeseenError(Exception):
    """A child met an exception that nobody foresaw. Its traceback is a note of this one."""


def encode(message: ChildMessage) -> str:
    """One line of JSON, newline included."""
    # `asdict` would copy every value within.
    fields = {name: getattr(message, name) for name in message.__slots__}
    return json.dumps({"version": PROTOCOL, "kind": _KIND_OF[type(message)], **fields}) + "\n"


def decode(line: bytes | str) -> ChildMessage | None:
    """The message in a line; None for anything else, such as half a line.

    Raises `WorkbenchError` where the child speaks another version of the protocol.
    """
    try:
        fields = json.loads(line)
        version, kind = fields.pop("version"), _KINDS[fields.pop("kind")]
        if version == PROTOCOL:
            return kind(**fields)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    raise WorkbenchError(
        "The workbench was updated while it ran",
        f"Its processes speak version {version} of their protocol, this one speaks {PROTOCOL}.",
        "Close it and start it anew.",
    )


def python(module: str, *arguments: str) -> list[str]:
    """The command that runs one of our modules, whatever the current folder is."""
    return [sys.executable, "-P", "-m", module, *arguments]


def environment() -> dict[str, str]:
    """What a child gets: `ENVIRONMENT` and what the user has set."""
    return {**ENVIRONMENT, **os.environ}


def exit_in_words(code: int) -> str:
    """An exit status after "It" or "The process"; negative for a signal, as Python gives it, or over 128 as shells."""
    number = -code if code < 0 else code - 128 if code > 128 else 0
    if number == signal.SIGKILL:
        return "was killed (signal 9)"
    with suppress(ValueError):
        return f"was ended by signal {number} ({signal.Signals(number).name})"
    return f"was ended by signal {number}" if code < 0 else f"ended with exit status {code}"


class Child:
    """A process that was started. All methods may be called from any thread."""

    def __init__(self, command: Sequence[str], *, files: Sequence[int] = ()) -> None:
        """Starts it, with `files` open under their numbers. Raises `OSError` where that is refused."""
        self._kills_before = count_kills()
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            pass_fds=files,
            env=environment(),
        )
        self.pid = self._process.pid
        self._ended = threading.Event()
        self._last_lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._listener = threading.Thread(target=self._listen, name=f"stderr-{self.pid}", daemon=True)
        self._listener.start()
        threading.Thread(target=self._reap, name=f"reap-{self.pid}", daemon=True).start()

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return not self._ended.is_set()

    def ask(self, request: Mapping[str, Any]) -> None:
        """Sends the one request of `serve`."""
        self.write(json.dumps({"version": PROTOCOL, "request": request}).encode() + b"\n")

    def write(self, line: bytes) -> None:
        """Writes to its stdin. Nothing comes of it where the process has ended."""
        with suppress(OSError, ValueError):  # `ValueError`: closed meanwhile
            self._stdin.write(line)
            self._stdin.flush()

    def lines(self) -> Iterator[bytes]:
        """What it prints, line by line, until it ends; the last line may be half a one."""
        assert self._process.stdout is not None
        return iter(self._process.stdout)

    def remember(self, line: bytes) -> None:
        """Keeps a line as one of its last words."""
        # Progress bars write one line again and again: its last state is what counts.
        text = line.rstrip(b"\r\n").rpartition(b"\r")[2]
        self._last_lines.append(text[-_LONGEST_LINE:].decode("utf-8", "replace"))

    def end(self, grace: float = GRACE) -> None:
        """Asks the process and those it started to end, kills them `grace` seconds later, and waits until it is gone.

        With a grace of 0 they are killed at once, which cleans nothing up.
        """
        for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, _KILL_PATIENCE)):
            if patience and self.running:
                self._signal(number)
                self._ended.wait(patience)
        with suppress(OSError):
            self._stdin.close()

    def last_words(self, name: str, hint: str = "Try again.") -> WorkbenchError:
        """How the process ended, which it is about to do: exit status in words, and the end of its stderr."""
        if not self._ended.wait(GRACE):
            self.end()
        self._listener.join(GRACE)
        last_lines = [line for line in list(self._last_lines) if line.strip()][-_LAST_LINES:]
        code = self._process.returncode
        how = f"Its process {'does not end' if code is None else exit_in_words(code)}."
        why = evidence(self.pid, self._kills_before, count_kills()) if code in KILLED else ""
        return WorkbenchError(f"{name} ended too early", "\n".join([f"{how} {why}".strip(), *last_lines]), hint)

    @property
    def _stdin(self) -> Any:
        return self._process.stdin

    def _listen(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.remember(line)

    def _reap(self) -> None:
        self._process.wait()
        # What it has started may hold its pipes open, and who reads them would wait for ever.
        self._signal(signal.SIGKILL)
        self._ended.set()

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)


def run(
    command: Sequence[str],
    request: Mapping[str, Any],
    hear: Callable[[Progress | Part], None] = lambda _: None,
    *,
    name: str,
    cancelled: Callable[[], bool] = lambda: False,
    grace: float = GRACE,
    files: Sequence[int] = (),
) -> Any:
    """The result of a child's `serve`; blocks. `hear` is told what comes before. `name` says in errors what it is.

    Raises `WorkbenchError` where the child meets one, cannot be started, or dies; `UnforeseenError`; `GivenUpError`
    soon after `cancelled` says so; and what `hear` raises. The child is gone by then: it gets `grace` seconds to
    clean up. `files` are open in the child as well.
    """
    try:
        child = Child(command, files=files)
    except OSError as error:
        raise WorkbenchError(
            f"{name} could not be started", str(error), "Free memory or processes; try again."
        ) from error
    answered = threading.Event()

    def end_when_cancelled() -> None:
        while not answered.wait(_LOOK_EVERY):
            if cancelled():
                child.end(grace)
                return

    guard = threading.Thread(target=end_when_cancelled, name=f"guard-{child.pid}", daemon=True)
    guard.start()
    try:
        child.ask(request)
        for line in child.lines():
            match decode(line):
                case Result(value):
                    return value
                case Failure() as failure:
                    failure.raise_it()
                case Progress() | Part() as message if not cancelled():
                    hear(message)
        if cancelled():
            raise GivenUpError
        raise child.last_words(name)
    finally:
        answered.set()
        child.end(grace)


async def run_async(
    command: Sequence[str],
    request: Mapping[str, Any],
    hear: Callable[[Progress | Part], None] = lambda _: None,
    **options: Any,
) -> Any:
    """As `run`, for an event loop, in which `hear` is called. Cancel the task that waits to give the request up."""
    loop = asyncio.get_running_loop()
    given_up = threading.Event()
    wrong: list[Exception] = []

    def tell_loop(message: Progress | Part) -> None:
        loop.call_soon_threadsafe(hear_here, message)

    def hear_here(message: Progress | Part) -> None:
        try:
            if not given_up.is_set():
                hear(message)
        except Exception as error:
            wrong.append(error)
            given_up.set()

    call = partial(run, command, request, tell_loop, cancelled=given_up.is_set, **options)
    running = loop.run_in_executor(None, call)
    running.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # perhaps nobody waits by then
    try:
        return await asyncio.shield(running)
    except GivenUpError:
        raise wrong[0] from None
    except asyncio.CancelledError:
        given_up.set()
        await asyncio.wait({running})
        raise


class Parent:
    """Whom a child tells what it does."""

    def __init__(self, stdout: TextIO) -> None:
        self._stdout = stdout
        self._lock = threading.Lock()

    def progress(self, text: str, share: float | None = None) -> None:
        """Tells what is done now, and how much of it, from 0 to 1."""
        self.tell(Progress(text, share))

    def part(self, value: Any) -> None:
        """Tells something that comes before the result."""
        self.tell(Part(value))

    def tell(self, message: ChildMessage) -> None:
        """Sends a message; from any thread. Nothing comes of it where the parent is gone."""
        line = encode(message)
        with self._lock, suppress(BrokenPipeError):
            self._stdout.write(line)
            self._stdout.flush()


def serve(job: Callable[[Any, Parent], Any], *, outlives: bool = False) -> NoReturn:
    """Does in a child what its parent asks, tells the outcome, and ends the process.

    `job` gets the request, and returns the result as JSON. SIGTERM raises `KeyboardInterrupt` in it, so that it cleans
    up. What libraries print to stdout goes to stderr. `outlives`: the child goes on when its parent has ended.

    Exit status: 0 done, 1 failed, 130 ended from outside.
    """
    parent = Parent(claim_stdout())
    signal.signal(signal.SIGTERM, _interrupt)
    status = 1
    try:
        envelope = json.loads(_first_line())
        if envelope["version"] != PROTOCOL:
            raise WorkbenchError("The workbench was updated while it ran", "", "Close it and start it anew.")
        after_parent = _go_on_alone if outlives else _end
        threading.Thread(target=_await_parents_end, args=(after_parent,), name="parent", daemon=True).start()
        parent.tell(Result(job(envelope["request"], parent)))
        status = 0
    except KeyboardInterrupt:
        status = 130
    except WorkbenchError as error:
        parent.tell(Failure(error.title, without_secrets(error.message), error.hint, dict(error.fields)))
    except BaseException as error:
        show_traceback(error)
        if (memory := WorkbenchError.out_of_memory(error)) is not None:
            parent.tell(Failure(memory.title, without_secrets(memory.message), memory.hint, {}))
            os._exit(status)
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(last.filename).name}, line {last.lineno}, in {last.name}"
        told, trace = without_secrets(f"{error} ({where})"), without_secrets(traceback.format_exc())
        parent.tell(Failure(type(error).__name__, told, "", {}, trace))
    sys.stderr.flush()
    # Everything is told: taking models or millions of texts apart would take another half second.
    os._exit(status)


def claim_stdout() -> TextIO:
    """The original stdout, which from now on nobody else has: what prints to file descriptor 1 goes to stderr."""
    stdout = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return stdout


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _first_line() -> bytes:
    """Read without a buffer, whose lock the thread that waits for the parent's end would hold to the last."""
    line = b""
    while not line.endswith(b"\n") and (chunk := os.read(0, 2**16)):
        line += chunk
    return line


def _await_parents_end(then: Callable[[], None]) -> None:
    while os.read(0, 2**16):
        pass
    then()


def _end() -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os._exit(130)


def _go_on_alone() -> None:
    """Nobody reads stderr any more, and what a library prints must not end the work."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
