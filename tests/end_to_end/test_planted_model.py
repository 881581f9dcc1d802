"""Models with code of their own: nothing of it runs, whatever command meets them, and one error says so."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.end_to_end.conftest import workbench, write_pairs
from tests.planted_model import plant
from tests.tui.compare_data import make_run
from workbench.compare.client import ScorerClient
from workbench.errors import WorkbenchError
from workbench.runs.folder import RunFolder
from workbench.tiny import WEIGHTS

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
