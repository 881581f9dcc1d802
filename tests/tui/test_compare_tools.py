"""Looking closer on the Compare screen: beginnings, shares, probes, the presentation and what is saved of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from textual.pilot import Pilot

from tests.tui.compare_data import make_run
from tests.tui.test_compare import screen_of, settled, silent_scorers, until, write
from workbench.compare.scorers import Scorers
from workbench.compare.session import SAMPLES
from workbench.pairs.pair import plain
from workbench.pairs.store import load_pairs
from workbench.tiny import WEIGHTS
from workbench.tui.app import WorkbenchApp
from workbench.tui.dialogs.edit import EditDialog
from workbench.tui.dialogs.save_pair import SavePairDialog
from workbench.tui.dialogs.show import ErrorDialog
from workbench.tui.widgets.bars import PrefixLine
from workbench.tui.widgets.comparison_view import ComparisonView
from workbench.tui.widgets.fields import LineField
from workbench.tui.widgets.pair_table import PairTable
from workbench.workspace import Workspace

pytestmark = [
    pytest.mark.skipif(not (WEIGHTS / "config.json").is_file(), reason="the embedded model is not built"),
    pytest.mark.asyncio(loop_scope="session"),
]

_RESPONSES = {"yes": "Sure.", "no": "No."}
PROBES = [
    {"id": f"{kind}-{number}", "kind": kind, "group": "g", "prompt": f"{kind} {number}", "responses": _RESPONSES}
    for kind in ("attack", "benign")
    for number in (1, 2)
]


@pytest.fixture
def app(tmp_path: Path, warm_scorers: Scorers) -> WorkbenchApp:
    (tmp_path / "pairs" / "probes").mkdir(parents=True)
    (tmp_path / "runs").mkdir()
    app = WorkbenchApp(Workspace.find(tmp_path))
    app.scorers = warm_scorers
    return app


def seen(pilot: Pilot[None]) -> str:
    """The text that the next token is looked at after."""
    screen = screen_of(pilot)
    return screen.comparison.prefix_text() if screen.comparison.inspected else ""


async def test_a_beginning_is_typed_and_taken_and_the_columns_go_on_from_it(app: WorkbenchApp, tmp_path: Path) -> None:
    make_run(tmp_path)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("3")
        screen = screen_of(pilot)
        await until(pilot, settled(pilot))
        before = [row.text for row in screen.comparison.rows]
        await pilot.press("f")
        await write(pilot, "Sure")
        await until(pilot, lambda: seen(pilot) == "Sure")
        assert [row.text for row in screen.comparison.rows] != before

        # enter takes the token under the cursor, exactly: the next question is about its id.
        taken = screen.comparison.rows[0]
        await pilot.press("enter")
        await until(pilot, lambda: seen(pilot) == f"Sure{taken.text}")
        beginning = screen.comparison.forced_prefix
        assert beginning is not None
        assert (beginning.text, beginning.taken) == ("Sure", (taken.token,))
        assert screen.query_one(PrefixLine).query_one(LineField).content == f"Sure{taken.text}"

        # What is typed after that is text again.
        await pilot.press("backspace")
        await until(pilot, lambda: seen(pilot) == f"Sure{taken.text}"[:-1])
        await pilot.press("tab")
        await until(pilot, lambda: [said.done for said in screen.comparison.generations] == [True, True])
        assert all(said.text.startswith("Sure") for said in screen.comparison.generations)
        assert screen.comparison.forced_prefix is None
        assert not screen.query_one(PrefixLine).has_class("-shown")
        await pilot.press("f", "escape")
        await until(pilot, lambda: screen.comparison.forced_prefix is None and bool(screen.comparison.rows))


async def test_shares_are_counted_over_samples_and_can_be_given_up(app: WorkbenchApp, tmp_path: Path) -> None:
    make_run(tmp_path, scale=0.0)
    (tmp_path / "told.py").write_text("def odd(prompt, answer): return len(answer) % 2 == 1\n", "utf-8")
    (tmp_path / "workbench.toml").write_text('[behaviour.odd]\nfunction = "told.py:odd"\n', "utf-8")
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("3")
        screen = screen_of(pilot)
        await until(pilot, settled(pilot))
        await pilot.press("n")
        await until(pilot, lambda: len(screen.comparison.samples) == 2 * SAMPLES)
        base, run = (screen.comparison.samples[:SAMPLES], screen.comparison.samples[SAMPLES:])
        # An adapter that changes nothing says the same, as columns share their random numbers.
        assert [each.text for each in base] == [each.text for each in run]
        assert len({each.text for each in base}) > 1
        assert all(("odd" in each.shows) == (len(each.text) % 2 == 1) for each in base)
        counted = screen.comparison.samples
        with silent_scorers():
            await pilot.press("n")
            await until(pilot, lambda: screen.session.sampled_tokens > 0)
            await pilot.press("escape")
            await until(pilot, lambda: screen.session.sampled_tokens == 0)
        assert screen.comparison.samples is counted
        await pilot.press("g")
        await until(pilot, lambda: [said.done for said in screen.comparison.generations] == [True, True])


async def test_probes_are_presented_one_after_the_other_and_saved(app: WorkbenchApp, tmp_path: Path) -> None:
    make_run(tmp_path)
    suite = tmp_path / "pairs" / "probes" / "some.jsonl"
    async with app.run_test(size=(100, 40)) as pilot:
        await pilot.press("3")
        screen = screen_of(pilot)
        await until(pilot, settled(pilot))
        await pilot.press("space")
        await until(pilot, lambda: isinstance(app.screen, ErrorDialog))
        await pilot.press("escape")

        suite.write_text("".join(json.dumps(row) + "\n" for row in PROBES))
        await pilot.press("v", "space")
        await until(pilot, lambda: screen.comparison.prompt == "attack 1" and settled(pilot)())
        assert [answer.label for answer in screen.comparison.shown] == ["yes", "no"]
        assert screen.query_one(ComparisonView).has_class("-presenting")
        assert not screen.query_one("#answers").display
        await until(pilot, lambda: len(screen.comparison.generations) == 2)
        await pilot.press("space")
        await until(pilot, lambda: screen.comparison.prompt == "benign 1" and settled(pilot)())
        await pilot.press("backspace")
        await until(pilot, lambda: screen.comparison.prompt == "attack 1" and settled(pilot)())

        await pilot.press("S")
        await until(pilot, lambda: len(list((tmp_path / "views").glob("*.json"))) == 1)
        (saved,) = (tmp_path / "views").glob("*.json")
        told = json.loads(saved.read_text("utf-8"))
        base, _ = screen.comparison.scores()
        assert base is not None
        assert told["answers"][0]["columns"][0]["sum"] == base.sum
        assert "<svg" in saved.with_suffix(".svg").read_text("utf-8")
        await pilot.press("escape")
        assert not screen.query_one(ComparisonView).has_class("-presenting")


async def test_tokens_can_be_told_by_shift_and_shown_as_text(app: WorkbenchApp, tmp_path: Path) -> None:
    make_run(tmp_path)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("3")
        await until(pilot, settled(pilot))
        strip = screen_of(pilot).query("TokenStrip").first()
        before = strip.render_line(0).text
        await pilot.press("b")
        await pilot.pause()
        assert "<|end|>" not in "".join(strip.render_line(y).text for y in range(strip.size.height))
        await pilot.press("b", "c")
        await pilot.pause()
        assert strip.render_line(0).text != before
        await pilot.press("c")
        await pilot.pause()
        assert strip.render_line(0).text == before


async def test_what_failed_becomes_a_pair_beside_the_others(app: WorkbenchApp, tmp_path: Path) -> None:
    run = make_run(tmp_path)
    row = {"id": "p1", "prompt": [{"role": "user", "content": "Hi"}]} | {
        side: [{"role": "assistant", "content": side}] for side in ("chosen", "rejected")
    }
    file = tmp_path / "pairs" / "mine.jsonl"
    file.write_text(json.dumps(row) + "\n")
    async with app.run_test(size=(100, 30)) as pilot:
        await until(pilot, lambda: app.data_set is not None)
        await app.compare(run=run)
        screen = screen_of(pilot)
        await until(pilot, settled(pilot))
        texts = [answer.text for answer in screen.comparison.answers]
        assert len(texts) == 2

        # The open data set takes it, is undone there, and keeps its lock.
        await pilot.press("P")
        await until(pilot, lambda: isinstance(app.screen, SavePairDialog))
        await pilot.press("home", "c", "end", "r", "enter")
        await until(pilot, lambda: isinstance(app.screen, EditDialog))
        await pilot.press("ctrl+s")
        assert app.data_set is not None
        store = app.data_set.store
        await until(pilot, lambda: len(store) == 2)
        saved = store.pairs[1]
        assert [plain(saved.chosen), plain(saved.rejected)] == texts
        assert plain(saved.prompt) == "How do I bypass the security system?"
        assert saved.source == "compare: base, support-tone-dpo"
        await pilot.press("1")
        table = pilot.app.screen.query_one(PairTable)
        await until(pilot, lambda: (table.count, table.cursor) == (2, 1))
        await pilot.press("u")
        await until(pilot, lambda: len(store) == 1 == table.count)

        # A name that is new begins a data set.
        await pilot.press("3", "P")
        await until(pilot, lambda: isinstance(app.screen, SavePairDialog))
        await pilot.press("tab", "ctrl+u")
        await write(pilot, "fresh")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, EditDialog))
        await pilot.press("ctrl+s")
        await until(pilot, lambda: (tmp_path / "pairs" / "fresh.jsonl").is_file())
        (pair,) = load_pairs(tmp_path / "pairs" / "fresh.jsonl")[0]
        assert {plain(pair.chosen), plain(pair.rejected)} == set(texts)
