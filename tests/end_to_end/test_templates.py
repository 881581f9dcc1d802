"""Models whose chat template or tokenizer does not suit the pairs: told before a run starts, with file and line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.conftest import workbench, workbench_process
from workbench.tiny import WEIGHTS

TURNS = "{% for m in messages %}<|{{ m.role }}|>{{ CONTENT }}<|end|>{% endfor %}"
ASKS = "{% if add_generation_prompt %}<|assistant|>{% endif %}"
NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no system turns here') }}{% endif %}"
NO_THINK = TURNS.replace("CONTENT", "m.content.split('</think>')[-1] | trim") + ASKS
ENDLESS = "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}{% endfor %}{% endfor %}"


def model_with(folder: Path, template: str) -> str:
    """The embedded model under another chat template."""
    shutil.copytree(WEIGHTS, folder)
    (folder / "chat_template.jinja").write_text(template)
    return str(folder)


def data_set(workspace: Path, *rows: dict[str, Any]) -> None:
    source = workspace / "x.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = workbench(workspace, "import", str(source))
    assert done.returncode == 0, done.stderr


def pair(prompt: list[dict[str, str]], chosen: str, rejected: str) -> dict[str, Any]:
    answers = {
        side: [{"role": "assistant", "content": text}] for side, text in (("chosen", chosen), ("rejected", rejected))
    }
    return {"prompt": prompt, **answers}


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def test_a_refused_pair_is_named_by_its_own_file_and_line(tmp_path: Path) -> None:
    model = model_with(tmp_path / "model", NO_SYSTEM + TURNS.replace("CONTENT", "m.content") + ASKS)
    system = {"role": "system", "content": "Be brief."}
    rows = [
        pair([*([system] if number == 7 else []), user(f"Name metal {number}.")], f"Iron {number}.", f"Wood {number}.")
        for number in range(12)
    ]
    data_set(tmp_path, *rows)
    eighth = json.loads((tmp_path / "pairs" / "x.jsonl").read_text().splitlines()[7])["id"]
    done = workbench(tmp_path, "train", "--pairs", "x", "--model", model, "--dry-run")
    assert done.returncode == 2
    assert f"pairs/x.jsonl, line 8 (pair {eighth})" in " ".join(done.stderr.split())
    assert "no system turns here" in done.stderr


def test_reasoning_that_a_template_strips_is_told_as_the_cause(tmp_path: Path) -> None:
    model = model_with(tmp_path / "model", NO_THINK)
    rows = [
        pair(
            [user(f"{n}+{n}?")],
            f"<think>\ncareful {n}\n</think>\n\n{2 * n}",
            f"<think>\nsloppy {n}\n</think>\n\n{2 * n}",
        )
        for n in range(12)
    ]
    data_set(tmp_path, *rows)
    done = workbench(tmp_path, "check", "x", "--model", model, "--json")
    assert done.returncode == 1
    found = {finding["check"]: finding for finding in json.loads(done.stdout)["findings"]}
    same = found["identical-rendered"]
    assert (same["count"], same["repair"]) == (12, False)
    assert "leaves out <think> in the text (12)" in same["message"]
    assert "identical-cut" not in found
    assert "max_length" not in json.dumps([found["identical-rendered"], found["left-out"]])
    done = workbench(tmp_path, "train", "--pairs", "x", "--model", model, "--dry-run")
    told = " ".join(done.stdout.split())
    assert "The chat template leaves out part of 12 of 12 pairs looked at: <think> in the text (12)." in told


@pytest.mark.slow
def test_tokens_beyond_the_embedding_are_told_before_the_start(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model_with(model, TURNS.replace("CONTENT", "m.content") + "[PAD]" + ASKS)
    tokenizer = json.loads((model / "tokenizer.json").read_text())
    added = {"id": 1536, "content": "[PAD]", "single_word": False, "lstrip": False, "rstrip": False}
    tokenizer["added_tokens"].append(added | {"normalized": False, "special": True})
    (model / "tokenizer.json").write_text(json.dumps(tokenizer))
    data_set(tmp_path, *(pair([user(f"Name metal {n}.")], f"Iron {n}.", f"Wood {n}.") for n in range(4)))
    done = workbench(tmp_path, "train", "--pairs", "x", "--model", str(model), "--dry-run")
    assert done.returncode == 2
    told = " ".join(done.stderr.split())
    assert "pairs/x.jsonl, line" in told
    assert "'[PAD]' (1536); the model has 1,536 embeddings, 0 to 1,535." in told
    done = workbench(tmp_path, "check", "x", "--model", str(model), "--json")
    assert "outside" in {finding["check"] for finding in json.loads(done.stdout)["findings"]}
    done = workbench(tmp_path, "score", "--prompt", "Hi", "--response", "Hello", "--model", str(model))
    assert done.returncode == 2
    assert "'[PAD]' (1536)" in done.stderr


@pytest.mark.slow
def test_an_endless_template_hangs_no_command(tmp_path: Path) -> None:
    model = model_with(tmp_path / "model", ENDLESS + "{% endfor %}")
    data_set(tmp_path, pair([user("Name a metal.")], "Iron.", "Wood."), pair([user("And another?")], "Tin.", "Oak."))
    commands = (
        ("train", "--pairs", "x", "--model", model, "--dry-run"),
        ("check", "x", "--model", model),
        ("score", "--prompt", "Hi", "--response", "Hello", "--model", model),
    )
    for command in commands:
        done = workbench_process(tmp_path, *command, timeout=120)
        assert done.returncode in (1, 2), command
        assert "does not end" in done.stdout + done.stderr, command
