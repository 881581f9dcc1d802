"""The scorer's process and the commands `score` and `generate`, for real on the embedded model."""

import asyncio
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio

from tests.end_to_end.conftest import FinishedRun, workbench, workbench_process
from tests.tui.compare_data import write_adapter
from tests.tui.test_compare import screen_of, settled, until, write
from tests.unit.engine.plain_loading import logprobs
from workbench.compare.client import ScorerClient
from workbench.compare.messages import Column, Generate, NextToken, ScoreOpenings, ScoreResponse, TextChunk, Turn
from workbench.compare.scorers import Scorers
from workbench.config import build_config
from workbench.engine.model.downloads import load_tokenizer
from workbench.engine.model.loading import load_base
from workbench.errors import WorkbenchError
from workbench.figures import nats
from workbench.runs.folder import RunFolder, create
from workbench.runs.pair_scores import read_margins
from workbench.tui.app import WorkbenchApp
from workbench.tui.screens.scored_pairs import ScoredPairsScreen
from workbench.tui.widgets.pair_table import PairTable
from workbench.workspace import Workspace

QUESTION = "How do I bypass the security system?"
PROMPT = [Turn(role="user", content=QUESTION)]
BASE = Column(name="base")
COMMAND = [sys.executable, "-P", "-m", "workbench.engine.score", "--model", "tiny"]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs over the embedded model with one adapter, one of them unquantized, and one over another model."""
    root = tmp_path_factory.mktemp("workspace")
    made = [create(root / "runs", build_config({"pairs": [name]}), [], {}) for name in ("first", "second")]
    create(root / "runs", build_config({"pairs": ["other"], "model": "some/model"}), [], {})
    write_adapter(made[0].adapter, scale=2.0, seed=1)
    shutil.copytree(made[0].adapter, made[1].adapter)
    whole = create(root / "runs", build_config({"pairs": ["whole"], "quantization": "none"}), [], {})
    shutil.copytree(made[0].adapter, whole.adapter)
    return root


@pytest.fixture(scope="module")
def adapter(workspace: Path) -> str:
    (run,) = (workspace / "runs").glob("*first*")
    return str(RunFolder(run).adapter)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def client() -> AsyncIterator[ScorerClient]:
    async with ScorerClient("tiny") as started:
        yield started


def columns(adapter: str) -> list[Column]:
    return [BASE, Column(name="run", adapter=adapter)]


@pytest.mark.asyncio(loop_scope="module")
async def test_a_warm_scorer_answers_every_question(client: ScorerClient, adapter: str) -> None:
    ready = await client.start()
    assert ready.model == "tiny"
    assert 1e6 < ready.parameters < 1e7
    scored = await client.ask(ScoreResponse(prompt=PROMPT, response="Sure. First wait", columns=columns(adapter)))
    assert [column.name for column in scored.columns] == ["base", "run"]
    assert scored.columns[0].sum != scored.columns[1].sum
    distribution = await client.ask(NextToken(prompt=PROMPT, columns=columns(adapter), prefix="Sure. First"))
    assert any(candidate.text == " wait" for candidate in distribution.candidates)
    openings = await client.ask(
        ScoreOpenings(prompt=PROMPT, columns=columns(adapter), openings=["Sure. First wait", "Sure", "I"])
    )
    next_token = await client.ask(NextToken(prompt=PROMPT, columns=columns(adapter), top_k=1000))
    for number, opening in enumerate(openings.columns):
        first = {candidate.text: candidate.logprobs[number] for candidate in next_token.candidates}
        assert opening.sums[1:] == pytest.approx([first["Sure"], first["I"]], abs=1e-4)
        assert opening.sums[0] < opening.sums[1]
        assert opening.probability == pytest.approx(math.exp(first["Sure"]) + math.exp(first["I"]), rel=1e-4)
    pieces: list[TextChunk] = []
    whole = await client.ask(
        Generate(prompt=PROMPT, columns=columns(adapter), temperature=1.0, seed=2, max_new_tokens=20), pieces.append
    )
    for place, column in enumerate(whole.columns):
        assert "".join(piece.text for piece in pieces if piece.column == place) == column.text


@pytest.mark.asyncio(loop_scope="module")
async def test_a_score_does_not_wait_for_a_generation_and_a_cancelled_one_ends(
    client: ScorerClient, adapter: str
) -> None:
    pieces: list[TextChunk] = []
    task = asyncio.create_task(
        client.ask(
            Generate(prompt=PROMPT, columns=columns(adapter), temperature=9.0, seed=1, max_new_tokens=30000),
            pieces.append,
        )
    )
    while not pieces:
        await asyncio.sleep(0.01)
    await client.ask(ScoreResponse(prompt=PROMPT, response="Hi", columns=[BASE]))
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await client.ask(ScoreResponse(prompt=PROMPT, response="Hi", columns=[BASE]))
    count = len(pieces)
    await client.ask(ScoreResponse(prompt=PROMPT, response="Hi", columns=[BASE]))
    assert len(pieces) == count


@pytest.mark.asyncio(loop_scope="module")
async def test_a_refusal_names_the_way_out_and_the_scorer_lives_on(client: ScorerClient) -> None:
    with pytest.raises(WorkbenchError, match="No adapter there"):
        await client.ask(Generate(prompt=PROMPT, columns=[Column(name="x", adapter="/no/such/folder")]))
    assert (await client.ask(ScoreResponse(prompt=PROMPT, response="Hi", columns=[BASE]))).columns[0].tokens


@pytest.mark.asyncio(loop_scope="module")
async def test_a_killed_scorer_is_told_and_started_anew(client: ScorerClient) -> None:
    children = [child for child in psutil.Process().children() if "workbench.engine.score" in child.cmdline()]
    task = asyncio.create_task(
        client.ask(Generate(prompt=PROMPT, columns=[BASE], temperature=9.0, max_new_tokens=30000))
    )
    await asyncio.sleep(0.2)
    for child in children:  # Those that other tests keep warm are started anew too.
        child.kill()
    with pytest.raises(WorkbenchError, match="signal 9"):
        await task
    assert (await client.ask(ScoreResponse(prompt=PROMPT, response="Hi", columns=[BASE]))).columns[0].tokens


@pytest.mark.asyncio(loop_scope="module")
async def test_scores_of_held_out_pairs_are_what_the_trainer_logged(
    client: ScorerClient, finished_run: FinishedRun
) -> None:
    rows = [row for row in RunFolder(finished_run.folder).rows() if row["split"] == "holdout"]
    assert rows
    column = Column(name="run", adapter=str(finished_run.folder / "adapter"))
    for side in ("chosen", "rejected"):
        sums = []
        for row in rows:
            prompt = [Turn(**turn) for turn in row["prompt"]]
            sums.append(
                (await client.ask(ScoreResponse(prompt=prompt, response=row[side][0]["content"], columns=[column])))
                .columns[0]
                .sum
            )
        logged = finished_run.result["eval"][f"logps/{side}"]
        assert sum(sums) / len(sums) == pytest.approx(logged, abs=1e-3 * abs(logged))


class Warm(Scorers):
    """The scorer of these tests for the app of one, which leaves it running."""

    def __init__(self, client: ScorerClient) -> None:
        super().__init__()
        self._client = client

    async def close(self) -> None:
        pass


@pytest.mark.asyncio(loop_scope="module")
async def test_the_screen_shows_what_the_trainer_logged(
    client: ScorerClient, finished_run: FinishedRun, tmp_path: Path
) -> None:
    """Held-out pairs: they were last looked at under the adapter that was saved."""
    shutil.copytree(finished_run.workspace, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("checkpoints"))
    logged = {each.id: each for each in read_margins(finished_run.folder).values() if each.split == "holdout"}
    assert len(logged) > 1
    assert {each.step for each in logged.values()} == {4}
    assert len({round(each.chosen - (each.ref_chosen or 0), 3) for each in logged.values()}) > 1
    app = WorkbenchApp(Workspace.find(tmp_path))
    app.scorers = Warm(client)
    async with app.run_test(size=(160, 45)) as pilot:
        await app.compare(run=finished_run.id)
        await until(pilot, settled(pilot))
        await pilot.press("d")
        await until(pilot, lambda: isinstance(app.screen, ScoredPairsScreen))
        table = app.screen
        assert isinstance(table, ScoredPairsScreen)
        await until(pilot, lambda: logged.keys() <= table.scoring.scores.keys() and not table.scoring.running)
        for identity, score in logged.items():
            row = table.scoring.scores[identity]
            shown = [each.sum for side in (row.chosen, row.rejected) for each in side]
            told = [score.ref_chosen, score.chosen, score.ref_rejected, score.rejected]
            assert shown == pytest.approx(told, abs=1e-4)

        # One of them opened: the numbers, and what is to be read of them.
        score = next(iter(logged.values()))
        await pilot.press("slash")
        await write(pilot, f'"{case_of(finished_run, score.id)}"')
        await until(pilot, lambda: table.query_one(PairTable).count == 1)
        await pilot.press("enter", "enter")
        screen = screen_of(pilot)
        await until(pilot, lambda: screen.comparison.preference is not None and not screen.comparison.unscored())
        rejected, chosen = screen.comparison.shown
        for answer, told in (
            (chosen, (score.ref_chosen, score.chosen)),
            (rejected, (score.ref_rejected, score.rejected)),
        ):
            sums = [each.sum for each in screen.comparison.scores(answer) if each is not None]
            assert sums == pytest.approx(told, abs=1e-4)
            await until(pilot, lambda told=told: f"sum {' → '.join(map(nats, told))}" in seen(app))
        preference = screen.comparison.preference
        assert preference is not None
        assert preference.implicit == pytest.approx(1 / (1 + math.exp(-score.margin)), abs=1e-4)


def case_of(run: FinishedRun, identity: str) -> str:
    """What begins the prompt of one pair alone."""
    (prompt,) = [row["prompt"][0]["content"] for row in RunFolder(run.folder).rows() if row["id"] == identity]
    return str(prompt).partition(" what")[0]


def seen(app: WorkbenchApp) -> str:
    """What is on the screen."""
    strips = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip) for strip in strips)


async def test_a_model_that_is_not_there_is_refused() -> None:
    with pytest.raises(WorkbenchError, match="No such model"):
        async with ScorerClient("/no/such/model"):
            pass


def test_lines_in_are_answered_and_nothing_else_goes_to_stdout() -> None:
    requests: list[Any] = [
        {"op": "score", "id": 1, "prompt": "Once", "response": " more", "columns": [{"name": "base"}]},
        {"op": "score", "id": 2, "prompt": "Once"},
        {"op": "dance", "id": 3},
        "not JSON",
        {"op": "generate", "id": 5, "prompt": "Hi", "columns": [{"name": "base"}], "max_new_tokens": 2},
    ]
    lines = "".join((each if isinstance(each, str) else json.dumps(each)) + "\n" for each in requests)
    done = subprocess.run(COMMAND, input=lines, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    replies = [json.loads(line) for line in done.stdout.splitlines()]
    assert replies[0]["kind"] == "ready"
    kinds = {(reply["kind"], reply["id"]) for reply in replies[1:]}
    assert kinds == {("scored", 1), ("refused", 2), ("refused", 3), ("refused", 0), ("chunk", 5), ("generated", 5)}


@pytest.fixture
def orphan() -> Iterator[psutil.Process]:
    """A scorer whose parent was killed while it loads the model."""
    script = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen({COMMAND!r}, stdin=subprocess.PIPE, stdout=subprocess.PIPE)\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        time.sleep(0.5)
        os.kill(parent.pid, signal.SIGKILL)
        yield child
    if child.is_running():
        child.kill()


def test_it_does_not_outlive_its_parent(orphan: psutil.Process) -> None:
    deadline = time.monotonic() + 60  # It imports torch first, on a machine that may be busy.
    while orphan.is_running() and orphan.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "the scorer is still there"
        time.sleep(0.1)


_TOKEN = ["id", "text", "logprob", "rank", "top", "data", "special", "entropy", "kl", "shift_rank"]


def test_score_prints_one_json_document(workspace: Path) -> None:
    done = workbench_process(
        workspace, "score", "--prompt", QUESTION, "--response", "Sure.", "--run", "first-dpo", "--run", "second-dpo",
        "--top-k", "3", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["model"], document["quantization"]) == ("tiny", "nf4")
    found = document["columns"]
    keys = ["name", "sum", "mean", "probability", "perplexity", "prompt_tokens", "tokens"]
    assert [list(column) for column in found] == [keys] * 3
    assert found[0]["name"] == "base"
    assert found[1]["name"].endswith("first-dpo")
    for column in found:
        assert [list(token) for token in column["tokens"]] == [_TOKEN] * 3
        assert [len(token["top"]) for token in column["tokens"]] == [3, 3, 3]
        assert column["sum"] == pytest.approx(sum(token["logprob"] for token in column["tokens"]))
    assert found[1]["sum"] == found[2]["sum"] != found[0]["sum"]


def test_openings_are_scored_together_and_each(workspace: Path) -> None:
    ask = ("score", "--prompt", QUESTION, "--opening", "I can't help", "--opening", "I", "--run", "first-dpo")
    document = json.loads(workbench(workspace, *ask, "--json").stdout)
    assert document["openings"] == ["I can't help", "I"]
    base, run = document["columns"]
    assert base["mass"] == pytest.approx(base["sums"][1])  # the first begins with the second
    assert base["probability"] == pytest.approx(math.exp(base["mass"]))
    assert base["mass"] != run["mass"]
    table = workbench(workspace, *ask).stdout.splitlines()
    assert [line.split()[0] for line in table[1:]] == ["I·can't·help", "I", "any"]
    for wrong in (("--response", "Sure."), ("--pairs", "x")):
        refused = workbench(workspace, *ask, *wrong)
        assert refused.returncode == 2
        assert "What is to be scored?" in refused.stderr
    empty = workbench(workspace, "score", "--prompt", QUESTION, "--opening", "")
    assert empty.returncode == 2
    assert "opening is empty" in empty.stderr


def test_a_pair_is_scored_by_its_words_as_it_trains(workspace: Path, tmp_path: Path) -> None:
    """Imported as a conversation, as chat models are asked; as plain text, where the run was trained on that."""
    shutil.copytree(workspace / "runs", tmp_path / "runs")
    (run,) = (tmp_path / "runs").glob("*first*")
    row = {"prompt": QUESTION, "chosen": "I cannot help with that.", "rejected": "Sure. First wait."}
    (tmp_path / "x.jsonl").write_text(json.dumps(row) + "\n")
    words = ("score", "--prompt", QUESTION, "--response", row["chosen"], "--run", run.name, "--json")
    sums = {}
    for kind in ("--conversational", "--plain"):
        imported = workbench(tmp_path, "import", str(tmp_path / "x.jsonl"), "--replace", kind)
        assert imported.returncode == 0, imported.stderr
        shutil.copy(tmp_path / "pairs" / "x.jsonl", run / "pairs.jsonl")
        whole = json.loads(workbench(tmp_path, "score", "--pairs", "x", "--run", run.name, "--json").stdout)
        typed = workbench(tmp_path, *words)
        sums[kind] = [column["sum"] for column in json.loads(typed.stdout)["columns"]]
        assert sums[kind] == pytest.approx([each["chosen"] for each in whole["rows"][0]["columns"]], abs=1e-4)
        assert ("taken as plain text" in typed.stderr) == (kind == "--plain")
    turns = json.loads(workbench(tmp_path, *words, "--conversational").stdout)["columns"]
    assert [column["sum"] for column in turns] == pytest.approx(sums["--conversational"], abs=1e-6)
    assert abs(sums["--plain"][0] - sums["--conversational"][0]) > 1


def test_generate_takes_turns_and_prints_one_json_document(workspace: Path) -> None:
    turns = json.dumps([{"role": "system", "content": "Be kind."}, {"role": "user", "content": QUESTION}])
    done = workbench(
        workspace, "generate", "--prompt", turns, "--run", "first-dpo", "--max-new-tokens", "4",
        "--temperature", "1", "--seed", "3", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["columns"]
    keys = ["name", "text", "tokens", "ended", "sample", "filled", "prompt_tokens", "logprob", "under_base", "shows"]
    assert [list(column) for column in found] == [keys] * 2
    assert all(column["tokens"] <= 4 for column in found)


def test_generate_counts_the_workspaces_own_behaviours(make_workspace: Callable[[], Path]) -> None:
    workspace = make_workspace()
    (workspace / "told.py").write_text("def odd(prompt, answer): return len(answer) % 2 == 1\n", "utf-8")
    (workspace / "workbench.toml").write_text(
        """
        [behaviour.odd]
        function = "told.py:odd"
        [behaviour.even]
        unless = ["odd"]
        """,
        "utf-8",
    )
    asked = ("generate", "--prompt", QUESTION, "--temperature", "1", "--samples", "5", "--max-new-tokens", "9")
    found = json.loads(workbench(workspace, *asked, "--json").stdout)
    for answer in found["columns"]:
        assert ("odd" in answer["shows"]) == (len(answer["text"]) % 2 == 1)
        assert ("even" in answer["shows"]) == (len(answer["text"]) % 2 == 0)
        assert ("cut" in answer["shows"]) == (not answer["ended"])
    odd = sum(len(answer["text"]) % 2 for answer in found["columns"])
    assert found["shares"]["base"].get("odd", 0) == odd / 5
    assert f"{odd} of 5" in workbench(workspace, *asked).stdout
    (workspace / "workbench.toml").write_text("[behaviour.odd]\nfunctio = 1\n", "utf-8")
    wrong = workbench(workspace, *asked)
    assert (wrong.returncode, "Did you mean 'function'" in wrong.stderr) == (2, True)


def test_runs_of_differently_held_weights_answer_on_one_base(workspace: Path) -> None:
    """What transformers says of the base is what `score` does, whatever the runs were trained on."""
    asked = ["score", "--prompt", QUESTION, "--response", "Sure.", "--run", "first-dpo", "--run", "whole-dpo"]
    refused = workbench(workspace, *asked, "--json")
    assert refused.returncode == 2
    assert "The runs were trained on differently held weights" in refused.stderr
    assert "--quantization" in refused.stderr

    found = {}
    for quantization in ("none", "int8", "nf4"):
        done = workbench(workspace, *asked, "--quantization", quantization, "--json")
        assert done.returncode == 0, done.stderr
        document = json.loads(done.stdout)
        assert document["quantization"] == quantization
        base, first, whole = (column["sum"] for column in document["columns"])
        assert first == whole != base
        found[quantization] = base
        assert "Trained on weights held as" in done.stderr
    assert len(set(found.values())) == 3
    tokenizer, model = load_tokenizer("tiny"), load_base("tiny", "none", device="cpu")
    turns = [{"role": "user", "content": QUESTION}]
    assert found["none"] == pytest.approx(sum(logprobs(model, tokenizer, turns, "Sure.")), abs=1e-4)


def test_what_answers_is_held_as_the_runs_were_or_as_is_asked(workspace: Path) -> None:
    asked = ["generate", "--prompt", QUESTION, "--max-new-tokens", "2", "--json"]
    for given, held in ((["--run", "whole-dpo"], "none"), ([], "nf4"), (["--quantization", "none"], "none")):
        done = workbench(workspace, *asked, *given)
        assert json.loads(done.stdout)["quantization"] == held
        assert f"Loading tiny ({held})" in done.stderr
        assert "Trained on" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["score", "--prompt", "x", "--response", "y", "--run", "first", "--run", "other"], "different bases"),
        (["score", "--prompt", "x", "--response", "y", "--run", "nope"], "No run 'nope'"),
        (["score", "--prompt", "x", "--response", "y", "--run", "dpo"], "several runs match"),
        (["score", "--prompt", '[{"role": "user"}]', "--response", "y"], "Not a conversation"),
        (["generate", "--prompt", "x", "--temperature", "-1"], "temperature"),
    ],
)
def test_wrong_input_ends_with_2_and_is_told(workspace: Path, arguments: list[str], told: str) -> None:
    names = {"first": "first-dpo", "other": "other-dpo"}
    done = workbench(workspace, *(names.get(argument, argument) for argument in arguments))
    assert done.returncode == 2
    assert told in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
