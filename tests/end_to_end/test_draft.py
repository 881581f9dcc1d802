"""The command `draft`, for real on the embedded model."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.conftest import FinishedRun, workbench
from workbench.cli.draft_commands import draft
from workbench.compare.ranking import DRAFT_TOKENS, DRAFTS
from workbench.pairs.pair import plain
from workbench.pairs.store import PairStore, load_pairs


def test_drafts_are_listed_and_saved_under_the_numbers_they_were_listed_with(
    make_workspace: Callable[[], Path],
) -> None:
    workspace = make_workspace()
    file = workspace / "pairs" / "support.jsonl"
    before = load_pairs(file)[0]
    asked = ["draft", "support", "p3", "--n", "4", "--seed", "5"]
    listed = workbench(workspace, *asked, "--json")
    assert listed.returncode == 0, listed.stderr
    found = json.loads(listed.stdout)
    assert list(found) == ["pair", "model", "quantization", "candidates", "edited", "new"]
    assert [(each["number"], each["side"]) for each in found["candidates"][:2]] == [(1, "chosen"), (2, "rejected")]
    drafts = found["candidates"][2:]
    assert sum(each["count"] for each in drafts) == 4
    assert {each["by"] for each in drafts} == {"tiny"}
    assert (found["model"], found["quantization"]) == ("tiny", "nf4")
    assert load_pairs(file)[0] == before

    # The same drafts, and the pair by its number in the file: the commonest is the first of them.
    saved = workbench(workspace, "draft", "support", "4", *asked[3:], "--as", "rejected")
    assert saved.returncode == 0, saved.stderr
    assert "p3 changed" in saved.stderr
    after = load_pairs(file)[0]
    assert plain(after[3].rejected) == drafts[0]["text"]
    assert (after[3].chosen, after[3].source) == (before[3].chosen, "drafted by tiny")
    assert after[:3] + after[4:] == before[:3] + before[4:]
    with PairStore(file) as store:
        assert store.file.turn("undo")[0].endswith("drafted answers")
        assert store.pairs[3] == before[3]


def test_drafts_of_a_run_make_a_pair_for_each(finished_run: FinishedRun, make_workspace: Callable[[], Path]) -> None:
    workspace = make_workspace()
    (workspace / "runs").symlink_to(finished_run.workspace / "runs")
    done = workbench(
        workspace, "draft", "support", "p3", "--n", "4", "--temperature", "3", "--run", finished_run.id,
        "--rank", "4,2,3", "--each", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {each["by"] for each in found["candidates"][2:]} == {finished_run.id}
    assert found["edited"] is None
    pairs = load_pairs(workspace / "pairs" / "support.jsonl")[0]
    texts = [each["text"] for each in found["candidates"]]
    assert [pair.id for pair in pairs[4:6]] == found["new"]
    assert [(plain(pair.chosen), plain(pair.rejected)) for pair in pairs[4:6]] == [
        (texts[3], texts[1]),
        (texts[3], texts[2]),
    ]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nope", "p3"], "nope"),
        (["support", "p99"], "No pair 'p99'"),
        (["support", "0"], "No pair '0'"),
        (["support", "p3", "--as", "best"], "--as rejected or --rank"),
        (["support", "p3", "--as", "chosen", "--rank", "1,2"], "--as rejected or --rank"),
        (["support", "p3", "--rank", "1"], "two different numbers"),
        (["support", "p3", "--rank", "1,1"], "two different numbers"),
        (["support", "p3", "--run", "none"], "No run 'none'"),
    ],
)
def test_wrong_input_ends_with_2_before_a_model_is_loaded(
    make_workspace: Callable[[], Path], arguments: list[str], told: str
) -> None:
    done = workbench(make_workspace(), "draft", *arguments)
    assert done.returncode == 2
    assert told in done.stderr
    assert "Loading" not in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_the_command_asks_for_what_the_dialog_asks_for() -> None:
    defaults = {name: each.default for name, each in inspect.signature(draft).parameters.items()}
    assert (defaults["count"], defaults["max_new_tokens"]) == (DRAFTS, DRAFT_TOKENS)
