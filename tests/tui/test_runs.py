"""The Runs screen: what it says about runs in every state, live and past."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.tui.runs_data import (
    append,
    beginning,
    displaced,
    finished,
    make_run,
    pace,
    save_adapter,
    training,
    whole_run,
)
from tests.tui.runs_screen import drawn, runs_screen, shown, shows, told, until
from workbench.runs import catalog
from workbench.runs.events import Failed, Phase, Step, Stopped, Warned, decode
from workbench.runs.folder import RunFolder
from workbench.runs.state import fold
from workbench.runs.watching import Snapshot
from workbench.tui.screens.runs import RunsScreen
from workbench.tui.widgets.run_table import RunTable

EVIL = "[red]x[/] \x1b]52;c;aGk=\x07 \u202etxt [/]"


async def test_without_runs_it_says_what_to_do(root: Path) -> None:
    async with runs_screen(root, (80, 24)) as pilot:
        await shows(pilot, "No runs yet", "n starts one")
        await pilot.press(*"plzcDjkrKshixy[]tA<>+-", "enter", "space", "escape")


async def test_every_status_has_a_sign_and_a_word(root: Path) -> None:
    make_run(root, "run-a", [*beginning(), *training(0, 31)])
    make_run(root, "run-b", [], age=1)
    make_run(root, "run-c", [*beginning(), *training(0, 100), displaced(), finished()], age=2)
    stopped = Stopped(time=2e9, step=31, seconds=20, peak_memory_bytes=1, changed=1)
    make_run(root, "run-d", [*beginning(), *training(0, 31), stopped], age=3)
    make_run(root, "run-e", [Failed(time=2e9, title="Out of memory", message="m", hint="h")], age=4)
    lost = make_run(root, "run-f", [*beginning(), *training(0, 31)], age=5)
    lost.process.write_text('{"pid": 999999, "create_time": 1.0, "exit": -9}')
    async with runs_screen(root, (160, 45)) as pilot:
        text = await shows(pilot, "● running", "◌ queued", "✔ finished", "■ stopped", "✘ failed", "? lost")
        for expected in ("31/100", "31% 29 s", "2.47", "▼ −5.00", "Out of memory", "▲ 1", "chosen Δ"):
            assert expected in text
        assert "1 running · 1 queued · 4 done" in text
        assert "Llama-3.1-8B nf4" in text


async def test_a_live_run_moves_without_a_key(root: Path, worker: Callable[[RunFolder], None]) -> None:
    folder = make_run(root, "tone", [Phase(time=time.time() - 3, name="loading the model")])
    worker(folder)
    async with runs_screen(root, watch=folder.id) as pilot:
        await shows(pilot, "loading the model …")
        append(folder, [*beginning(), *training(0, 10)])
        text = await shows(
            pilot, "10/100", "38.0 pairs/s", "left", "9,100 tokens/s", "20.0 GiB", "450 train", "truncated ▲ 37"
        )
        assert "0.52%" in text
        charts = await drawn(pilot)
        before = [chart.canvas for chart in charts]
        append(folder, training(11, 60))
        await shows(pilot, "60/100")
        await until(pilot, lambda: all(chart.canvas != old for chart, old in zip(charts, before, strict=True)))
        append(folder, [*training(61, 100), finished()])
        await shows(pilot, "100 of 100 steps in 12 min", "peak memory 21.0 GiB", "99.8%", "1 done")


async def test_a_half_written_line_waits_for_its_end(root: Path) -> None:
    folder = make_run(root, "tone", [*beginning(), *training(0, 10)])
    async with runs_screen(root) as pilot:
        await shows(pilot, "10/100")
        line = '{"v": 1, "kind": "step", "time": 1773500100, "step": 11, "epoch": 0.3, "metrics": {"loss": 0.5'
        with folder.events.open("a") as file:
            file.write(line)
        await pilot.pause(0.8)
        assert "10/100" in shown(pilot)
        with folder.events.open("a") as file:
            file.write(
                '}, "seconds": 9, "pairs": 88, "pairs_per_second": 30, "tokens_per_second": 9, "memory_bytes": 1}\n'
            )
        await shows(pilot, "11/100")


async def test_nan_and_infinity_are_told_and_break_nothing(root: Path) -> None:
    broken = [
        Step(
            time=2e9,
            step=step,
            epoch=0,
            metrics=dict.fromkeys(("loss", "rewards/margins", "logps/chosen", "logps/rejected", "grad_norm"), value),
            **pace(step),
        )
        for step, value in ((31, math.inf), (32, -math.inf), (33, math.nan))
    ]
    make_run(
        root, "tone", [*beginning(), *training(0, 30), *broken, Warned(time=2e9, step=33, title="NaN", message="m")]
    )
    async with runs_screen(root, (160, 45)) as pilot:
        await shows(pilot, "train NaN", "chosen NaN", "▲ since step 31", "▲ NaN  step 33", "grad norm NaN")


async def test_hostile_text_is_shown_as_it_is(root: Path) -> None:
    evil = make_run(
        root, "tone", [Phase(time=1, name=EVIL), Failed(time=2, title=EVIL, message=EVIL, hint=EVIL)], log=EVIL
    )
    text = evil.run_toml.read_text().replace("meta-llama/Llama-3.1-8B", "[b]evil[/]\\u001b]0;x\\u0007")
    evil.run_toml.write_text(text)
    make_run(root, "live", [*beginning(), *training(0, 5), Warned(time=2, step=1, title=EVIL, message=EVIL)], age=1)
    make_run(root, "unreadable", [], age=2).run_toml.write_text("not = [toml")
    async with runs_screen(root, (80, 24)) as pilot:
        await shows(pilot, "[red]x[/]", "␛]52", "⟨202E⟩")
        for key in ("l", "l", "h", "escape", "j", "i", "escape", "enter", "s", "escape", "escape", "j", "i"):
            await pilot.press(key)
            await pilot.pause(0.1)
            assert not {"\x1b", "\x07", "\u202e"} & set(shown(pilot))


async def test_a_failed_run_tells_why_and_its_last_words(root: Path) -> None:
    log = "".join(f"line {index}\n" for index in range(40)) + "50%|#\r100%|##\n"
    failed = Failed(time=2e9, title="Out of memory", message="2 GiB more were needed.", hint="Lower batch_size.")
    make_run(root, "tone", [*beginning(), *training(0, 5), failed], log=log)
    async with runs_screen(root, (80, 24)) as pilot:
        await shows(pilot, "✘ Out of memory", "2 GiB more were needed.", "Lower batch_size.")
        await pilot.press("enter")
        text = await shows(pilot, "line 39", "100%|##")
        assert "50%|#" not in text


async def test_the_log_is_followed(root: Path) -> None:
    folder = make_run(root, "tone", [*beginning(), *training(0, 5)], log="first words\n")
    async with runs_screen(root, (80, 24)) as pilot:
        await shows(pilot, "5/100")
        await pilot.press("l")
        await shows(pilot, "first words")
        with folder.log.open("a") as file:
            file.writelines(f"line {index}\n" for index in range(100))
        await shows(pilot, "line 99")
        await pilot.press("l")
        await shows(pilot, "log-probability")


async def test_enter_opens_a_run_and_escape_goes_back(root: Path) -> None:
    for age in range(3):
        make_run(root, f"set-{age}", whole_run(), age=age)
    async with runs_screen(root, (80, 24)) as pilot:
        await shows(pilot, "set-0", "set-2")
        await pilot.press("j", "enter")
        await until(pilot, lambda: not pilot.app.screen.query_one(RunTable).display)
        assert "set-1" in shown(pilot)
        await pilot.press("j")
        await shows(pilot, "set-2")
        await pilot.press("escape")
        await shows(pilot, "set-0", "set-1")
        assert pilot.app.focused is pilot.app.screen.query_one(RunTable)


async def test_compare_takes_the_run_along(root: Path) -> None:
    folder = make_run(root, "tone", whole_run())
    async with runs_screen(root) as pilot:
        asked: list[str | None] = []

        async def compare(*, pair: object = None, run: str | None = None) -> None:
            del pair
            asked.append(run)

        pilot.app.compare = compare  # type: ignore[attr-defined]
        await shows(pilot, "1 done")
        await pilot.press("c")
        await until(pilot, lambda: any("no adapter yet" in each for each in told(pilot)))
        save_adapter(folder)
        await pilot.press("c")
        await until(pilot, lambda: asked == [folder.id])


async def test_nothing_is_read_while_another_screen_is_shown(root: Path) -> None:
    folder = make_run(root, "tone", [*beginning(), *training(0, 5)])
    async with runs_screen(root) as pilot:
        await shows(pilot, "5/100")
        screen = pilot.app.screen
        await pilot.press("1")
        await until(pilot, lambda: pilot.app.screen is not screen)
        append(folder, training(6, 20))
        await pilot.pause(1.2)
        assert isinstance(screen, RunsScreen)
        assert screen.view.run_shown is not None
        assert screen.view.run_shown.state.step == 5
        await pilot.press("2")
        await shows(pilot, "20/100")


def test_a_hundred_long_runs_are_listed_cheaply(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = make_run(root, "first", whole_run(1000))
    for number in range(1, 100):
        shutil.copytree(first.path, first.path.with_name(f"{first.id}-{number}"))
    read: list[str] = []
    monkeypatch.setattr(catalog, "decode", lambda line: read.append(line) or decode(line))
    listed = catalog.Catalog(root / "runs")
    assert len(listed.summaries()) == 100
    assert 0 < len(read) < 100 * 1000, "the middle of a long run is not read"
    read.clear()
    assert {run.status for run in listed.summaries()} == {"finished"}
    assert not read


async def test_a_run_that_ends_is_told_of_once(root: Path) -> None:
    make_run(root, "old", whole_run())
    folder = make_run(root, "tone", [*beginning(), *training(1, 20)])
    async with runs_screen(root) as pilot:
        await shows(pilot, "1 running")
        assert not list(pilot.app._notifications)
        append(folder, [finished()])
        await shows(pilot, "2 done")
        await pilot.pause(2.5)
        assert told(pilot) == [f"{folder.id} has finished. c shows it beside the base."]


async def test_a_damaged_line_is_left_out_and_told_of(root: Path) -> None:
    folder = make_run(root, "tone", [*beginning(), *training(0, 10)])
    async with runs_screen(root) as pilot:
        await shows(pilot, "10/100")
        with folder.events.open("ab") as file:
            file.write(b'{"v": 1, "kind": "st\x00\x00\xff\n')
        append(folder, training(11, 12))
        await shows(pilot, "12/100", "▲ A line of events.jsonl cannot be read")


async def test_a_folder_that_is_deleted_under_it_goes_with_a_word(
    root: Path, worker: Callable[[RunFolder], int]
) -> None:
    folder = make_run(root, "gone", [*beginning(), *training(0, 10)])
    worker(folder)
    make_run(root, "other", whole_run(), age=5)
    async with runs_screen(root) as pilot:
        await shows(pilot, "10/100", "gone")
        shutil.rmtree(folder.path)
        await until(pilot, lambda: any("is gone: its folder was deleted" in each for each in told(pilot)))
        await shows(pilot, "100 of 100 steps")
        assert pilot.app.screen.query_one(RunTable).current == "2026-03-14-1504-other-dpo"


async def test_two_screens_may_watch_one_run(root: Path) -> None:
    folder = make_run(root, "tone", [*beginning(), *training(0, 10)])
    async with runs_screen(root) as one, runs_screen(root, (80, 24)) as other:
        append(folder, training(11, 20))
        await shows(one, "20/100")
        await shows(other, "20/100")


async def test_an_alert_meets_the_eye_and_is_told_in_full(root: Path) -> None:
    make_run(
        root, "tone", [*beginning(), *training(0, 45), displaced(), Warned(time=9, step=44, title="B", message="b")]
    )
    async with runs_screen(root, (80, 24)) as pilot:
        text = await shows(pilot, "▲ 2", "▲ B  step 44", "h all 2")
        assert "sft term" not in text
        await pilot.press("h")
        text = await shows(pilot, "2 alerts", "▲ Chosen is falling with rejected   step 40", "→ Lower learning_rate")
        assert "the chosen ones too." in text
        await pilot.press("escape")
        await shows(pilot, "h all 2")
        await pilot.click("#alerts")
        await shows(pilot, "→ Lower learning_rate")


async def test_the_settings_are_shown_as_toml(root: Path) -> None:
    make_run(root, "tone", whole_run(), learning_rate=3e-4)
    async with runs_screen(root) as pilot:
        await shows(pilot, "1 done")
        await pilot.press("i")
        await shows(pilot, "learning_rate = 0.0003", 'pairs = ["tone"]', "Copy all")


@pytest.mark.unforeseen
async def test_a_look_that_fails_is_told_and_the_next_one_is_shown(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_run(root, "tone", [*beginning(), *training(0, 10)])
    summaries = catalog.Catalog.summaries

    def denied(_: catalog.Catalog) -> None:
        raise PermissionError(13, "Permission denied")

    async with runs_screen(root) as pilot:
        await shows(pilot, "10/100")
        monkeypatch.setattr(catalog.Catalog, "summaries", denied)
        await shows(pilot, "While following the runs: PermissionError")
        await pilot.press("escape")
        monkeypatch.setattr(catalog.Catalog, "summaries", summaries)
        append(folder, training(11, 20))
        await shows(pilot, "20/100")


async def test_snapshots_are_shown_as_they_are_fed(root: Path) -> None:
    folder = make_run(root, "tone", [*beginning(), *training(0, 10)])
    before = catalog.Catalog(root / "runs").summaries()[0]
    later = replace(before, status="finished", state=fold([*training(11, 100), finished()], before.state))
    shutil.rmtree(folder.path)
    async with runs_screen(root) as pilot:
        screen = pilot.app.screen
        assert isinstance(screen, RunsScreen)
        await shows(pilot, "No runs yet")
        screen.watcher.sleep()
        await screen.show(Snapshot((before,), listed=True))
        await shows(pilot, "● running", "10% 38 s", "1 running")
        await screen.show(Snapshot((before,), run=before))
        await shows(pilot, "38.0 pairs/s", "450 train")
        await screen.show(Snapshot((later,), listed=True, before=(before,)))
        await shows(pilot, "✔ finished", "1 done")
        await until(pilot, lambda: told(pilot) == [f"{folder.id} has finished. c shows it beside the base."])
