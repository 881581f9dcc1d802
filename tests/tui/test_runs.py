from __future__ import annotations

import math
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from textual.pilot import Pilot

from tests.tui.runs_data import append, beginning, finished, make_pairs, make_run, pace, training, whole_run
from workbench.config import build_config
from workbench.runs import process
from workbench.runs.events import Failed, Phase, Step, Stopped, Warned
from workbench.runs.folder import RunFolder
from workbench.tui.app import WorkbenchApp
from workbench.tui.feed import Feed
from workbench.tui.screens.runs import RunsScreen
from workbench.tui.widgets.chart import Chart
from workbench.tui.widgets.run_list import RunList
from workbench.workspace import Workspace

EVIL = "[red]x[/] \x1b]52;c;aGk=\x07 \u202etxt [/]"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "pairs").mkdir()
    (tmp_path / "runs").mkdir()
    return tmp_path


@pytest.fixture
def worker() -> Iterator[Callable[[RunFolder], None]]:
    """Gives a run a process that is really there."""
    processes = []

    def give(folder: RunFolder) -> None:
        processes.append(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]))
        process.record(folder, processes[-1].pid)

    yield give
    for each in processes:
        each.kill()
        each.wait()


@asynccontextmanager
async def runs_screen(
    root: Path, size: tuple[int, int] = (120, 40), watch: str | None = None, *, slow: bool = False
) -> AsyncIterator[Pilot[None]]:
    app = WorkbenchApp(Workspace.find(root), watch=watch or "none", slow=slow)
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))
        yield pilot


