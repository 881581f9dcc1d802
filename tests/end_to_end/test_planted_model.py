"""Models with code of their own: nothing of it runs, whatever command meets them, and one error says so."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from pydantic import BaseModel
from safetensors.torch import load_file

from tests.end_to_end.conftest import workbench, write_pairs
from tests.planted_model import plant
from tests.tui.compare_data import make_run
from workbench.behaviours.behaviour import Behaviour
from workbench.cli.compare_columns import columns_of
from workbench.compare.client import ScorerClient
from workbench.compare.tuned_runs import tuned_runs
from workbench.config import PRESETS, RunConfig
from workbench.errors import WorkbenchError
from workbench.evidence.settings import Settings
from workbench.methods import METHODS
from workbench.runs.catalog import Catalog
from workbench.runs.folder import RunFolder
from workbench.runs.merge_bounds import Bounds
from workbench.tiny import WEIGHTS
from workbench.trust import UNTRUSTED, Trust
from workbench.workspace import Workspace

TITLE = "The model brings code of its own"
ASKED = ("--prompt", "Hello?", "--model", "MODEL")


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "it-ran"


@pytest.fixture
def model(tmp_path: Path, marker: Path) -> Path:
    write_pairs(tmp_path / "pairs" / "support.jsonl", 12)
    return plant(tmp_path / "planted", marker)


@pytest.mark.parametrize(
    "command",
    [
        ("score", *ASKED, "--response", "Gladly."),
        pytest.param(("score", "--pairs", "support", "--model", "MODEL"), marks=pytest.mark.slow),
        pytest.param(("generate", *ASKED), marks=pytest.mark.slow),
        ("check", "support", "--model", "MODEL"),
        pytest.param(("probes", "check", "--model", "MODEL"), marks=pytest.mark.slow),
        pytest.param(("draft", "support", "p3", "--model", "MODEL"), marks=pytest.mark.slow),
        ("train", "--pairs", "support", "--model", "MODEL", "--dry-run"),
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_no_command_runs_it_or_asks(tmp_path: Path, model: Path, marker: Path, command: tuple[str, ...]) -> None:
    if command[0] == "probes":
        assert workbench(tmp_path, "probes", "add", "--all").returncode == 0
    done = workbench(tmp_path, *(str(model) if word == "MODEL" else word for word in command), typed="yes\n" * 9)
    assert not marker.exists()
    assert (done.returncode, done.stderr.count(TITLE)) == (2, 1), done.stderr
    assert "auto_map" in done.stderr
    assert "[y/N]" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "command",
    ["evaluate", pytest.param("merge", marks=pytest.mark.slow), pytest.param("score", marks=pytest.mark.slow)],
)
def test_nor_where_a_run_names_it(tmp_path: Path, model: Path, marker: Path, command: str) -> None:
    run = make_run(tmp_path, pairs=["support"], model=str(model))
    pairs = RunFolder(tmp_path / "runs" / run).pairs
    row = json.loads((tmp_path / "pairs" / "support.jsonl").read_text().splitlines()[0])
    pairs.write_text("".join(json.dumps(row | {"split": side}) + "\n" for side in ("train", "holdout")))
    words = {
        "evaluate": ("evaluate", run),
        "merge": ("merge", run, "--to", str(tmp_path / "merged")),
        "score": ("score", "--run", run, "--prompt", "Hello?", "--response", "Gladly."),
    }
    done = workbench(tmp_path, *words[command], typed="yes\n" * 9)
    assert not marker.exists()
    assert (done.returncode, done.stderr.count(TITLE)) == (2, 1), done.stderr


@pytest.mark.slow
def test_nor_does_a_run_of_it(tmp_path: Path, model: Path, marker: Path) -> None:
    done = workbench(tmp_path, "train", "--pairs", "support", "--model", str(model), "--wait", "--json")
    assert not marker.exists()
    assert (done.returncode, json.loads(done.stdout)["error"]["title"]) == (1, TITLE)


@pytest.mark.slow
async def test_nor_does_the_scorer_of_the_screens(model: Path, marker: Path) -> None:
    with pytest.raises(WorkbenchError, match=TITLE):
        async with ScorerClient(str(model)):
            pass
    assert not marker.exists()


@pytest.mark.slow
def test_a_model_that_transformers_knows_is_loaded_by_its_own_classes(tmp_path: Path, marker: Path) -> None:
    write_pairs(tmp_path / "pairs" / "support.jsonl", 12)
    model = plant(tmp_path / "planted", marker, kind="llama")
    done = workbench(tmp_path, "score", *ASKED[:-1], str(model), "--response", "Gladly.", typed="yes\n" * 9)
    assert done.returncode == 0, done.stderr
    assert not marker.exists()


@pytest.mark.slow
def test_weights_that_are_a_pickle_are_not_read(tmp_path: Path) -> None:
    folder = shutil.copytree(WEIGHTS, tmp_path / "model")
    (folder / "model.safetensors").rename(tmp_path / "apart")
    torch.save(load_file(tmp_path / "apart"), folder / "pytorch_model.bin")
    done = workbench(tmp_path, "score", *ASKED[:-1], str(folder), "--response", "Gladly.")
    assert (done.returncode, "The weights are a pickle" in done.stderr) == (2, True), done.stderr


@pytest.mark.slow
def test_it_runs_where_the_command_line_says_so(tmp_path: Path, model: Path, marker: Path) -> None:
    done = workbench(
        tmp_path, "score", *ASKED[:-1], str(model), "--response", "Gladly.", "--trust-remote-code", "--json"
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["trust_remote_code"] is True
    assert marker.exists()
    told = [
        workbench(tmp_path, "score", *ASKED[:-1], name, "--response", "Gladly.", "--quantization", "none", *more)
        for name, *more in (("tiny",), (str(model), "--trust-remote-code"))
    ]
    assert told[0].stdout == told[1].stdout


def test_the_checks_run_it_where_the_command_line_says_so(tmp_path: Path, model: Path, marker: Path) -> None:
    """Counting tokens is a process of its own, which is told so too."""
    words = ("--model", str(model), "--trust-remote-code", "--json")
    done = workbench(tmp_path, "check", "support", *words)
    assert (done.returncode, "lengths" in json.loads(done.stdout)) == (0, True), done.stderr
    assert marker.exists()
    marker.unlink()
    assert workbench(tmp_path, "probes", "add", "english-benign").returncode == 0
    done = workbench(tmp_path, "probes", "check", *words)
    assert json.loads(done.stdout)["openings"], done.stderr


@pytest.mark.slow
def test_a_pickle_is_read_where_the_command_line_says_so(tmp_path: Path) -> None:
    folder = shutil.copytree(WEIGHTS, tmp_path / "model")
    (folder / "model.safetensors").rename(tmp_path / "apart")
    torch.save(load_file(tmp_path / "apart"), folder / "pytorch_model.bin")
    done = workbench(tmp_path, "score", *ASKED[:-1], str(folder), "--response", "Gladly.", "--allow-pickle")
    assert done.returncode == 0, done.stderr


def test_a_run_is_told_by_its_settings(tmp_path: Path, model: Path, marker: Path) -> None:
    """In run.toml, in show and in the report; its worker, the scorer and whoever loads the run's model go by it."""
    words = ("--pairs", "support", "--model", str(model), "--set", "trust_remote_code=true", "--set", "max_steps=1")
    done = workbench(tmp_path, "train", *words, "--set", "sample_tokens=0", "--wait", "--json")
    run = json.loads(done.stdout)
    assert (done.returncode, run["status"]) == (0, "finished"), done.stderr + done.stdout
    assert marker.exists()
    marker.unlink()
    folder = RunFolder(tmp_path / "runs" / run["id"])
    assert "trust_remote_code = true" in folder.run_toml.read_text()
    assert "trust_remote_code = true" in workbench(tmp_path, "show", folder.id).stdout
    page = workbench(tmp_path, "report", folder.id, "--to", "-", "--format", "md").stdout
    given = page.partition("Settings of this run that are not the default")[2].partition("Settings at their")[0]
    assert "trust_remote_code" in given.replace("\\", "")
    base, _ = columns_of(Workspace(tmp_path), [folder.id], None)
    assert base.trust == Trust(trust_remote_code=True)
    (tuned,) = tuned_runs(Catalog(tmp_path / "runs").summaries())
    assert tuned.base == base


def test_nothing_but_the_command_line_and_the_form_says_so() -> None:
    assert RunConfig.model_fields["trust_remote_code"].default is False
    assert RunConfig.model_fields["allow_pickle"].default is False
    for preset in PRESETS.values():
        assert not preset.values.keys() & asdict(UNTRUSTED).keys()
    for method in METHODS.values():
        assert not method.values.keys() & asdict(UNTRUSTED).keys()
    sections: list[type[BaseModel]] = [Settings, Bounds, Behaviour]
    assert not any(section.model_fields.keys() & asdict(UNTRUSTED).keys() for section in sections)
