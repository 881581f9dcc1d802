"""The charts of the Runs screen: which are shown, how they are drawn, other runs over them; and the samples."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from textual.pilot import Pilot

from tests.tui.runs_data import append, beginning, make_run, samples, training, whole_run
from tests.tui.runs_screen import drawn, runs_screen, shown, shows, until
from workbench.runs.events import Eval, Step
from workbench.runs.folder import RunFolder
from workbench.runs.labels import Labels, write
from workbench.runs.series import Curve
from workbench.runs.watching import RunWatcher, WatchPace
from workbench.tui.screens.runs import RunsScreen
from workbench.tui.widgets.line_chart import COLORS, ChartLine, Figure, draw, palette_of

DPO = ("loss", "logps", "margin", "accuracy", "kl", "grad", "rate")
OTHERS = {
    "reward": {"loss": 0.4, "preference_accuracy": 0.8, "margin": 1.5, "grad_norm": 2.0, "learning_rate": 1e-4},
    "grpo": {
        "loss": 0.0, "reward": 0.7, "reward_std": 0.2, "frac_reward_zero_std": 0.1, "kl": 0.01, "grad_norm": 2.0,
        "completions/mean_length": 31.0, "learning_rate": 1e-5,
    },
    "kto": {"loss": 0.4, "rewards/margins": 1.5, "kto/reference_point": 0.3, "grad_norm": 2.0, "learning_rate": 1e-4},
}  # fmt: skip
"""What a step of a method logs, as far as it is drawn."""


def names(pilot: Pilot[None]) -> list[str]:
    assert isinstance(pilot.app.screen, RunsScreen)
    return [chart.name or "" for chart in pilot.app.screen.view.charts.shown]


@pytest.mark.parametrize(("size", "count"), [((60, 16), 1), ((80, 24), 2), ((120, 40), 7), ((160, 45), 7)])
async def test_every_chart_can_be_reached_and_fits(root: Path, size: tuple[int, int], count: int) -> None:
    make_run(root, "tone", whole_run())
    async with runs_screen(root, size) as pilot:
        await shows(pilot, "✔ finished")
        assert len(await drawn(pilot)) == count
        seen = set(names(pilot))
        await pilot.press("enter")
        for _ in DPO:
            await pilot.press("right_square_bracket")
            await drawn(pilot)
            seen |= set(names(pilot))
        assert seen == set(DPO)
        await pilot.press("right_square_bracket", "enter")
        await until(pilot, lambda: names(pilot) == ["logps"])
        [chart] = await drawn(pilot)
        assert chart.canvas_size[0] > size[0] * 0.9
        await pilot.press("left_square_bracket")
        await until(pilot, lambda: names(pilot) == ["loss"])
        await shows(pilot, "chart 1 of 7")
        await pilot.press("escape")
        await until(pilot, lambda: len(names(pilot)) > 1 or count == 1)
        await drawn(pilot)


async def test_there_are_charts_only_of_what_the_run_has(root: Path) -> None:
    bare = [event for event in whole_run() if not isinstance(event, Eval)]
    for event in bare:
        if isinstance(event, Step):
            event.metrics.pop("preference_accuracy")  # type: ignore[attr-defined]
    make_run(root, "bare", bare)
    make_run(root, "nothing", beginning(), age=1)
    async with runs_screen(root, (160, 45)) as pilot:
        await shows(pilot, "bare")
        await drawn(pilot)
        assert names(pilot) == ["loss", "logps", "margin", "grad", "rate"]
        await pilot.press("j")
        await shows(pilot, "Curves come with the first step")


@pytest.mark.parametrize(
    ("method", "charts"),
    [
        ("reward", ["loss", "margin", "accuracy", "grad", "rate"]),
        ("grpo", ["reward", "spread", "alike", "kl", "length", "grad", "rate"]),
        ("kto", ["loss", "margin", "point", "grad", "rate"]),
    ],
)
async def test_a_method_has_charts_of_its_own_quantities(root: Path, method: str, charts: list[str]) -> None:
    events = [event for event in whole_run() if not isinstance(event, Eval)]
    for event in events:
        if isinstance(event, Step):
            event.metrics.clear()
            event.metrics.update(OTHERS[method])
    needed = {"reward": "run:x"} if method == "grpo" else {}
    make_run(root, "bare", events, method=method, **needed)
    async with runs_screen(root, (160, 45)) as pilot:
        await shows(pilot, f"bare-{method}")
        assert len(await drawn(pilot)) == len(charts)
        assert names(pilot) == charts


async def test_charts_are_drawn_again_only_when_something_changed(root: Path) -> None:
    make_run(root, "tone", [*beginning(), *training(0, 10)])
    async with runs_screen(root) as pilot:
        await shows(pilot, "10/100")
        chart, *_ = await drawn(pilot)
        before = chart.canvas
        await pilot.pause(2.5)
        assert chart.canvas is before
        await pilot.resize_terminal(110, 30)
        await until(pilot, lambda: chart.canvas is not before)
        await drawn(pilot)


async def test_on_a_slow_link_it_looks_seldom(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_run(root, "tone", [*beginning(), *training(0, 10)])
    looks: list[float] = []
    look = RunWatcher.look
    monkeypatch.setattr(RunWatcher, "look", lambda *of: looks.append(time.monotonic()) or look(*of))
    monkeypatch.setattr("workbench.runs.watching.SLOW_PACE", WatchPace(2.5, 10, 5, 15))
    async with runs_screen(root, slow=True) as pilot:
        await shows(pilot, "10/100", "0.52%")
        await pilot.pause(0.5)
        append(folder, training(11, 20))
        looks.clear()
        await pilot.pause(3)
        assert all(later - earlier > 2 for earlier, later in pairwise(looks))
        await shows(pilot, "20/100")


async def test_the_axis_and_the_smoothing_can_be_chosen(root: Path) -> None:
    make_run(root, "tone", whole_run())
    async with runs_screen(root) as pilot:
        await shows(pilot, "100 steps")
        for unit, end in (("epochs", "3 epochs"), ("pairs", "1,600 pairs"), ("minutes", "0.7 minutes")):
            await pilot.press("x")
            await shows(pilot, end)
            assert unit in shown(pilot)
        chart, *_ = await drawn(pilot)
        before = chart.canvas
        await pilot.press("y")
        await shows(pilot, "smoothed 0.6")
        await until(pilot, lambda: chart.canvas is not before)
        await pilot.press("y", "y", "y", "x")
        await until(pilot, lambda: "smoothed" not in shown(pilot))
        await shows(pilot, "100 steps")


async def test_other_runs_are_laid_over_and_taken_away_again(root: Path) -> None:
    make_run(root, "tone", [*beginning(), *training(0, 40)])
    long = make_run(root, "long", whole_run(200), age=5)
    write(long, Labels(name="the long one"))
    make_run(root, "third", whole_run(), age=9)
    make_run(root, "empty", [], age=12)
    async with runs_screen(root, (160, 45)) as pilot:
        await shows(pilot, "40/100", "2 done")
        await pilot.press("plus")
        text = await shows(pilot, "Lay over the charts", "the long one", "third")
        assert "· 2026-03-14-1457-empty" not in text
        await pilot.press("space", "j", "space", "enter")
        await shows(pilot, "● 2026-03-14-1509-tone-dpo", "◆ the long one", "○ 2026-03-14-1500-third-dpo", "200 steps")
        charts = await drawn(pilot)
        assert [line.sign for line in charts[0].figure.lines] == ["●", "◆", "○"]
        assert [line.sign for line in charts[1].figure.lines] == ["●", "●", "◆", "◆", "○", "○"]
        await pilot.press("minus")
        await until(pilot, lambda: "○ 2026" not in shown(pilot))
        await pilot.press("1")
        await until(pilot, lambda: not isinstance(pilot.app.screen, RunsScreen))
        await pilot.press("2")
        await shows(pilot, "◆ the long one")
        await pilot.press("plus")
        await shows(pilot, "◆ the long one")
        await pilot.press("minus", "enter")
        await until(pilot, lambda: "◆" not in shown(pilot))
        await shows(pilot, "─ train")


async def test_answers_stand_beside_each_other_where_there_is_room(root: Path) -> None:
    folder = make_run(root, "tone", [*beginning(), *training(0, 40), *samples(0, 20, 40)])
    async with runs_screen(root, (120, 40)) as pilot:
        await shows(pilot, "“Where is my order?”  base Not our problem. 1", "aligned I am sorry about that")
        await pilot.press("s")
        text = await shows(pilot, "step 40   3 of 3", "› My card was declined. Why?", "base  4 tokens")
        row = next(line for line in text.split("\n") if "Not our problem. 0" in line)
        assert "│ I am sorry about that, at step 40." in row
        await pilot.press("left_square_bracket")
        await shows(pilot, "step 20   2 of 3")
        append(folder, samples(60))
        await shows(pilot, "step 20   2 of 4")
        await pilot.press("right_square_bracket", "right_square_bracket", "right_square_bracket")
        await shows(pilot, "step 60   4 of 4")
        await pilot.resize_terminal(80, 24)
        text = await shows(pilot, "step 60   4 of 4", "aligned  36 tokens")
        assert "│" not in text
        await pilot.press("escape")
        await shows(pilot, "log-probability")


async def test_a_live_run_is_not_drawn_more_often_than_it_pays(
    root: Path, worker: Callable[[RunFolder], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.runs.watching.PACE", WatchPace(0.25, 0.4, 5, charts=30))
    folder = make_run(root, "tone", [*beginning(), *training(0, 10)])
    worker(folder)
    async with runs_screen(root) as pilot:
        await shows(pilot, "10/100")
        chart, *_ = await drawn(pilot)
        before = chart.canvas
        append(folder, training(11, 20))
        await shows(pilot, "20/100")
        assert chart.canvas is before
        await pilot.press("y")
        await until(pilot, lambda: chart.canvas is not before)


def test_an_axis_names_no_value_that_cannot_be() -> None:
    palette = palette_of(dict.fromkeys((*COLORS, "background", "border"), "#888888"))
    flat = ChartLine(Curve((0.0, 1.0), (1.0, 1.0)), "─", "train", "accent")

    def told(possible: tuple[float, float]) -> str:
        figure = Figure("accuracy", (flat,), end=1, possible=possible)
        return "\n".join(line.plain for line in draw(figure, 40, 12, palette))

    assert "1.010" in told((-math.inf, math.inf))
    assert "1.010" not in told((0.0, 1.0))
    assert "1.000" in told((0.0, 1.0))
    assert "0.990" in told((0.0, 1.0))
