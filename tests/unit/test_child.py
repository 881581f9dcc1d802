"""The protocol of child processes, with real ones: what they say, how they end, and what stays behind."""

from __future__ import annotations

import asyncio
import os
import runpy
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from workbench import child
from workbench.child import (
    Failure,
    GivenUpError,
    Part,
    Progress,
    Result,
    UnforeseenError,
    decode,
    encode,
    run,
    run_async,
)
from workbench.errors import WorkbenchError


def job(body: str) -> list[str]:
    """The command of a child whose job has this body; it knows `request` and `parent`."""
    return [sys.executable, "-c", served(body)]


def served(body: str) -> str:
    start = "import os, signal, subprocess, sys, time\nfrom workbench.child import serve\ndef job(request, parent):\n"
    return start + textwrap.indent(textwrap.dedent(body), "    ") + "\nserve(job)"


def raw(body: str) -> list[str]:
    """The command of a child that speaks for itself."""
    start = "import os, sys, time\nfrom workbench.child import *\nsys.stdin.readline()\n"
    return [sys.executable, "-c", start + textwrap.dedent(body)]


def result(command: list[str], hear: Callable[[Any], None] = lambda _: None, **options: Any) -> Any:
    return run(command, {"text": "é"}, hear, name="The work", **options)


def gone(pid: int, seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_what_it_says_comes_in_order_and_ends_with_the_result() -> None:
    heard: list[Any] = []
    told = """
        print("a library says hello")
        os.write(1, b"and so does C\\n")
        parent.progress("reading", 0.5)
        parent.part({"rows": [1, 2]})
        parent.progress("thinking")
        return request["text"] * 2
    """
    assert result(job(told), heard.append) == "éé"
    assert heard == [Progress("reading", 0.5), Part({"rows": [1, 2]}), Progress("thinking")]


@pytest.mark.parametrize(
    "message", [Progress("a", 0.25), Progress("b"), Part([1]), Result(None), Failure("t", "m", "h", {})]
)
def test_every_message_survives_its_line(message: child.ChildMessage) -> None:
    assert decode(encode(message)) == message


@pytest.mark.parametrize("line", ["", "{", "[]", "null", '{"version": 1}', encode(Result(1))[:-9], "[" * 100_000])
def test_what_is_no_message_is_skipped(line: str) -> None:
    assert decode(line) is None


def test_half_lines_and_noise_in_the_stream_are_skipped() -> None:
    heard: list[Any] = []
    said = """
        sys.stdout.write("noise\\n" + encode(Progress("x"))[:20] + "\\n" + encode(Progress("y")))
        sys.stdout.write(encode(Result(3))[:-5])
    """
    with pytest.raises(WorkbenchError) as raised:
        result(raw(said), heard.append)
    assert heard == [Progress("y")]
    assert "exit status 0" in raised.value.message


def test_an_older_screen_says_why_it_cannot_go_on() -> None:
    with pytest.raises(WorkbenchError, match="was updated while it ran"):
        decode(encode(Progress("x")).replace(f'"version": {child.PROTOCOL}', '"version": 99'))
    asked_in_the_future = f"import workbench.child as c\nc.PROTOCOL = 99\n{served('return 1')}"
    with pytest.raises(WorkbenchError, match="was updated while it ran"):
        result([sys.executable, "-c", asked_in_the_future])


def test_outputs_that_would_fill_a_pipe_stall_nothing() -> None:
    parts: list[Any] = []
    flood = """
        for _ in range(20):
            print("w" * 100_000, file=sys.stderr)
            parent.part("p" * 100_000)
        return "r" * 5_000_000
    """
    assert len(result(job(flood), parts.append)) == 5_000_000
    assert [len(part.value) for part in parts] == [100_000] * 20


def test_an_expected_failure_arrives_in_its_three_parts() -> None:
    refused = """
        from workbench.errors import WorkbenchError
        raise WorkbenchError("No", "such", "model", fields={"model": "such"})
    """
    with pytest.raises(WorkbenchError) as raised:
        result(job(refused))
    assert (raised.value.title, raised.value.message, raised.value.hint) == ("No", "such", "model")
    assert raised.value.fields == {"model": "such"}


def test_what_nobody_foresaw_arrives_with_its_place_and_traceback() -> None:
    with pytest.raises(UnforeseenError, match=r"KeyError: 'nothing' \(.*in job\)") as raised:
        result(job('request["nothing"]'))
    assert "Traceback" in raised.value.__notes__[0]


@pytest.mark.parametrize(
    ("deed", "words"),
    [
        ("os._exit(3)", "exit status 3"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "killed (signal 9).\nlast words"),
        ("os._exit(137)", "killed (signal 9).\nlast words"),
        ("os.abort()", "signal 6 (SIGABRT)"),
    ],
)
def test_a_death_is_told_with_its_cause_and_last_words(deed: str, words: str) -> None:
    with pytest.raises(WorkbenchError) as raised:
        result(job(f'print("10%\\r20%\\rlast words", file=sys.stderr, flush=True)\n{deed}'))
    assert raised.value.title == "The work ended too early"
    assert words in raised.value.message
    assert raised.value.message.endswith("\nlast words")


def test_a_program_that_is_not_there_is_told() -> None:
    with pytest.raises(WorkbenchError, match="The work could not be started"):
        result(["/no/such/program"])


def test_giving_up_lets_it_clean_up(tmp_path: Path) -> None:
    cleaned = tmp_path / "cleaned"
    works = f"""
        try:
            parent.progress("working")
            time.sleep(60)
        finally:
            open({str(cleaned)!r}, "w").close()
    """
    heard: list[Any] = []
    with pytest.raises(GivenUpError):
        result(job(works), heard.append, cancelled=lambda: bool(heard))
    assert cleaned.exists()


def test_one_that_ignores_the_question_is_killed_and_so_are_its_own() -> None:
    pids: list[int] = []
    deaf = """
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        below = subprocess.Popen([sys.executable, "-c", "import signal, time; signal.signal(15, 1); time.sleep(60)"])
        parent.part([os.getpid(), below.pid])
        time.sleep(60)
    """
    began = time.monotonic()
    with pytest.raises(GivenUpError):
        result(job(deaf), lambda part: pids.extend(part.value), cancelled=lambda: bool(pids), grace=0.3)
    assert time.monotonic() - began < 20
    assert len(pids) == 2
    assert all(map(gone, pids))


def test_what_it_leaves_behind_holds_nobody_up() -> None:
    leaves = """
        below = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        os._exit(4)
    """
    began = time.monotonic()
    with pytest.raises(WorkbenchError, match="exit status 4"):
        result(job(leaves))
    assert time.monotonic() - began < 20


def test_what_the_listener_raises_ends_it() -> None:
    pids: list[int] = []

    def fail(message: Part) -> None:
        pids.append(message.value)
        raise KeyError("listener")

    with pytest.raises(KeyError, match="listener"):
        result(job("parent.part(os.getpid()); time.sleep(60)"), fail)
    assert gone(pids[0])


PARENT = """
import signal
import sys

signal.signal(signal.SIGHUP, signal.SIG_DFL)  # Under nohup it is ignored.
from workbench.child import run
def show(message):
    print(message.value, flush=True)
run([sys.executable, "-c", sys.argv[1]], {}, show, name="x")
"""


def a_parent(body: str, *, outlives: bool) -> tuple[subprocess.Popen[str], int]:
    """A parent with a child that has begun; and the PID of that child."""
    child = served(body).replace("serve(job)", f"serve(job, outlives={outlives})")
    command = [sys.executable, "-c", PARENT, child]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def test_it_ends_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    cleaned = tmp_path / "cleaned"
    body = f"""
        try:
            parent.part(os.getpid())
            time.sleep(60)
        finally:
            open({str(cleaned)!r}, "w").close()
    """
    process, pid = a_parent(body, outlives=False)
    with process:
        process.kill()
    assert gone(pid)
    assert cleaned.exists()


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGHUP])
def test_it_outlives_its_parent_where_it_shall(tmp_path: Path, end: signal.Signals) -> None:
    go, done = tmp_path / "go", tmp_path / "done"
    body = f"""
        parent.part(os.getpid())
        while not os.path.exists({str(go)!r}):
            time.sleep(0.02)
        print("a library's last word", "x" * 100_000, flush=True)
        parent.progress("nobody hears")
        open({str(done)!r}, "w").close()
    """
    process, pid = a_parent(body, outlives=True)
    with process:
        process.send_signal(end)
    time.sleep(0.3)
    assert psutil.pid_exists(pid)
    go.touch()
    assert gone(pid)
    assert done.exists()