async def until(pilot: Pilot[None], holds: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, shown(pilot)
        await pilot.pause(0.1)


def shown(pilot: Pilot[None]) -> str:
    """What is on the screen, line by line."""
    return "\n".join(strip.text for strip in pilot.app.screen._compositor.render_strips())


async def shows(pilot: Pilot[None], *texts: str) -> str:
    await until(pilot, lambda: all(text in shown(pilot) for text in texts))
    return shown(pilot)


async def test_without_runs_it_says_what_to_do(root: Path) -> None:
    async with runs_screen(root, (80, 24)) as pilot:
        await shows(pilot, "No runs yet", "n starts one")
        await pilot.press("p", "l", "z", "c", "D", "enter", "escape", "j", "k")


async def test_every_status_has_a_sign_and_a_word(root: Path) -> None:
    make_run(root, "run-a", [*beginning(), *training(0, 31)])
    make_run(root, "run-b", [], age=1)
    make_run(root, "run-c", whole_run(), age=2)
    stopped = Stopped(time=2e9, step=31, seconds=20, peak_memory_bytes=1, changed=1)
    make_run(root, "run-d", [*beginning(), *training(0, 31), stopped], age=3)
    make_run(root, "run-e", [Failed(time=2e9, title="Out of memory", message="m", hint="h")], age=4)
    lost = make_run(root, "run-f", [*beginning(), *training(0, 31)], age=5)
    lost.process.write_text('{"pid": 999999, "create_time": 1.0, "exit": -9}')
    async with runs_screen(root, (160, 45)) as pilot:
        text = await shows(pilot, "● running", "◌ queued", "✔ finished", "■ stopped", "✘ failed", "? lost")
        assert "step  31/100" in text
        assert "margin  2.47" in text
        assert "chosen ▼ −5.00 nats" in text
        assert "Out of memory" in text
        assert "The system killed the worker" in text
        assert "1 running · 1 queued · 4 done" in text
        assert "Llama-3.1-8B nf4" in text


async def test_a_live_run_moves_without_a_key(root: Path, worker: Callable[[RunFolder], None]) -> None:
    folder = make_run(root, "tone", [Phase(time=time.time() - 3, name="loading the model")])
    worker(folder)
    async with runs_screen(root, watch=folder.id) as pilot:
        await shows(pilot, "loading the model …")
        append(folder, [*beginning(), *training(0, 10)])
        text = await shows(pilot, "10/100", "38.0 pairs/s", "left", "450 train · 50 held out", "truncated ▲ 37")
        assert "0.52%" in text
        charts = list(pilot.app.screen.query(Chart))
        before = [chart._canvas for chart in charts]
        append(folder, training(11, 60))
        await shows(pilot, "60/100")
        await until(pilot, lambda: all(chart._canvas != old for chart, old in zip(charts, before, strict=True)))
        append(folder, [*training(61, 100), finished()])
        await shows(pilot, "100 of 100 steps in 12 min", "peak memory 21.0 GiB", "99.8%", "1 done")


async def test_charts_are_drawn_again_only_when_something_changed(root: Path) -> None:
    make_run(root, "tone", [*beginning(), *training(0, 10)])
    async with runs_screen(root) as pilot:
        await shows(pilot, "10/100")
        chart = pilot.app.screen.query(Chart).first()
        await until(pilot, lambda: _fits(chart))
        drawn = chart._canvas
        await pilot.pause(1.3)
        assert chart._canvas is drawn
        await pilot.resize_terminal(110, 30)
        await until(pilot, lambda: chart._canvas is not drawn and _fits(chart))


async def test_on_a_slow_link_it_looks_seldom(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_run(root, "tone", [*beginning(), *training(0, 10)])
    looks: list[float] = []
    look = Feed.one
    monkeypatch.setattr(Feed, "one", lambda feed, run: looks.append(time.monotonic()) or look(feed, run))
    async with runs_screen(root, slow=True) as pilot:
        await shows(pilot, "10/100", "0.52%")
        await pilot.pause(0.5)
        append(folder, training(11, 20))
        looks.clear()
        await pilot.pause(3)
        assert all(later - earlier > 2 for earlier, later in pairwise(looks))
        await shows(pilot, "20/100")


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
        await shows(pilot, "train NaN", "chosen NaN", "▲ since step 31", "▲ step 33", "grad norm NaN")


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
        for key in ("l", "l", "j", "enter", "escape", "j"):
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
        await shows(pilot, "reward margin")


async def test_stop_asks_and_leaves_the_request(root: Path, worker: Callable[[RunFolder], None]) -> None:
    folder = make_run(root, "tone", [*beginning(), *training(0, 5)])
    worker(folder)
    async with runs_screen(root) as pilot:
        await shows(pilot, "5/100")
        await pilot.press("p")
        await shows(pilot, "Stop and save")
        await pilot.press("n")
        assert not folder.stop.exists()
        await pilot.press("p")
        await shows(pilot, "Stop and save")
        await pilot.press("y")
        await until(pilot, folder.stop.exists)
        await shows(pilot, "stopping", "saving after this step")


async def test_delete_asks_and_never_takes_a_run_that_goes_on(root: Path, worker: Callable[[RunFolder], None]) -> None:
    live = make_run(root, "live", [*beginning(), *training(0, 5)])
    worker(live)
    old = make_run(root, "old", whole_run(), age=10)
    async with runs_screen(root) as pilot:
        await shows(pilot, "1 running · 1 done")
        await pilot.press("D")
        await pilot.pause(0.2)
        assert isinstance(pilot.app.screen, RunsScreen)
        await pilot.press("j", "D")
        await shows(pilot, f"Delete {old.id}?")
        await pilot.press("y")
        await until(pilot, lambda: not old.path.exists())
        await shows(pilot, "1 running")
        await until(pilot, lambda: old.id not in shown(pilot))
        assert live.path.exists()


@pytest.mark.parametrize("size", [(60, 16), (80, 24), (160, 45)])
async def test_charts_fit_every_size(root: Path, size: tuple[int, int]) -> None:
    make_run(root, "tone", whole_run())
    async with runs_screen(root, size) as pilot:
        await shows(pilot, "✔ finished", "0.104")
        charts = list(pilot.app.screen.query(Chart))
        await until(pilot, lambda: all(_fits(chart) for chart in charts if min(chart.canvas_size) > 2))
        await pilot.press("z")
        await until(pilot, lambda: [chart.size.width > 0 and chart.display for chart in charts] == [True, False, False])
        await until(pilot, lambda: _fits(charts[0]))
        await pilot.press("]")
        await until(pilot, lambda: charts[1].display and not charts[0].display and _fits(charts[1]))
        await pilot.press("[", "[")
        await until(pilot, lambda: charts[2].display and _fits(charts[2]))
        await pilot.press("escape")
        await until(
            pilot, lambda: all(chart.display and _fits(chart) for chart in charts if min(chart.canvas_size) > 2)
        )


def _fits(chart: Chart) -> bool:
    lines = chart._canvas.split("\n")
    width, height = chart.canvas_size
    return len(lines) == height and max(line.cell_length for line in lines) <= width


async def test_enter_opens_a_run_and_escape_goes_back(root: Path) -> None:
    for age in range(3):
        make_run(root, f"set-{age}", whole_run(), age=age)
    async with runs_screen(root, (80, 24)) as pilot:
        await shows(pilot, "set-0", "set-2")
        await pilot.press("j", "enter")
        await until(pilot, lambda: not pilot.app.screen.query_one(RunList).display)
        assert "set-1" in shown(pilot)
        await pilot.press("j")
        await shows(pilot, "set-2")
        await pilot.press("escape")
        await shows(pilot, "set-0", "set-1")
        assert pilot.app.focused is pilot.app.screen.query_one(RunList)


async def test_the_highlight_stays_on_its_run_when_a_newer_one_comes(root: Path) -> None:
    old = make_run(root, "old", whole_run(), age=10)
    older = make_run(root, "older", whole_run(), age=20)
    async with runs_screen(root) as pilot:
        await shows(pilot, old.id, older.id)
        await pilot.press("j")
        make_run(root, "new", whole_run())
        await shows(pilot, "3 done")
        assert pilot.app.screen.query_one(RunList).current == older.id


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
        await until(pilot, lambda: any("no adapter yet" in told.message for told in pilot.app._notifications))
        folder.adapter.mkdir()
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


def test_a_hundred_long_runs_are_listed_cheaply(root: Path) -> None:
    first = make_run(root, "first", whole_run(1000))
    for number in range(1, 100):
        shutil.copytree(first.path, first.path.with_name(f"{first.id}-{number}"))
    feed = Feed(root / "runs")
    began = time.process_time()
    assert len(feed.all()) == 100
    first_look = time.process_time() - began
    began = time.process_time()
    assert {run.status for run in feed.all()} == {"finished"}
    assert time.process_time() - began < 0.1
    assert first_look < 3


async def test_the_form_says_what_is_wrong_and_what_it_will_do(root: Path) -> None:
    make_pairs(root, "tone", 60, dropped=10)
    make_pairs(root, "bypass", 40)
    (root / "pairs" / "broken.jsonl").write_text("no json\n")
    async with runs_screen(root, (80, 24)) as pilot:
        await shows(pilot, "No runs yet")
        await pilot.press("n")
        await shows(pilot, "Mark one or more", "50 pairs, 10 dropped", "40 pairs", "unusable")
        await pilot.press("space", "down", "down", "space")
        text = await shows(pilot, "pairs train", "held out")
        train = next(int(part) for part in text.split("✔ ")[-1].split() if part.isdigit())
        steps = build_config({"pairs": ["x"]}, preset="small").total_steps(train)
        await shows(pilot, f"{steps} steps of 16")
        rate = pilot.app.screen.query_one("#learning_rate")
        rate.focus()
        await pilot.press("end", "x")
        text = await shows(pilot, "✘", "learning_rate")
        assert rate.has_class("-wrong")
        await pilot.press("ctrl+s", "enter")
        assert not list((root / "runs").iterdir())
        await pilot.press("backspace")
        await shows(pilot, "pairs train")
        pilot.app.screen.query_one("#preset").value = "gentle"  # type: ignore[attr-defined]
        await shows(pilot, "sigmoid, sft", "1.0, 0.2", "0.2")
        await shows(pilot, "pairs train")
        await pilot.press("escape")
        await shows(pilot, "No runs yet")


async def test_the_form_without_data_sets_says_how_to_get_one(root: Path) -> None:
    async with runs_screen(root, (80, 24)) as pilot:
        await pilot.press("n")
        await shows(pilot, "There is no data set yet", "workbench import")


async def test_a_model_that_is_not_there_is_refused_and_the_form_stays(root: Path) -> None:
    make_pairs(root, "tone", 20)
    async with runs_screen(root, (80, 24)) as pilot:
        await pilot.press("n")
        await shows(pilot, "[✔] tone", "pairs train")
        pilot.app.screen.query_one("#model").value = "/nowhere/at-all"  # type: ignore[attr-defined]
        await shows(pilot, "pairs train")
        await pilot.press("ctrl+s")
        await shows(pilot, "No such model")
        await pilot.press("escape")
        await shows(pilot, "New run", "Start")
        assert not list((root / "runs").iterdir())


async def test_a_run_that_ends_is_told_of_once(root: Path) -> None:
    make_run(root, "old", whole_run())
    folder = make_run(root, "tone", [*beginning(), *training(1, 20)])
    async with runs_screen(root) as pilot:
        await shows(pilot, "1 running")
        assert not list(pilot.app._notifications)
        append(folder, [finished()])
        await shows(pilot, "2 done")
        await pilot.pause(2.5)
        assert [told.message for told in pilot.app._notifications] == [
            f"{folder.id} has finished. c shows it beside the base."
        ]
