"""Screens that are looked at again and again keep nothing of it."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from textual.message_pump import MessagePump
from textual.timer import Timer
from textual.worker import Worker

from tests.tui.pairs_data import make_workspace
from tests.tui.pairs_screen import opened
from tests.tui.runs_data import make_run, whole_run
from tests.tui.runs_screen import drawn, runs_screen, shows
from workbench.runs.series import Curve
from workbench.tui.theme import DARK
from workbench.tui.widgets.line_chart import COLORS, ChartLine, Figure, draw, palette_of

SWITCHES = 50
DIALOGS = 16


def test_a_drawing_leaves_no_garbage() -> None:
    """A figure of plotext refers to itself; among a screen's objects Python looks for such seldom."""
    curve = Curve([float(x) for x in range(200)], [float(x % 7) for x in range(200)])
    figure = Figure("loss", (ChartLine(curve, "●", "train", COLORS[0], curve),), end=200)
    palette = palette_of(dict.fromkeys(DARK.to_color_system().generate(), "#336699"))
    draw(figure, 60, 12, palette)
    gc.collect()
    gc.disable()
    try:
        drawn = [draw(figure, 60, 12, palette) for _ in range(5)]
        assert gc.collect() == 0
    finally:
        gc.enable()
    assert len(drawn[0]) == 12


_HEAPS = """
import ctypes, threading, sys
from workbench.tui.app import _share_one_heap
if sys.argv[2] == "one":
    _share_one_heap()
libc = ctypes.CDLL(None)
go_on, began = threading.Event(), threading.Barrier(4)
def take():
    held = bytearray(5_000)
    began.wait()
    go_on.wait()
threads = [threading.Thread(target=take) for _ in range(3)]
for thread in threads:
    thread.start()
began.wait()
libc.fopen.restype = ctypes.c_void_p
file = ctypes.c_void_p(libc.fopen(sys.argv[1].encode(), b"w"))
libc.malloc_info(0, file)
libc.fclose(file)
go_on.set()
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_info"), reason="another C library has no heap a thread")
def test_threads_take_memory_from_one_heap(tmp_path: Path) -> None:
    """The same threads have a heap each where nobody asks for one."""
    heaps = {}
    for how in ("one", "each"):
        told = tmp_path / how
        subprocess.run([sys.executable, "-c", _HEAPS, str(told), how], check=True, timeout=60)
        heaps[how] = told.read_text().count("<heap nr=")
    assert heaps["one"] == 1
    assert heaps["each"] > 1


def living() -> Counter[str]:
    """What stays, by kind: all that Textual runs, tasks, threads, open files; and all objects together."""
    gc.collect()
    found = gc.get_objects()
    kinds: dict[str, Any] = {"pumps": MessagePump, "timers": Timer, "workers": Worker}
    counts = Counter({name: sum(isinstance(each, kind) for each in found) for name, kind in kinds.items()})
    counts["tasks"] = len(asyncio.all_tasks())
    counts["threads"] = threading.active_count()
    counts["files"] = len(list(Path("/proc/self/fd").iterdir()))
    counts["objects"] = len(found)
    return counts


async def test_switching_between_screens_keeps_nothing(tmp_path: Path) -> None:
    make_workspace(tmp_path, 60)
    make_run(tmp_path, "tone", whole_run())
    async with runs_screen(tmp_path, (120, 40)) as pilot:

        async def switch(times: int) -> None:
            for _ in range(times // 2):
                await pilot.press("1")
                await pilot.pause()
                await pilot.press("2")
                await pilot.pause()
            await drawn(pilot)
            await pilot.pause(1.2)  # until a look is due again: nothing is on its way

        await shows(pilot, "✔ finished")
        await switch(10)
        before = living()
        await switch(SWITCHES)
        after = living()
    more = {name: after[name] - before[name] for name in after}
    assert more["pumps"] <= 0
    assert more["timers"] <= 0
    assert more["workers"] <= 0
    assert more["tasks"] <= 0
    assert more["threads"] <= 1  # one more of a pool's
    assert more["files"] <= 0
    assert more["objects"] < 10 * SWITCHES, more


async def test_a_dialog_that_was_closed_is_forgotten(tmp_path: Path) -> None:
    """Textual keeps the painted lines of a thousand closed widgets (`workbench.tui.steady`)."""
    async with opened(make_workspace(tmp_path, 20)) as screen:

        async def look(times: int) -> int:
            for _ in range(times):
                for key in ("t", "escape", "question_mark", "escape"):
                    await screen.pilot.press(key)
            await screen.pilot.pause(1.2)
            return living()["objects"]

        await look(6)
        before = await look(6)
        assert await look(DIALOGS) - before < 50 * DIALOGS


async def test_texts_and_notes_that_are_gone_are_forgotten(tmp_path: Path) -> None:
    """Text areas watch the app, and the holder of a note outlives it where another screen is shown when it ends."""
    make_workspace(tmp_path, 20)
    make_run(tmp_path, "tone", whole_run())
    async with runs_screen(tmp_path, (120, 40)) as pilot:

        async def look(times: int) -> int:
            for _ in range(times):
                for key in ("i", "escape", "n", "escape"):  # the text of its run.toml, and the form
                    await pilot.press(key)
                    await pilot.pause()
                pilot.app.notify("a note", timeout=0.05)
                await pilot.pause()
                await pilot.press("1")
                await pilot.pause(0.1)
                await pilot.press("2")
            await pilot.pause(1.2)
            return living()["pumps"]

        await shows(pilot, "✔ finished")
        before = await look(3)
        assert await look(6) <= before
