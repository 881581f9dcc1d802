"""Drafts in the Pairs screen, by the real scorer on the embedded model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from textual.widgets import OptionList, Static

from tests.tui.compare_data import make_run
from tests.tui.pairs_screen import Screen, opened
from tests.tui.test_compare import scorers, silent_scorers, until
from workbench.compare.ranking import DRAFTS
from workbench.compare.scorers import Base, Scorers
from workbench.pairs.pair import Message, Pair, plain
from workbench.pairs.store import load_pairs, write_pairs
from workbench.tiny import WEIGHTS
from workbench.tui.dialogs.ask import ChooseDialog, ConfirmDialog
from workbench.tui.dialogs.draft import DraftDialog
from workbench.tui.dialogs.show import ErrorDialog
from workbench.workspace import Workspace

pytestmark = [
    pytest.mark.skipif(not (WEIGHTS / "config.json").is_file(), reason="the embedded model is not built"),
    pytest.mark.asyncio(loop_scope="session"),
]

PAIR = Pair(
    "p1",
    (Message("user", "How do I bypass the front gate?"),),
    (Message("assistant", "I can't help with getting past the front gate."),),
    (Message("assistant", "Sure."),),
    status="accepted",
)
OTHER = replace(PAIR, id="p2", prompt=(Message("user", "Hi"),))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    write_pairs(tmp_path / "pairs" / "mine.jsonl", [PAIR, OTHER])
    (tmp_path / "runs").mkdir()
    return Workspace.find(tmp_path)


def saved(workspace: Workspace) -> list[Pair]:
    return load_pairs(workspace.pairs_file("mine"))[0]


def dialog_of(screen: Screen) -> DraftDialog:
    top = screen.pilot.app.screen
    assert isinstance(top, DraftDialog)
    return top


def status(screen: Screen) -> str:
    return str(dialog_of(screen).query_one("#status", Static).render())


def drafted(screen: Screen) -> Callable[[], bool]:
    return lambda: not dialog_of(screen).session.waiting and len(dialog_of(screen).session.ranking.candidates) > 2


async def open_drafts(screen: Screen) -> DraftDialog:
    await screen.pilot.press("r")
    await until(screen.pilot, lambda: isinstance(screen.pilot.app.screen, DraftDialog))
    return dialog_of(screen)


async def test_the_best_draft_becomes_the_rejected_answer_with_one_key(workspace: Workspace) -> None:
    async with opened(workspace, (80, 24)) as screen:
        dialog = await open_drafts(screen)
        # The keys do not wait for the model: it is only just being loaded.
        await screen.pilot.press("down", "1")
        assert dialog.session.ranking.order == (1, 0)
        assert "loading" in status(screen) or "drafts" in status(screen)
        await until(screen.pilot, drafted(screen))
        drafts = dialog.session.ranking.candidates[2:]
        assert sum(each.count for each in drafts) == DRAFTS
        assert drafts[0].count == max(each.count for each in drafts)
        assert f"{DRAFTS} drafts" in status(screen)
        best = dialog.session.ranking.best_draft("rejected")
        assert best is not None
        expected = dialog.session.ranking.candidates[best.number].text

        # More of them are others, and those that came before are counted.
        await screen.pilot.press("n")
        await until(screen.pilot, drafted(screen))
        assert sum(each.count for each in dialog.session.ranking.candidates[2:]) == 2 * DRAFTS
        best = dialog.session.ranking.best_draft("rejected")
        assert best is not None
        expected = dialog.session.ranking.candidates[best.number].text

        # It may have to show a behaviour, one of those that the answers show.
        app = screen.pilot.app
        await screen.pilot.press("b")
        await until(screen.pilot, lambda: isinstance(app.screen, ChooseDialog))
        await screen.pilot.press("down", "enter")
        await until(screen.pilot, lambda: app.screen is dialog)
        wanted = dialog.session.ranking.wanted
        assert wanted in dialog.session.behaviours
        assert f"the best is {wanted}" in status(screen)
        found = dialog.session.ranking.best_draft("chosen")
        assert found is None or wanted in (dialog.session.ranking.candidates[found.number].shows or ())
        await screen.pilot.press("b")
        await until(screen.pilot, lambda: isinstance(app.screen, ChooseDialog))
        await screen.pilot.press("up", "enter")
        await until(screen.pilot, lambda: app.screen is dialog)
        assert dialog.session.ranking.wanted == ""
        await screen.pilot.press("up", "r")
        await screen.settle()
        edited = saved(workspace)[0]
        assert edited == replace(PAIR, rejected=(Message("assistant", expected),), source="drafted by tiny")
        await screen.press("u")
        assert saved(workspace) == [PAIR, OTHER]
        assert "undone: drafted answers" in screen.told()


async def test_drafts_of_a_run_are_ranked_into_a_pair_for_each(
    workspace: Workspace, tmp_path: Path, warm_scorers: Scorers
) -> None:
    make_run(tmp_path, model="/no/such/model", pairs=["lost"])
    make_run(tmp_path, minute=1, scale=0.3)
    async with opened(workspace, (160, 45), warm_scorers) as screen:
        dialog = await open_drafts(screen)
        await until(screen.pilot, drafted(screen))
        await screen.pilot.press("d")
        await until(screen.pilot, lambda: isinstance(screen.pilot.app.screen, ChooseDialog))
        await screen.pilot.press("down", "down", "enter")
        await until(screen.pilot, lambda: screen.pilot.app.screen is dialog)
        await until(screen.pilot, lambda: dialog.session.ranking.candidates[-1].by == "support-tone-dpo")
        await until(screen.pilot, drafted(screen))
        assert "support-tone-dpo · temperature 1.0 · dpo · finished at step 16" in status(screen)

        # Best: the last draft. Below it the first, and the pair's own rejected.
        await screen.pilot.press("end", "1", "home", "enter", "down", "down", "enter", "m")
        candidates, best = dialog.session.ranking.candidates, len(dialog.session.ranking.candidates) - 1
        assert dialog.session.ranking.order == (best, 2)
        await screen.pilot.press("s")
        await screen.settle()
        first, new, last = saved(workspace)
        assert (first, last) == (PAIR, OTHER)
        assert (plain(new.chosen), plain(new.rejected)) == (candidates[best].text, candidates[2].text)
        assert (new.prompt, new.status) == (PAIR.prompt, "new")
        assert "drafted by support-tone-dpo" in new.source
        assert screen.pairs_screen.pair == new
        await screen.press("u")
        assert saved(workspace) == [PAIR, OTHER]

        # A run whose base is not there any more.
        await open_drafts(screen)
        await screen.pilot.press("d")
        await until(screen.pilot, lambda: isinstance(screen.pilot.app.screen, ChooseDialog))
        await screen.pilot.press("end", "enter")
        await until(screen.pilot, lambda: isinstance(screen.pilot.app.screen, ErrorDialog))
        await screen.pilot.press("escape")
        assert "no drafts: No such model" in status(screen)


async def test_what_is_given_up_changes_nothing_and_asks_no_more(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, warm_scorers: Scorers
) -> None:
    monkeypatch.setattr("workbench.compare.drafting.DRAFTS", 64)
    await warm_scorers.of(Base()).start()
    async with opened(workspace, (80, 24), warm_scorers) as screen:
        with silent_scorers():
            dialog = await open_drafts(screen)
            await screen.pilot.press("escape")
            await until(screen.pilot, lambda: "cancelled" in status(screen))
        assert len(dialog.session.ranking.candidates) == 2
        await screen.pilot.press("r", "s")
        assert screen.pilot.app.screen is dialog
        # A newer request takes the place of the older: only the answers of the last one count.
        await screen.pilot.press("t", "t")
        # The older one may have been answered in full before the second key.
        await until(screen.pilot, lambda: [draft.count for draft in dialog.session.ranking.candidates[2:]] == [1])
        assert "greedy" in status(screen)

        # What was ranked is not thrown away unasked.
        await screen.pilot.press("down", "1", "escape")
        await until(screen.pilot, lambda: isinstance(screen.pilot.app.screen, ConfirmDialog))
        await screen.pilot.press("n")
        await until(screen.pilot, lambda: screen.pilot.app.screen is dialog)
        assert dialog.session.ranking.order == (1, 0)

        # A closed dialog gives its request up in the scorer, which lives on.
        process = dialog.session._scorer_for(dialog.session.drafter.base)._process
        assert process is not None
        with silent_scorers():
            await screen.pilot.press("t")
            await until(screen.pilot, lambda: dialog.session.waiting and len(process._open) == 1)
            dialog.dismiss(None)
            await until(screen.pilot, lambda: not process._open)
        await screen.settle()
        assert process.running
        assert len(scorers()) == 1  # the warm one
        assert saved(workspace) == [PAIR, OTHER]


async def test_a_pair_without_a_prompt_is_told(workspace: Workspace) -> None:
    write_pairs(workspace.pairs_file("mine"), [replace(PAIR, prompt=(Message("user", ""),)), OTHER])
    async with opened(workspace, (80, 24)) as screen:
        await screen.pilot.press("r")
        await until(screen.pilot, lambda: isinstance(screen.pilot.app.screen, ErrorDialog))
        assert "This pair has no prompt" in str(screen.pilot.app.screen.query(".dialog-title").first(Static).render())


async def test_hostile_drafts_change_nothing_on_the_screen(workspace: Workspace) -> None:
    hostile = "\x1b]52;c;aGk=\x07[red]x[/]\u202eabc\n\nnext"
    write_pairs(workspace.pairs_file("mine"), [replace(PAIR, rejected=(Message("assistant", hostile),))])
    async with opened(workspace, (80, 24)) as screen:
        await open_drafts(screen)
        await screen.pilot.press("down")
        shown = "\n".join(
            "".join(segment.text for segment in strip) for strip in screen.pilot.app.screen._compositor.render_strips()
        )
        assert "\x1b" not in shown
        assert "\u202e" not in shown
        assert "[red]x[/]" in shown
        assert dialog_of(screen).query_one(OptionList).option_count >= 2
