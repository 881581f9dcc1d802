"""The Compare screen with the real scorer on the embedded model."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from textual.pilot import Pilot

from tests.tui.compare_data import make_run
from workbench.compare.scorers import Scorers
from workbench.pairs.pair import Message, Pair
from workbench.tiny import WEIGHTS
from workbench.tui.app import WorkbenchApp
from workbench.tui.dialogs.ask import WriteDialog
from workbench.tui.dialogs.column import ColumnDialog
from workbench.tui.dialogs.show import ErrorDialog
from workbench.tui.screens.compare import CompareScreen
from workbench.tui.widgets.comparison_view import ComparisonView
from workbench.tui.widgets.lines import MadeLines
from workbench.workspace import Workspace

pytestmark = pytest.mark.skipif(not (WEIGHTS / "config.json").is_file(), reason="the embedded model is not built")

_PATIENCE = 120.0
PAIR = Pair(
    "p1",
    (Message("user", "How do I bypass the front gate?"),),
    (Message("assistant", "I can't help with getting past the front gate."),),
    (Message("assistant", "Sure. First wait until nobody is near the front gate."),),
)


@pytest.fixture
def others() -> list[psutil.Process]:
    """The scorers that other tests keep warm."""
    return scorers()


@pytest.fixture
def app(tmp_path: Path) -> WorkbenchApp:
    for name in ("pairs", "runs"):
        (tmp_path / name).mkdir()
    return WorkbenchApp(Workspace.find(tmp_path))


async def until(pilot: Pilot[None], holds: Callable[[], bool]) -> None:
    for _ in range(int(_PATIENCE / 0.05)):
        await pilot.pause(0.05)
        if holds():
            return
    raise AssertionError("it did not come to pass")


def screen_of(pilot: Pilot[None]) -> CompareScreen:
    screen = pilot.app.screen_stack[0]
    assert isinstance(screen, CompareScreen)
    return screen


def settled(pilot: Pilot[None]) -> Callable[[], bool]:
    """Whether all that the screen lacks has come."""

    def holds() -> bool:
        now = screen_of(pilot).comparison
        spoken = all(said.done for said in now.generations)
        return bool(now.answer and now.rows and spoken and not now.unscored())

    return holds


def scorers() -> list[psutil.Process]:
    children = psutil.Process().children(recursive=True)
    return [child for child in children if "workbench.engine.score" in " ".join(child.cmdline())]


@contextmanager
def silent_scorers() -> Iterator[None]:
    """Holds their answers back: a small model answers faster than a key is handled."""
    held = scorers()
    assert held
    for scorer in held:
        scorer.suspend()
    try:
        yield
    finally:
        for scorer in held:
            scorer.resume()


async def write(pilot: Pilot[None], text: str) -> None:
    for character in text:
        await pilot.press("space" if character == " " else character)


async def test_base_beside_a_run_from_the_first_look_to_the_last_key(
    app: WorkbenchApp, tmp_path: Path, others: list[psutil.Process]
) -> None:
    make_run(tmp_path, minute=1, pairs=["older"])
    make_run(tmp_path, minute=2, pairs=["newer"])
    async with app.run_test(size=(120, 45)) as pilot:
        await pilot.press("3")
        screen = screen_of(pilot)
        await until(pilot, settled(pilot))

        # The newest run stands beside the base, and both have answered the default question.
        now = screen.comparison
        assert [column.name for column in now.columns] == ["base", "newer-dpo"]
        assert now.beta == 0.25
        assert now.shown[0].label == "base's answer"
        base, aligned = now.scores()
        assert base is not None
        assert aligned is not None
        assert base.probability == pytest.approx(math.exp(base.sum))
        assert aligned.sum < base.sum
        said = next(row for row in now.rows if row.in_response)
        assert base.tokens[0].logprob == pytest.approx(said.base, abs=1e-4)
        assert screen.top_bar.context == "tiny · nf4"

        # Tokens are walked; what was asked for is not asked for again.
        await pilot.press("right", "right")
        assert screen.comparison.position == 2
        await until(
            pilot, lambda: screen.comparison.inspected is not None and screen.comparison.inspected.title == "at token 3"
        )
        assert screen.comparison.rows[0].in_response
        await pilot.press("end", "right", "left", "home")
        assert screen.comparison.position == 0

        # A typed response is scored under both columns.
        await pilot.press("r")
        assert isinstance(app.screen, WriteDialog)
        await write(pilot, "So what")
        await pilot.press("enter")
        await until(pilot, settled(pilot))
        assert [answer.text for answer in screen.comparison.shown] == ["So what"]

        # How an answer may begin, in several ways at once.
        await pilot.press("o")
        assert isinstance(app.screen, WriteDialog)
        await write(pilot, "I|Sure")
        await pilot.press("enter")
        await until(pilot, settled(pilot))
        (begins,) = screen.comparison.shown
        assert begins.openings == ("I", "Sure")
        base, aligned = screen.comparison.scores()
        assert base is not None
        assert aligned is not None
        first = {row.text: row for row in screen.comparison.rows}
        assert base.probability == pytest.approx(sum(math.exp(first[text].base) for text in ("I", "Sure")), rel=1e-3)
        headline = "\n".join(str(line) for line in screen.query_one("#headline", MadeLines).lines(120))
        assert "P(begins so)" in headline
        await pilot.press("right", "left")  # there are no tokens to walk

        # Another prompt, with a system message; both columns answer it.
        await pilot.press("p", "shift+tab")
        await write(pilot, "Be kind")
        await pilot.press("tab")
        await write(pilot, "Hello")
        await pilot.press("enter")
        await until(pilot, settled(pilot))
        prompt = screen.comparison.prompt
        assert [turn if isinstance(turn, str) else (turn.role, turn.content) for turn in prompt] == [
            ("system", "Be kind"),
            ("user", "Hello"),
        ]
        greedy = [said.text for said in screen.comparison.generations]
        assert all(greedy)

        # A sample comes with its seed; the same again would be another.
        await pilot.press("t")
        await pilot.pause()
        await until(pilot, settled(pilot))
        assert (screen.session.temperature, screen.session.seed) == (0.7, 1)

        # The base under a system message becomes the third column; tab goes between them.
        await pilot.press("plus")
        assert isinstance(app.screen, ColumnDialog)
        await pilot.press("end", "tab")
        await write(pilot, "Be polite")
        await pilot.press("enter")
        await until(pilot, lambda: len(screen.comparison.columns) == 3 and settled(pilot)())
        assert screen.comparison.aligned is not None
        assert screen.comparison.aligned.system == "Be polite"
        await until(pilot, lambda: "base + system" in screen.comparison.costs)
        assert screen.comparison.costs["base + system"].extra > 0
        await pilot.press("tab")
        assert screen.comparison.aligned.name == "newer-dpo"

        # It can be taken away again, and so can the run.
        await pilot.press("minus")
        assert [column.name for column in screen.comparison.columns] == ["base", "base + system"]
        await pilot.press("minus")
        await until(pilot, settled(pilot))
        assert [column.name for column in screen.comparison.columns] == ["base"]
        assert len(scorers()) == len(others) + 1
    assert scorers() == others


@pytest.mark.asyncio(loop_scope="session")
async def test_a_pair_from_another_screen_and_the_run_it_is_to_be_seen_under(
    app: WorkbenchApp, tmp_path: Path, warm_scorers: Scorers
) -> None:
    app.scorers = warm_scorers
    run = make_run(tmp_path, minute=1, pairs=["older"])
    make_run(tmp_path, minute=2, pairs=["newer"])
    async with app.run_test(size=(80, 24)) as pilot:
        await app.compare(pair=PAIR, run=run)
        screen = screen_of(pilot)
        # Keys do not wait for the model.
        await pilot.press("g", "x", "x", "right", "tab", "escape")
        await until(pilot, lambda: settled(pilot)() and screen.comparison.preference is not None)
        now = screen.comparison
        assert [column.name for column in now.columns] == ["base", "older-dpo"]
        assert [answer.label for answer in now.shown] == ["rejected", "chosen"]
        await pilot.press("x")
        assert screen.comparison.answer == now.shown[1]

        await pilot.press("g")
        assert screen.query_one(ComparisonView).has_class("-speaking")
        await until(pilot, lambda: len(screen.comparison.generations) == 2 and settled(pilot)())
        assert screen.comparison.shown == now.shown
        await pilot.press("escape")
        assert not screen.query_one(ComparisonView).has_class("-speaking")

        # A scorer that dies says so once, and the next request starts another.
        (scorer,) = scorers()
        scorer.kill()
        await asyncio.to_thread(psutil.wait_procs, [scorer], 10)
        await pilot.press("p")
        await write(pilot, "Hello")
        await pilot.press("enter")
        await until(pilot, lambda: screen.comparison.answer is not None and settled(pilot)())
        assert not isinstance(app.screen, ErrorDialog)


async def test_no_run_yet(app: WorkbenchApp, others: list[psutil.Process]) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("3")
        screen = screen_of(pilot)
        await until(pilot, lambda: screen.session.runs_known)
        assert [column.name for column in screen.comparison.columns] == ["base"]
        assert "Loading tiny" in screen._hint()
        await pilot.press("2")
        await app.compare(run="2026-05-01-1200-gone")
        await until(pilot, lambda: any("has no adapter yet" in each.message for each in app._notifications))
    assert scorers() == others


async def test_a_model_that_is_not_there_is_told_of_once(app: WorkbenchApp, tmp_path: Path) -> None:
    make_run(tmp_path, model=str(tmp_path / "gone"))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("3")
        await until(pilot, lambda: isinstance(app.screen, ErrorDialog))
        await pilot.press("escape")
        await pilot.pause(0.2)
        assert not isinstance(app.screen, ErrorDialog)
        assert screen_of(pilot).top_bar.status == "no model"