async def test_the_loop_hears_it_and_stays_free() -> None:
    heard: list[Any] = []
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    ticking = asyncio.create_task(tick())
    works = 'parent.progress("a", 0.5); time.sleep(0.3); return 7'
    assert await run_async(job(works), {}, heard.append, name="The work") == 7
    ticking.cancel()
    assert heard == [Progress("a", 0.5)]
    assert ticks > 10


async def test_cancelling_the_task_ends_it() -> None:
    begun: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    body = "parent.part(os.getpid()); time.sleep(60)"
    task = asyncio.create_task(
        run_async(job(body), {}, lambda message: begun.set_result(message.value), name="The work")
    )
    pid = await asyncio.wait_for(begun, 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert gone(pid)


async def test_failures_reach_the_loop() -> None:
    with pytest.raises(WorkbenchError, match="exit status 3"):
        await run_async(job("os._exit(3)"), {}, name="The work")

    def fail(_: object) -> None:
        raise KeyError("listener")

    with pytest.raises(KeyError, match="listener"):
        await run_async(job("parent.part(1); time.sleep(60)"), {}, fail, name="The work")


def test_what_the_user_set_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "true")
    told = "return [os.environ.get(name) for name in ('TOKENIZERS_PARALLELISM', 'TQDM_DISABLE')]"
    assert result(job(told)) == ["true", "1"]
    assert os.environ["TOKENIZERS_PARALLELISM"] == "true"


def test_measuring_looks_nothing_up_on_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "")
    monkeypatch.delenv("HF_HUB_OFFLINE")
    seen: list[str | None] = []
    monkeypatch.setattr("workbench.child.serve", lambda _: seen.append(os.environ.get("HF_HUB_OFFLINE")))
    runpy.run_module("workbench.engine.measure", run_name="__main__")
    assert seen == ["1"]
