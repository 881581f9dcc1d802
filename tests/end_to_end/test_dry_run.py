"""train --dry-run: what is said before anything starts, from real steps of the embedded model."""

import json
import re
import shutil
import signal
import subprocess
import sys
import tomllib

import psutil
import pytest

from tests.end_to_end.conftest import workbench, write_pairs
from workbench.config import build_config
from workbench.pairs.store import PairStore
from workbench.runs import lease
from workbench.runs.folder import RunFolder
from workbench.tiny import WEIGHTS


def test_a_dry_run_measures_and_starts_nothing(make_workspace):
    workspace = make_workspace()
    settings = ["--set", "max_length=32", "--set", "batch_size=8", "--set", "gradient_accumulation=2"]
    done = workbench(workspace, "train", "--pairs", "support", *settings, "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert not list((workspace / "runs").glob("*"))
    assert found["fits"] is True
    counts = found["counts"]
    assert counts["train"] + counts["holdout"] + counts["dropped"] == 40
    assert found["rows"]["unusable"] == 0
    assert 0 < counts["mean"] <= counts["p95"] <= counts["longest"] <= 32
    assert found["steps"] == -(-counts["train"] // 8)
    measured = found["measured"]
    assert measured["seconds"] > 0
    assert measured["reference_seconds"] > 0
    # By tokens: those of the run beside those that were measured; two passes a step, for its two parts.
    more = measured["pass_tokens"]
    times = (counts["tokens"] + 2 * found["steps"] * more) / (measured["tokens"] + measured["passes"] * more)
    seconds = times * (measured["seconds"] + measured["reference_seconds"])
    assert found["step_seconds"] == pytest.approx(seconds / found["steps"])
    assert found["seconds"] > found["steps"] * found["step_seconds"]
    assert measured["cores"] >= 1
    assert measured["load"] >= 0
    assert {"loading the model …", "measuring a step: 1 of 4 …"} <= set(done.stderr.splitlines())
    memory = found["memory"]
    assert memory["needed"] > 10**8
    # The embedded model is so small that this is Python and torch, most of it.
    assert memory["estimate"] == pytest.approx(memory["needed"], rel=0.4)
    assert {"weights in 4 bits", "adapter", "optimizer", "activations", "logits", "reference pass"} <= {
        part["name"] for part in memory["parts"]
    }
    assert found["disk"]["checkpoints"] > found["disk"]["adapter"] > 0
    config = build_config(tomllib.loads(found["toml"]))
    assert (config.pairs, config.max_length, config.gradient_accumulation) == (["support"], 32, 2)


def test_two_pairs_are_measured_and_what_they_cannot_do_is_said(tmp_path):
    write_pairs(tmp_path / "pairs" / "two.jsonl", 2)
    done = workbench(tmp_path, "train", "--pairs", "two", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "1 train · 1 held out" in done.stdout
    assert "▲ 1 step of 1 pair is too few to learn anything. This would do: --set epochs=10" in done.stdout
    assert "▲ One prompt is held out" in done.stdout
    assert "(measured" in done.stdout
    assert ("In brackets: not at the same moment" in done.stdout) == bool(re.search(r"  \(\d", done.stdout))


@pytest.mark.slow
def test_ctrl_c_ends_the_measuring(make_workspace):
    command = [sys.executable, "-m", "workbench", "--workspace", str(make_workspace()), "train"]
    with subprocess.Popen([*command, "--pairs", "support", "--dry-run"], stderr=subprocess.PIPE, text=True) as dry:
        assert dry.stderr is not None
        assert any("loading the libraries" in line for line in dry.stderr)
        (measuring,) = psutil.Process(dry.pid).children()
        dry.send_signal(signal.SIGINT)
        assert dry.wait(60) == 130
    assert not measuring.is_running()


def test_while_a_run_has_the_device_nothing_is_measured(finished_run, tmp_path):
    with lease.DeviceTurn(RunFolder(tmp_path)) as turn:
        assert turn.poll()
        done = workbench(finished_run.workspace, "train", "--pairs", "support", "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["measured"] is None
    assert "Another run has the device" in found["unmeasured"]["reason"]
    assert found["unmeasured"]["run"] == finished_run.id
    assert found["seconds"] > 0
    assert found["memory"]["needed"] == found["memory"]["estimate"]


def test_plain_text_beside_a_chat_template_is_said_and_converted(tmp_path):
    rows = "".join(
        json.dumps({"prompt": f"Case {number}: how is it?", "chosen": f"Well, {number}.", "rejected": "Bad."}) + "\n"
        for number in range(12)
    )
    (tmp_path / "x.jsonl").write_text(rows)
    assert workbench(tmp_path, "import", str(tmp_path / "x.jsonl"), "--plain").returncode == 0
    asked = ("train", "--pairs", "x", "--dry-run")
    with lease.DeviceTurn(RunFolder(tmp_path)) as turn:
        assert turn.poll()
        told = workbench(tmp_path, *asked).stdout
        assert "12 pairs are plain text: trained without the model's chat template" in told
        assert "workbench check x --model tiny --fix plain-text" in told
        assert workbench(tmp_path, "check", "x", "--fix", "plain-text").returncode == 2
        fixed = workbench(tmp_path, "check", "x", "--model", "tiny", "--fix", "plain-text", "--yes", "--json")
        assert json.loads(fixed.stdout) == {"check": "plain-text", "changed": 12}
        assert json.loads(workbench(tmp_path, *asked, "--json").stdout)["counts"]["raw"] == 0
    with PairStore(tmp_path / "pairs" / "x.jsonl") as store:
        assert store.rows.conversational
        assert store.file.turn("undo")[0] == "make conversations of plain text (12 pairs)"
        assert not store.rows.conversational


def test_what_does_not_fit_is_said(make_workspace, tmp_path):
    workspace, model = make_workspace(), tmp_path / "large"
    shutil.copytree(WEIGHTS, model, ignore=shutil.ignore_patterns("*.safetensors"))
    config = json.loads((model / "config.json").read_text())
    large = {"hidden_size": 65536, "num_attention_heads": 2048, "num_key_value_heads": 2048, "num_hidden_layers": 300}
    (model / "config.json").write_text(json.dumps(config | large))
    done = workbench(workspace, "train", "--pairs", "support", "--model", str(model), "--dry-run")
    assert done.returncode == 1
    assert "✘ does not fit" in done.stdout
    assert "It would not fit, so no step was tried." in done.stdout
    assert 'pairs = ["support"]' in done.stdout
    missing = workbench(workspace, "train", "--pairs", "nothing", "--dry-run")
    assert missing.returncode == 2
    assert "nothing" in missing.stderr
