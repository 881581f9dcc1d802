"""A run's `chat_template` setting: a model without a template is trained and asked in the one that was chosen."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.conftest import workbench, write_pairs
from workbench.chat_templates import read_template, template_file, template_names
from workbench.compare.messages import Column, ScoreResponse, Turn
from workbench.compare.scorers import Base, Scorers
from workbench.config import build_config
from workbench.engine.model.downloads import load_tokenizer
from workbench.errors import WorkbenchError
from workbench.launch import prepare
from workbench.runs.folder import RunFolder
from workbench.tiny import WEIGHTS
from workbench.workspace import Workspace

TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>(kindly) {{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>(kindly) {% endif %}"
)
ASKED = ("score", "--prompt", "What about my card?", "--response", "Gladly.", "--json")


def model_with(folder: Path, template: str | None) -> str:
    shutil.copytree(WEIGHTS, folder)
    (folder / "chat_template.jinja").unlink()
    if template is not None:
        (folder / "chat_template.jinja").write_text(template)
    return str(folder)


def train(workspace: Path, model: str, *more: str) -> str:
    wanted = ("max_steps=1", "batch_size=4", "sample_tokens=0", "lora_r=4", *more)
    settings = [word for setting in wanted for word in ("--set", setting)]
    done = workbench(workspace, "train", "--pairs", "x", "--model", model, *settings, "--wait", "--json")
    assert done.returncode == 0, done.stderr
    return str(json.loads(done.stdout)["id"])


def columns(workspace: Path, *asked: str) -> list[dict[str, Any]]:
    done = workbench(workspace, *ASKED, *asked)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)["columns"]
    return found


def test_a_chosen_template_is_the_one_in_which_the_run_trains_and_is_asked(tmp_path: Path) -> None:
    bare, own = model_with(tmp_path / "bare", None), model_with(tmp_path / "own", TEMPLATE)
    chosen = tmp_path / "kind.jinja"
    chosen.write_text(TEMPLATE)
    write_pairs(tmp_path / "pairs" / "x.jsonl", 12)
    dry = ("train", "--pairs", "x", "--model", bare, "--dry-run", "--set", "max_steps=1")
    done = workbench(tmp_path, *dry)
    assert done.returncode == 0, done.stderr
    told = " ".join(done.stdout.split())
    assert "no chat template: turns are written as “User: …” and “Assistant: …”. To train in another, choose" in told
    assert "--set chat_template=FILE" in told
    done = workbench(tmp_path, *dry, "--set", f"chat_template={chosen}", "--json")
    assert json.loads(done.stdout)["counts"]["fallback"] is False, done.stderr
    by_setting = train(tmp_path, bare, f"chat_template={chosen}")
    by_folder = train(tmp_path, own)
    chosen.unlink()  # the run has its own
    folder = tmp_path / "runs" / by_setting
    assert (folder / "chat_template.jinja").read_text() == TEMPLATE
    assert (folder / "adapter" / "chat_template.jinja").read_text() == TEMPLATE  # what is served and pushed
    # Trained and asked alike: the numbers of the base and of the run are those of the model that has the template.
    ours, theirs = (columns(tmp_path, "--run", run) for run in (by_setting, by_folder))
    assert [one["sum"] for one in ours] == [one["sum"] for one in theirs]
    assert ours[0]["sum"] != columns(tmp_path, "--model", bare)[0]["sum"]
    # Side by side with a run in another template no number would mean anything.
    shutil.copytree(folder, tmp_path / "runs" / "plain")
    record = (folder / "run.toml").read_text().replace(f'chat_template = "{chosen}"', 'chat_template = ""')
    (tmp_path / "runs" / "plain" / "run.toml").write_text(record)
    RunFolder(tmp_path / "runs" / "plain").sign()
    done = workbench(tmp_path, *ASKED, "--run", by_setting, "--run", "plain")
    assert done.returncode == 2
    assert "different chat templates" in done.stderr
    # What goes on from it goes on in its template.
    later, _ = prepare(Workspace.find(tmp_path), build_config({"pairs": ["x"], "model": bare, "adapter": by_setting}))
    assert read_template(template_file(later.chat_template)) == TEMPLATE
    done = workbench(tmp_path, "merge", by_setting, "--to", str(tmp_path / "merged"))
    assert done.returncode == 0, done.stderr
    assert load_tokenizer(str(tmp_path / "merged")).chat_template == TEMPLATE


async def test_the_scorer_of_compare_asks_in_the_template_of_the_base(tmp_path: Path) -> None:
    asked = ScoreResponse(
        columns=[Column(name="base")], prompt=[Turn(role="user", content="What about my card?")], response="Gladly."
    )
    scorers, sums = Scorers(), []
    for model, template in (
        (model_with(tmp_path / "bare", None), TEMPLATE),
        (model_with(tmp_path / "o", TEMPLATE), ""),
    ):
        client = scorers.of(Base(model, "none", template))
        assert scorers.of(Base(model, "none", template)) is client
        sums.append((await client.ask(asked)).columns[0].sum)
    assert sums[0] == sums[1]
    assert scorers.of(Base(model, "none", TEMPLATE)) is not client
    await scorers.close()


def test_check_counts_in_the_template_in_which_a_run_trains(tmp_path: Path) -> None:
    bare = model_with(tmp_path / "bare", None)
    chosen = tmp_path / "kind.jinja"
    chosen.write_text(TEMPLATE)
    write_pairs(tmp_path / "pairs" / "x.jsonl", 12)

    def counts(*more: str) -> tuple[dict[str, Any], dict[str, Any]]:
        checked = workbench(tmp_path, "check", "x", "--model", bare, "--json", *more)
        assert checked.returncode in (0, 1), checked.stderr
        tried = workbench(tmp_path, "train", "--pairs", "x", "--model", bare, "--dry-run", "--json", *more)
        assert tried.returncode == 0, tried.stderr
        report = json.loads(checked.stdout)
        return {each["check"]: each for each in report["findings"]}, json.loads(tried.stdout)["counts"]

    findings, tried = counts()
    assert ("fallback-template" in findings, tried["fallback"]) == (True, True)
    findings, tried = counts("--set", f"chat_template={chosen}")
    assert ("fallback-template" in findings, tried["fallback"]) == (False, False)
    findings, tried = counts("--set", f"chat_template={chosen}", "--set", "template.mood=kind")
    assert "mood of chat_template_kwargs" in findings["left-out"]["message"]
    assert f"The chat template {chosen} leaves out fields of" in findings["left-out"]["message"]
    for more, said in (
        (["--set", "chat_template=qwen3"], "--set needs a model"),
        (["--model", bare, "--set", "beta=1"], "'beta' does not say how turns are rendered"),
        (["--model", bare, "--set", "chat_template=nowhere"], "No such chat template"),
        (["--model", bare, "--set", "template.tokenize=false"], "cannot set 'tokenize'"),
    ):
        refused = workbench(tmp_path, "check", "x", *more)
        assert (refused.returncode, said in " ".join(refused.stderr.split())) == (2, True), refused.stderr


def test_a_template_that_is_not_there_is_refused_before_anything_starts(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs" / "x.jsonl", 4)
    for named, said in (("nowhere.jinja", "neither a file nor"), (str(WEIGHTS / "model.safetensors"), "bytes")):
        done = workbench(tmp_path, "train", "--pairs", "x", "--set", f"chat_template={named}")
        assert done.returncode == 2
        assert said in " ".join(done.stderr.split())
    assert not list(tmp_path.glob("runs/*"))


def test_templates_of_trl_have_names() -> None:
    assert {"qwen3", "llama3", "gemma", "qwen2_5"} <= set(template_names())
    assert "<|im_start|>" in read_template(template_file("qwen2_5"))
    with pytest.raises(WorkbenchError, match="No such chat template"):
        template_file("../README")
