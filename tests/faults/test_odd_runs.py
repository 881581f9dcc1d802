"""Runs that cannot learn, and workspaces that are not as one expects: told, and nothing else is harmed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.conftest import FinishedRun, workbench, workbench_process, write_pairs
from tests.faults.table import FaultTable
from workbench.runs.events import EventReader, Warned
from workbench.runs.folder import RunFolder

QUICK = ("--set=batch_size=8", "--set=learning_rate=1e-3", "--set=lora_r=4", "--set=sample_tokens=0")


def told(workspace: Path, *arguments: str, works: bool = False) -> str:
    """What a command says; it may refuse, but in words."""
    done = workbench(workspace, *arguments)
    said = done.stdout + done.stderr
    assert "Traceback" not in said, said
    assert done.returncode == 0 if works else done.returncode in (1, 2), said
    assert said.strip()
    return said


def rewrite(workspace: Path, **fields: object) -> None:
    path = workspace / "pairs" / "support.jsonl"
    rows = [json.loads(line) | fields for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def train(workspace: Path, *settings: str) -> RunFolder:
    given = ["train", "--pairs=support", *QUICK, *settings, "--wait", "--json"]
    done = workbench_process(workspace, *given)
    assert done.returncode == 0, done.stderr
    return RunFolder(workspace / "runs" / json.loads(done.stdout)["id"])


@pytest.mark.parametrize(
    ("fields", "settings", "words"),
    [
        ({"status": "dropped"}, [], "dropped"),
        ({"split": "holdout"}, [], "held out"),
        ({"split": "holdout"}, ["--set=holdout=0"], "held out"),
        ({"prompt": "same", "chosen": "a", "rejected": "b"}, ["--set=holdout=0.99"], ""),
    ],
    ids=["all dropped", "all held out", "all held out though none was asked", "one prompt, 99% held out"],
)
def test_data_of_which_nothing_trains(
    fields: dict[str, object], settings: list[str], words: str, tmp_path: Path, faults: FaultTable
) -> None:
    write_pairs(tmp_path / "pairs" / "support.jsonl", 12)
    rewrite(tmp_path, **fields)
    with faults.attempt("data of which nothing trains"):
        if words:
            assert words in told(tmp_path, "train", "--pairs=support", *QUICK, *settings)
            assert not list((tmp_path / "runs").glob("*")), "a run was made all the same"
        else:
            folder = train(tmp_path, *settings, "--set=max_steps=2")
            started = folder.state().started
            assert started is not None
            assert started.train_pairs == 12


def test_a_holdout_of_more_than_there_is_is_refused(tmp_path: Path, faults: FaultTable) -> None:
    write_pairs(tmp_path / "pairs" / "support.jsonl", 4)
    for value in ("1", "1.5", "40", "-0.1", "nan", "inf", "many"):
        with faults.attempt("holdout larger than the data"):
            assert "holdout" in told(tmp_path, "train", "--pairs=support", *QUICK, f"--set=holdout={value}")
            assert not list((tmp_path / "runs").glob("*"))


def test_losses_that_are_no_numbers_are_told_everywhere(tmp_path: Path, faults: FaultTable) -> None:
    write_pairs(tmp_path / "pairs" / "support.jsonl")
    with faults.attempt("losses that are NaN"):
        wild = ["--set=learning_rate=1.0", "--set=lora_alpha=4096", "--set=max_grad_norm=1e9", "--set=max_steps=6"]
        folder = train(tmp_path, *wild)
        warned = [each for each in EventReader(folder.events).read() if isinstance(each, Warned)]
        assert any("nan" in each.message for each in warned), warned
        for command in ("show", "report", "logs", "evaluate", "merge"):
            more = [f"--to={tmp_path / 'merged'}"] if command == "merge" else []
            done = workbench(tmp_path, command, folder.id, *more)
            assert "Traceback" not in done.stderr, (command, done.stderr)
            assert done.returncode in (0, 1, 2)
        for arguments in (["show", folder.id, "--json"], ["runs", "--json"]):
            document = workbench(tmp_path, *arguments).stdout
            json.loads(document, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
        assert "nan" in told(tmp_path, "show", folder.id, works=True).lower()


def linked(workspace: Path, name: str) -> Path:
    store = workspace.parent / f"{workspace.name}-store" / name
    store.mkdir(parents=True)
    (workspace / "runs").symlink_to(store)
    return store


@pytest.mark.parametrize("name", ["big-disk", "runs"])
def test_a_folder_of_runs_that_is_a_link(name: str, tmp_path: Path, faults: FaultTable) -> None:
    workspace = tmp_path / "here"
    write_pairs(workspace / "pairs" / "support.jsonl")
    store = linked(workspace, name)
    with faults.attempt("runs/ is a link"):
        folder = train(workspace, "--set=max_steps=4", "--set=save_steps=2")
        assert (store / folder.id / "adapter").is_dir()
        assert [path.name for path in store.parent.iterdir()] == [name], "something was left beside the runs"
        assert (workspace / ".cache" / "tokens").is_dir()
        told(workspace, "show", folder.id, works=True)
        told(workspace, "report", folder.id, works=True)
        done = workbench(workspace, "evaluate", folder.id)
        assert "Traceback" not in done.stderr
        assert folder.evidence.is_file(), done.stderr
        told(workspace, "delete", folder.id, "--yes", works=True)
        assert not (store / folder.id).exists()
        assert [path.name for path in store.parent.iterdir()] == [name]


def to_nowhere(path: Path) -> None:
    path.symlink_to(path.parent / "nowhere")


def to_itself(path: Path) -> None:
    path.symlink_to(path)


def a_file(path: Path) -> None:
    path.write_text("not a folder")


def to_a_file(path: Path) -> None:
    (path.parent / "file").write_text("not a folder")
    path.symlink_to(path.parent / "file")


@pytest.mark.parametrize("make", [to_nowhere, to_itself, a_file, to_a_file])
def test_a_folder_of_runs_that_is_none(make: Callable[[Path], None], tmp_path: Path, faults: FaultTable) -> None:
    write_pairs(tmp_path / "pairs" / "support.jsonl")
    make(tmp_path / "runs")
    with faults.attempt("runs/ is no folder"):
        for arguments in (["runs"], ["runs", "--json"], ["queue"]):
            assert "Traceback" not in workbench(tmp_path, *arguments).stderr
        assert "runs" in told(tmp_path, "train", "--pairs=support", *QUICK)
        told(tmp_path, "show", "anything")
        assert not (tmp_path / "nowhere").exists()


def trained_on(base: Path, run: RunFolder) -> None:
    """Lets the run say so, as one of ours."""
    run.run_toml.write_text(run.run_toml.read_text().replace('model = "tiny"', f'model = "{base}"'))
    run.sign()


def other_vocabulary(base: Path, run: RunFolder) -> None:
    """The base's embeddings are cut to fewer tokens than its tokenizer gives."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from workbench.models import resolve

    AutoTokenizer.from_pretrained(resolve("tiny")).save_pretrained(base)
    model = AutoModelForCausalLM.from_pretrained(resolve("tiny"), dtype=torch.float32)
    model.resize_token_embeddings(model.config.vocab_size // 2)
    model.save_pretrained(base)
    trained_on(base, run)


def other_width(base: Path, run: RunFolder) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    from workbench.models import resolve

    AutoTokenizer.from_pretrained(resolve("tiny")).save_pretrained(base)
    config = AutoConfig.from_pretrained(resolve("tiny"))
    config.hidden_size, config.intermediate_size = config.hidden_size * 2, 64
    AutoModelForCausalLM.from_config(config).save_pretrained(base)
    trained_on(base, run)


def adapter_of_more_tokens(base: Path, run: RunFolder) -> None:
    """The adapter changes the head too, of a vocabulary that is not the base's."""
    import torch
    from safetensors.torch import load_file, save_file

    del base
    settings = json.loads((run.adapter / "adapter_config.json").read_text())
    settings["target_modules"] = [*settings["target_modules"], "lm_head"]
    (run.adapter / "adapter_config.json").write_text(json.dumps(settings))
    weights = load_file(run.adapter / "adapter_model.safetensors")
    rank = settings["r"]
    hidden = next(each.shape[1] for name, each in weights.items() if "q_proj.lora_A" in name)
    weights["base_model.model.lm_head.lora_A.weight"] = torch.zeros(rank, hidden)
    weights["base_model.model.lm_head.lora_B.weight"] = torch.zeros(50_257, rank)
    save_file(weights, run.adapter / "adapter_model.safetensors")


@pytest.mark.parametrize("harm", [other_vocabulary, other_width, adapter_of_more_tokens])
def test_an_adapter_that_is_not_of_its_base(
    harm: Callable[[Path, RunFolder], None], finished_run: FinishedRun, tmp_path: Path, faults: FaultTable
) -> None:
    workspace = tmp_path / "here"
    shutil.copytree(finished_run.workspace / "pairs", workspace / "pairs")
    shutil.copytree(finished_run.folder, workspace / "runs" / finished_run.id)
    run = RunFolder(workspace / "runs" / finished_run.id)
    harm(tmp_path / "base", run)
    pair = ["--prompt=Case 1: what about the card?", "--response=Gladly. We look after the card at once."]
    for arguments in (
        [
            "score",
            *pair,
            "--run",
            run.id,
            *(["--model", str(tmp_path / "base")] if (tmp_path / "base").exists() else []),
        ],
        ["evaluate", run.id],
        ["merge", run.id, f"--to={tmp_path / 'merged'}"],
    ):
        with faults.attempt("adapter and base do not fit"):
            said = told(workspace, *arguments)
            assert "unforeseen" not in said, said
            assert "Error (" not in said, said
    assert not (tmp_path / "merged").exists()
