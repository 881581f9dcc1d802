"""A run's `template` setting: what the chat template is given where it trains, and where it is asked later."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.end_to_end.conftest import workbench, write_pairs
from workbench.cli.compare_columns import columns_of
from workbench.compare.tuned_runs import settings_told
from workbench.config import build_config
from workbench.engine.model.downloads import load_tokenizer
from workbench.engine.training.data import prepare
from workbench.launch import take_rows
from workbench.runs.folder import create
from workbench.tiny import WEIGHTS
from workbench.workspace import Workspace

TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% if mood %}{{ mood }} {% endif %}{% endif %}"
)


def test_a_setting_of_the_run_is_in_its_rows_and_a_pairs_own_comes_first(tmp_path: Path) -> None:
    path = tmp_path / "pairs" / "x.jsonl"
    write_pairs(path, 4)
    lines = path.read_text().splitlines()
    own = json.loads(lines[1]) | {"chat_template_kwargs": {"mood": "glum"}, "split": "train"}
    path.write_text("\n".join([lines[0], json.dumps(own), *lines[2:]]) + "\n")
    config = build_config({"pairs": ["x"], "holdout": 0}, settings=["template.mood=merry", "template.n=1"])
    taken = list(take_rows(Workspace.find(tmp_path), config).lines())
    assert all(line.count(b"\n") == 1 for line in taken)
    rows = {row["id"]: row for row in map(json.loads, taken)}
    assert rows["p0"]["chat_template_kwargs"] == {"mood": "merry", "n": 1}
    assert rows["p1"]["chat_template_kwargs"] == {"mood": "glum", "n": 1}
    tokenizer = load_tokenizer("tiny")
    tokenizer.chat_template = TEMPLATE
    # Rows with settings are tokenized together, by the setting: the ids are those of each alone.
    ids = prepare(tokenizer, list(rows.values()), 1000).train
    assert [tokenizer.decode(each.prompt).split("<|assistant|>")[1] for each in ids] == [""] * 4
    tokenizer.chat_template = "{{ mood }}" + TEMPLATE.replace("{{ mood }} ", "")
    moods = [
        tokenizer.decode(each.prompt).split("<|")[0] for each in prepare(tokenizer, list(rows.values()), 1000).train
    ]
    assert sorted(moods) == ["glum", "merry", "merry", "merry"]


def test_what_a_run_was_trained_with_is_what_it_is_asked_with(tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(WEIGHTS, model)
    (model / "chat_template.jinja").write_text("{{ mood }}" + TEMPLATE.replace("{{ mood }} ", ""))
    write_pairs(tmp_path / "pairs" / "x.jsonl", 12)
    wanted = ("max_steps=1", "batch_size=4", "template.mood=merry", "sample_tokens=0")
    settings = [word for setting in wanted for word in ("--set", setting)]
    done = workbench(tmp_path, "train", "--pairs", "x", "--model", str(model), *settings, "--wait", "--json")
    assert done.returncode == 0, done.stderr
    run = json.loads(done.stdout)["id"]
    asked = ["score", "--prompt", "What about my card?", "--response", "Gladly.", "--json"]
    of_run = json.loads(workbench(tmp_path, *asked, "--run", run).stdout)["columns"]
    of_base = json.loads(workbench(tmp_path, *asked, "--model", str(model)).stdout)["columns"]
    assert [column["name"] for column in of_run] == ["base", run]
    assert of_run[0]["sum"] != of_base[0]["sum"], "the base is asked as the run was trained"
    typed = '[{"role": "user", "content": "What about my card?"}]'
    assert json.loads(workbench(tmp_path, *asked[:2], typed, *asked[3:], "--run", run).stdout)["columns"] == of_run


def test_the_heading_of_the_base_says_what_it_is_asked_with_where_runs_differ(tmp_path: Path) -> None:
    workspace = Workspace.find(tmp_path)
    runs = [
        create(workspace.runs, build_config({"pairs": ["x"], "template": given}), [], {}).id
        for given in ({"mood": "merry", "deep": False}, {"mood": "merry", "deep": False}, {})
    ]
    columns = columns_of(workspace, runs[:2], None)[1]
    assert [column.name for column in columns] == ["base", *runs[:2]]
    assert [settings_told(column, columns) for column in columns] == [""] * 3
    columns = columns_of(workspace, runs[1:], None, system_column="Be brief.")[1]
    told = "base, no template settings"
    assert [column.name for column in columns] == [told, *runs[1:], f"base + system{told[4:]}"]
    assert settings_told(columns[1], columns) == "mood=merry, deep=false"
