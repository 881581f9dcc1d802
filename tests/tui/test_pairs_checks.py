"""The panel of the checks, and the state behind it: with real processes over data sets with known faults."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from tests.tui.checks_panel import CLEAN, FAULTY, checked, panel, talk
from tests.tui.runs_screen import shown, shows, until
from workbench.chat_templates import Rendering
from workbench.pairs.checks.background import PairChecks, _overall
from workbench.pairs.checks.findings import checks_by_id
from workbench.pairs.pair import Pair
from workbench.pairs.store import PairStore, write_pairs
from workbench.tui.dialogs.checks import DoRepair, FindingList, ShowFinding

MANY = [talk(f"p{number}", f"Q {number}?", f"a{number} " * 300, f"b{number} " * 300) for number in range(3000)]


def workers() -> list[psutil.Process]:
    """The processes of checks that this process started."""
    children = psutil.Process(os.getpid()).children(recursive=True)
    return [each for each in children if "workbench.pairs.checks.background" in " ".join(_line(each))]


def _line(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


def wait(holds: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def checks_of(folder: Path, pairs: list[Pair], **how: object) -> PairChecks:
    write_pairs(folder / "x.jsonl", pairs)
    return PairChecks(folder / "x.jsonl", **how)  # type: ignore[arg-type]


# The state


def test_what_is_known_of_each_pair(tmp_path: Path) -> None:
    told: list[float] = []
    checks = checks_of(tmp_path, FAULTY, changed=lambda: told.append(time.monotonic()))
    assert (checks.begun, checks.summary, checks.sign("same"), checks.by_id()) == (False, "", "", {})
    checks.start()
    wait(lambda: not checks.running)
    assert checks.report is not None
    assert checks.findings == checks.report.findings
    assert checks.by_id() == checks_by_id(checks.report.findings)
    assert checks.sign("same") == "✘ identical"
    assert checks.sign("copy-2") == "▲ duplicate"
    assert checks.sign(FAULTY[-1].id) == "▲ invisible +1"
    assert checks.sign("clean-5") == ""
    assert checks.summary == f"✘ {len(checks.findings)} findings"
    assert checks.tokens_of("same") is None
    # The last word comes at once.
    assert all(later - earlier >= 0.19 for earlier, later in pairwise(told[:-1]))


def test_edits_make_it_stale_until_it_is_checked_again(tmp_path: Path) -> None:
    checks = checks_of(tmp_path, FAULTY)
    checks.touch(["same"])
    assert not checks.stale
    checks.start()
    wait(lambda: not checks.running)
    checks.touch(["same"])
    checks.touch(["copy-2"], texts=False)
    assert (checks.stale, checks.edits) == (True, 2)
    assert (checks.sign("same"), checks.sign("copy-2")) == ("↻ identical", "▲ duplicate")
    with PairStore(tmp_path / "x.jsonl") as store:
        store.remove(["same"])
    checks.start()
    wait(lambda: not checks.running)
    assert not checks.stale
    assert checks.sign("same") == ""


def test_tokens_of_a_model(tmp_path: Path) -> None:
    checks = checks_of(tmp_path, CLEAN)
    checks.start("tiny", 24)
    wait(lambda: not checks.running, 60)
    assert checks.error is None
    chosen, rejected = checks.tokens_of("clean-0") or (0, 0)
    assert chosen > 10 < rejected
    assert {"truncated"} <= {finding.check for finding in checks.findings}
    checks.touch(["clean-0"])
    assert checks.tokens_of("clean-0") is None
    assert checks.tokens_of("clean-1") is not None


@pytest.mark.parametrize("how", ["cancel", "close", "start"])
def test_no_process_is_left(tmp_path: Path, how: str) -> None:
    checks = checks_of(tmp_path, MANY)
    checks.start()
    wait(lambda: len(workers()) == 1)
    (first,) = workers()
    began = time.monotonic()
    getattr(checks, how)()
    if how == "close":
        assert not psutil.pid_exists(first.pid)
    wait(lambda: not psutil.pid_exists(first.pid), 2)
    assert time.monotonic() - began < 1
    if how == "start":
        assert checks.running
    else:
        assert (checks.begun, checks.running, checks.report, checks.error) == (True, False, None, None)
    checks.close()
    assert workers() == []


def test_a_failure_is_told(tmp_path: Path) -> None:
    checks = checks_of(tmp_path, CLEAN)
    checks.start("/no/such/model")
    wait(lambda: not checks.running)
    assert checks.report is None
    assert checks.error is not None
    assert "No such model" in checks.error.title
    assert checks.summary == "▲ checks failed"


def test_progress_of_all_checks_only_grows(tmp_path: Path) -> None:
    checks = checks_of(tmp_path, CLEAN)
    checks.start()
    wait(lambda: not checks.running)
    assert checks.report is not None
    names = [name for name in checks.report.seconds if name != "reading"]
    shares = [_overall(name, share, counted=False) for name in names for share in (0.0, 1.0)]
    assert shares == sorted(shares)
    assert 0 < shares[0] < shares[-1] == 1


# The panel


async def test_it_starts_by_itself_and_names_what_it_finds(tmp_path: Path) -> None:
    app = panel(tmp_path, FAULTY)
    async with app.run_test(size=(100, 40)) as pilot:
        await shows(pilot, "identical", "duplicate", "contradiction", "encoding", "invisible")
        await checked(pilot)
        text = await shows(pilot, f"findings in {len(FAULTY)} pairs", '"longer wins"', "effect")
        assert "\x1b" not in text
        found = app.screen.query_one(FindingList)
        assert found.finding is not None
        checks = [finding.check for finding in app.checks.findings]
        await pilot.press(*["j"] * checks.index("duplicate"))
        assert found.finding.check == "duplicate"
        await shows(pilot, "clean-0  with  copy-1, copy-2", "f drop the later copies: 2 pairs")
        await pilot.press("enter")
        await until(pilot, lambda: app.answers == [ShowFinding("finding:duplicate", "duplicate")])


async def test_a_repair_is_asked_for_and_mends(tmp_path: Path) -> None:
    app = panel(tmp_path, FAULTY)
    async with app.run_test(size=(80, 24)) as pilot:
        await checked(pilot)
        checks = [finding.check for finding in app.checks.findings]
        await pilot.press(*["j"] * checks.index("contradiction"), "f")
        await pilot.pause(0.2)
        assert app.answers == []
        app.screen.query_one(FindingList).highlighted = checks.index("duplicate")
        await pilot.press("f")
        await shows(pilot, "2 pairs?")
        await pilot.press("n")
        await pilot.pause()
        assert app.answers == []
        await pilot.press("f")
        await shows(pilot, "2 pairs?")
        await pilot.press("y")
        await until(pilot, lambda: bool(app.answers))
        (answer,) = app.answers
        assert isinstance(answer, DoRepair)
    with PairStore(app.checks.path) as store:
        assert len(store.update(answer.repair.ids, answer.repair.change, answer.repair.description)) == 2
        assert [pair.id for pair in store.pairs if pair.status == "dropped"] == ["copy-1", "copy-2"]


async def test_nothing_found_is_said_with_the_lengths(tmp_path: Path) -> None:
    app = panel(tmp_path, CLEAN, "clean")
    async with app.run_test(size=(120, 40)) as pilot:
        await checked(pilot)
        await shows(
            pilot, f"✔ Nothing found in {len(CLEAN)} pairs", "passed all", '"longer wins"', "chosen 1.1× longer"
        )
        app.checks.touch()
        await shows(pilot, "1 edit since; R checks again")
        await pilot.press("R")
        await checked(pilot)
        assert "since" not in shown(pilot)


async def test_checks_go_on_behind_a_closed_panel_and_stop_with_the_app(tmp_path: Path) -> None:
    app = panel(tmp_path, MANY)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: len(workers()) == 1)
        await pilot.press("escape")
        await until(pilot, lambda: app.answers == [None])
        assert app.checks.running
        app.open()
        await shows(pilot, "X stops", "esc hides")
        await pilot.press("X")
        await shows(pilot, "stopped")
        await pilot.press("R")
        await until(pilot, lambda: len(workers()) == 1)
    assert workers() == []


async def test_a_model_is_asked_for_with_its_max_length(tmp_path: Path) -> None:
    app = panel(tmp_path, CLEAN)
    async with app.run_test(size=(80, 24)) as pilot:
        await checked(pilot)
        await pilot.press("M")
        await shows(pilot, "max_length")
        await pilot.press("tab", "end", *["backspace"] * 4, "x", "enter")
        await shows(pilot, "a whole number above 0")
        await pilot.press("backspace", "2", "4", "enter")
        await until(pilot, lambda: app.checks.model == "tiny" and not app.checks.running, 60)
        await shows(pilot, "with the tokens of tiny, max_length 24", "truncated")
        await pilot.press("M", "tab", "tab", *"nowhere", "enter")
        await shows(pilot, "No such chat template")
        await pilot.press(*["backspace"] * 7, *"gemma", "tab", *"mood=kind", "enter")
        chosen = Rendering("gemma", {"mood": "kind"})
        await until(pilot, lambda: app.checks.rendering == chosen and not app.checks.running, 60)
        await shows(pilot, "template gemma, mood=kind")
        await pilot.press("M")
        await shows(pilot, "Check with", "gemma", "mood=kind")
        await pilot.press("ctrl+a", "slash", "n", "o", "enter")
        await shows(pilot, "No such model")
