"""The command `draft`, for real on the embedded model."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.conftest import FinishedRun, workbench
from workbench.cli.draft_commands import draft
from workbench.compare.ranking import DRAFT_TOKENS, DRAFTS
from workbench.engine.scoring.generation import answers_to
from workbench.pairs.pair import Message, plain
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
    base = ["model", "quantization", "chat_template", "trust_remote_code", "allow_pickle"]
    assert list(found) == ["pair", *base, "candidates", "taken", "edited", "new"]
    assert [(each["number"], each["side"]) for each in found["candidates"][:2]] == [(1, "chosen"), (2, "rejected")]
    drafts = found["candidates"][2:]
    assert sum(each["count"] for each in drafts) == 4
    assert {each["by"] for each in drafts} == {"tiny"}
    assert (found["model"], found["quantization"]) == ("tiny", "nf4")
    assert load_pairs(file)[0] == before

    # The same drafts, and the pair by its number in the file: the commonest is the first of them.
    saved = workbench(workspace, "draft", "support", "4", *asked[3:], "--as", "rejected")
    assert saved.returncode == 0, saved.stderr
    assert "p3 changed. Answer 3: the " in saved.stderr
    after = load_pairs(file)[0]
    assert plain(after[3].rejected) == drafts[0]["text"]
    assert (after[3].chosen, after[3].source) == (before[3].chosen, "drafted by tiny")
    assert after[:3] + after[4:] == before[:3] + before[4:]
    with PairStore(file) as store:
        assert store.file.turn("undo")[0].endswith("drafted answers")
        assert store.pairs[3] == before[3]


def test_a_data_set_gets_the_answers_that_it_lacks_and_goes_on_where_it_was(make_workspace: Callable[[], Path]) -> None:
    workspace = make_workspace()
    file = workspace / "pairs" / "support.jsonl"
    before = load_pairs(file)[0]
    lacking = {"p2", "p3", "p5"}
    empty = (Message("assistant", ""),)
    with PairStore(file) as store:
        store.update(lacking, lambda pair: replace(pair, rejected=empty))
        store.set_status([store.rows.row("p5")], "dropped")  # type: ignore[list-item]
    batch = ["draft", "support", "--as", "rejected", "--n", "4", "--max-new-tokens", "24", "--json"]
    first = json.loads(workbench(workspace, *batch, "--limit", "1").stdout)
    assert (first["pairs"], first["drafted"] + len(first["left"])) == (1, 1)
    rest = json.loads(workbench(workspace, *batch).stdout)
    assert rest["pairs"] == 2 - first["drafted"]
    after = {pair.id: pair for pair in load_pairs(file)[0]}
    alone = json.loads(workbench(workspace, "draft", "support", "p3", *batch[4:]).stdout)
    for identity in ("p2", "p3"):
        if identity not in {each["id"] for each in rest["left"]}:
            assert after[identity].source == "drafted by tiny"
            assert plain(after[identity].rejected).rstrip().endswith((".", "!", "?"))
    if "p3" not in {each["id"] for each in rest["left"]}:
        assert plain(after["p3"].rejected) in {each["text"] for each in alone["candidates"]}
    assert after["p5"].rejected == empty
    assert {identity: pair for identity, pair in after.items() if identity not in lacking} == {
        pair.id: pair for pair in before if pair.id not in lacking
    }
    done = workbench(workspace, *batch[:-1])
    assert "every pair of support has a rejected answer" in done.stderr or rest["left"]
    with PairStore(file) as store:
        assert store.file.turn("undo")[0].startswith("drafted answers")

    # Pairs that have the answer get another one where a filter asks for them, once.
    again = [*batch, "--filter", "refund"]
    other = json.loads(workbench(workspace, *again).stdout)
    assert other["pairs"] > 2
    assert other["commonest"] + other["likeliest"] == other["drafted"] > 0
    told = json.loads(workbench(workspace, *again).stdout)
    assert (told["pairs"], told["drafted_before"]) == (len(other["left"]), other["drafted"])
    assert json.loads(workbench(workspace, *again, "--again", "--limit", "1").stdout)["pairs"] == 1


def test_rows_without_a_rejected_answer_come_in_and_get_one(tmp_path: Path) -> None:
    questions = ("How do I get a refund?", "How do I close my account?")
    rows = [{"prompt": question, "chosen": "Gladly. We look after it at once."} for question in questions]
    (tmp_path / "x.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    imported = json.loads(workbench(tmp_path, "import", str(tmp_path / "x.jsonl"), "--json").stdout)
    assert (imported["imported"], imported["undrafted"], imported["skipped"]) == (2, 2, 0)

    def undrafted() -> int:
        (found,) = json.loads(workbench(tmp_path, "pairs", "--json").stdout)
        return int(found["undrafted"])

    assert undrafted() == 2
    refused = workbench(tmp_path, "train", "--pairs", "x", "--dry-run")
    assert (refused.returncode, "2 answers that are judged alone" in refused.stderr) == (2, True)
    nothing = workbench(tmp_path, "export", "x", "--to", str(tmp_path / "out.csv"))
    assert (nothing.returncode, "the other answers drafted" in nothing.stderr) == (2, True)
    batch = ("draft", "x", "--as", "rejected", "--n", "4", "--json")
    drafted = json.loads(workbench(tmp_path, *batch).stdout)
    assert drafted["drafted"] > 0
    assert undrafted() == 2 - drafted["drafted"]
    exported = json.loads(workbench(tmp_path, "export", "x", "--to", str(tmp_path / "out.csv"), "--json").stdout)
    assert exported["exported"] == drafted["drafted"]


def test_the_best_draft_shows_what_is_asked_for(make_workspace: Callable[[], Path]) -> None:
    workspace = make_workspace()
    (workspace / "workbench.toml").write_text("[behaviour.short]\nregexes = ['^.{1,70}$']\n", "utf-8")
    one = ["draft", "support", "p3", "--n", "6", "--seed", "5", "--json"]
    drafts = json.loads(workbench(workspace, *one).stdout)["candidates"]
    assert all(("short" in each["shows"]) == (len(each["text"]) <= 70) for each in drafts)
    told = workbench(workspace, *one, "--as", "rejected", "--showing", "short")
    if any("short" in each["shows"] and each["side"] is None for each in drafts):
        number = json.loads(told.stdout)["taken"]["number"]
        assert len(drafts[number - 1]["text"]) <= 70
    else:
        assert (told.returncode, "is not short" in told.stderr) == (2, True)
    batch = ["draft", "support", "--as", "rejected", "--filter", "refund", "--n", "4", "--limit", "3", "--json"]
    found = json.loads(workbench(workspace, *batch, "--showing", "short").stdout)
    after = {pair.id: pair for pair in load_pairs(workspace / "pairs" / "support.jsonl")[0]}
    taken = [plain(pair.rejected) for pair in after.values() if pair.source == "drafted by tiny"]
    assert all(len(text) <= 70 for text in taken)
    assert len(taken) >= found["drafted"]
    assert all("is not short" in each["reason"] for each in found["left"])
    unknown = workbench(workspace, *one, "--as", "rejected", "--showing", "shrot")
    assert (unknown.returncode, "No behaviour named 'shrot'" in unknown.stderr) == (2, True)


def test_a_batch_that_is_stopped_keeps_what_it_has(
    make_workspace: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = make_workspace()
    calls = []

    def stopped(scorer: Any, request: Any, questions: Any, heard: Any) -> Any:
        calls.append(len(questions))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return answers_to(scorer, request, questions, heard)

    monkeypatch.setattr("workbench.engine.scoring.generation.answers_to", stopped)
    monkeypatch.setattr("workbench.cli.draft_batch._ROWS_AT_ONCE", 8)
    batch = ["draft", "support", "--as", "rejected", "--n", "4", "--max-new-tokens", "24", "--filter", "", "--json"]
    done = workbench(workspace, *batch)
    assert (done.returncode, calls) == (130, [2, 2])
    found = json.loads(done.stdout)
    assert found["stopped"]
    drafted = [pair for pair in load_pairs(workspace / "pairs" / "support.jsonl")[0] if pair.source]
    assert len(drafted) == found["drafted"] == 2 - len(found["left"])


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
        (["support"], "For which pair"),
        (["support", "p3", "--as", "rejected", "--filter", "x"], "Leave out the ID"),
        (["support", "--as", "rejected", "--filter", "finding:empty"], "no filter here"),
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
