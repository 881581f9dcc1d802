"""What the form that starts a run tells of what the run will take."""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from tests.tui.runs_data import make_pairs, trained
from tests.tui.runs_screen import runs_screen, shown, shows, until
from workbench.child import Part, encode
from workbench.config import RunConfig, build_config
from workbench.errors import WorkbenchError
from workbench.launch import preview_run
from workbench.runs.machine import Gpu, Holder, Machine, Memory
from workbench.runs.model_shape import Shape
from workbench.runs.preview import Counts, Measured, Preview, RowCounts, Trouble, to_part
from workbench.tui.dialogs.new_run import NewRunDialog
from workbench.workspace import Workspace

COUNTS = Counts(18, 2, 0, 7, 0, 43.2, 51, 57, 70, 90, tokens=1_000, holdout_tokens=100)
MEASURED = Measured(0.5, 500, 1, 0.3, 100, 9.0, 900 * 2**20, load=3.1, cores=2)


@pytest.fixture
def measuring(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A measuring process that says at once what the real one says after seconds, then stays. Holds its PIDs."""
    pids = tmp_path / "pids"
    lines = [encode(Part(to_part(told))) for told in (RowCounts(18, 2, 0, 2), COUNTS, MEASURED)]
    script = (
        f"import os, sys, time; sys.stdin.readline(); open({str(pids)!r}, 'a').write(f'{{os.getpid()}}\\n');"
        f"sys.stdout.write({''.join(lines)!r}); sys.stdout.flush(); time.sleep(600)"
    )
    monkeypatch.setattr("workbench.child.python", lambda _: [sys.executable, "-c", script])
    monkeypatch.setattr("workbench.launch.PAUSE", 0.1)
    return pids


def pids(path: Path) -> list[int]:
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def gone(path: Path) -> bool:
    return not any(psutil.pid_exists(pid) for pid in pids(path))


async def test_the_form_shows_what_the_run_will_take(root: Path, measuring: Path) -> None:
    make_pairs(root, "tone", 20)
    async with runs_screen(root, (80, 24)) as pilot:
        await pilot.press("n")
        text = await shows(
            pilot,
            "43 tokens on average",
            "0.5 s a step, measured",
            "busy: load 3.1 on 2 cores",
            "▲ 7 truncated",
            "free on",
            "disk",
        )
        assert "New run" in text
        assert "Start" in text
        assert len(pids(measuring)) == 1
        batch = pilot.app.screen.query_one("#batch_size")
        batch.focus()
        await pilot.press("8")
        await until(pilot, lambda: len(pids(measuring)) == 2)
        await until(pilot, lambda: not psutil.pid_exists(pids(measuring)[0]))
        # What cannot train is not tried.
        await pilot.press("x")
        await shows(pilot, "✘")
        await until(pilot, lambda: gone(measuring))
        assert "tokens on average" not in shown(pilot)
        await pilot.press("backspace")
        await shows(pilot, "tokens on average")
        await pilot.press("escape")
        await shows(pilot, "No runs yet")
        await until(pilot, lambda: gone(measuring))
        assert len(pids(measuring)) == 3


@pytest.mark.usefixtures("measuring")
async def test_plain_text_beside_a_chat_template_is_said(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = (
        f"import sys, time; sys.stdin.readline(); sys.stdout.write({encode(Part(to_part(replace(COUNTS, raw=20))))!r})"
    )
    command = [sys.executable, "-c", f"{script}; sys.stdout.flush(); time.sleep(600)"]
    monkeypatch.setattr("workbench.child.python", lambda _: command)
    make_pairs(root, "tone", 20)
    async with runs_screen(root, (80, 24)) as pilot:
        await pilot.press("n")
        await shows(pilot, "▲ 20 pairs are plain text, no chat template: c M converts")


async def test_a_run_that_would_fail_is_not_said_to_train(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = RowCounts(18, 2, 0, 2), Trouble("The template refuses this conversation", "Turns: user, tool.", "")
    script = (
        f"import sys; sys.stdin.readline(); sys.stdout.write({''.join(encode(Part(to_part(each))) for each in told)!r})"
    )
    monkeypatch.setattr("workbench.child.python", lambda _: [sys.executable, "-c", f"{script}; sys.stdout.flush()"])
    monkeypatch.setattr("workbench.launch.PAUSE", 0.1)
    make_pairs(root, "tone", 20)
    async with runs_screen(root, (80, 24)) as pilot:
        await pilot.press("n")
        await shows(pilot, "✘ It would not train", "The template refuses this conversation: Turns: user,")
        assert "✔ 18" not in shown(pilot)


async def test_the_measuring_ends_with_the_screens(root: Path, measuring: Path) -> None:
    make_pairs(root, "tone", 20)
    async with runs_screen(root, (160, 45)) as pilot:
        await pilot.press("n")
        await shows(pilot, "tokens on average")
    assert pids(measuring)
    deadline = time.monotonic() + 20  # It would stay for ten minutes.
    while not gone(measuring) and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    assert gone(measuring)


async def test_starting_does_not_wait_for_the_measuring(root: Path, measuring: Path, started: list[RunConfig]) -> None:
    make_pairs(root, "tone", 20)
    async with runs_screen(root, (80, 24)) as pilot:
        await pilot.press("n")
        await shows(pilot, "tokens on average", "pairs train")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: not isinstance(pilot.app.screen, NewRunDialog))
        assert len(started) == 1
        await until(pilot, lambda: gone(measuring))


async def test_names_that_are_hostile_are_shown_as_they_are(
    root: Path, measuring: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del measuring
    holder = Holder(7, "[red]x[/] \x1b]52;c;aGk=\x07", 3 * 2**30, ours=False)
    gpu = Gpu(0, "\x1b[31mH100", 80 * 2**30, 2**30, 0.5, (holder,))

    def begin(_: Path, config: RunConfig) -> Preview:
        shape = Shape(4096, 32, 32, 8, 128, 14336, 128256, tied=False)
        return Preview(config, Machine(Memory(2**36, 2**35), (gpu,), gpu, 2**20), shape)

    monkeypatch.setattr("workbench.launch.begin", begin)
    make_pairs(root, "tone", 20)
    async with runs_screen(root, (160, 45)) as pilot:
        await pilot.press("n")
        text = await shows(pilot, "[red]x[/]", "no setting here would make it fit", "✘")
        assert not {"\x1b", "\x07"} & set(text)


async def test_what_a_run_takes_is_told_of_the_adapter_that_it_goes_on_from(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = trained(root, "tone", "dpo", age=1, lora_r=64)
    config = build_config({"pairs": ["tone"], "model": "tiny", "adapter": first.id})
    shown: list[Preview] = []
    monkeypatch.setattr("workbench.child.python", lambda _: ["/no/such/program"])
    monkeypatch.setattr("workbench.launch.PAUSE", 0)
    await preview_run(Workspace(root), config, shown.append)
    assert {preview.config.lora_r for preview in shown} == {64}
    assert shown[-1].unmeasured is not None
    assert "could not be started" in shown[-1].unmeasured.reason
    with pytest.raises(WorkbenchError, match="No run 'gone'"):
        await preview_run(Workspace(root), config.model_copy(update={"adapter": "gone"}), shown.append)
