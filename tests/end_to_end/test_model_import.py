"""A model out of a GGUF file, by the command."""

import json
import shlex
import shutil
from pathlib import Path

import pytest

from tests.end_to_end.conftest import workbench
from tests.unit.engine.random_models import make
from workbench.engine.shipping.to_gguf import convert


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gguf")
    make(folder / "base", "llama")
    shutil.rmtree(folder / "base" / "adapter")
    convert(folder / "base", folder / "model.gguf", "fp16", name="random", progress=lambda *_: None)
    return folder / "model.gguf"


def test_an_imported_model_scores_like_any_other(tmp_path: Path, file: Path) -> None:
    to = tmp_path / "a model"
    done = workbench(tmp_path, "model", "import", str(file), "--to", str(to), "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["path"] == str(to)
    assert (told["architecture"], told["quantized"], told["dtype"]) == ("llama", "F16", "fp32")
    assert {"config.json", "model.safetensors", "tokenizer.json", "generation_config.json"} <= {
        path.name for path in to.iterdir()
    }
    assert "dequantizing" in done.stderr
    scored = workbench(
        tmp_path,
        "score",
        "--prompt",
        "How do I turn on the alarm?",
        "--response",
        "Sure.",
        "--model",
        str(to),
        "--json",
    )
    assert scored.returncode == 0, scored.stderr
    assert json.loads(scored.stdout)["columns"][0]["sum"] < 0

    again = workbench(tmp_path, "model", "import", str(file), "--to", str(to))
    assert again.returncode == 2
    assert "--force" in again.stderr
    forced = workbench(tmp_path, "model", "import", str(file), "--to", str(to), "--force", "--dtype", "bf16")
    assert forced.returncode == 0, forced.stderr
    assert f"workbench train --pairs NAME --model {shlex.quote(str(to))}" in forced.stdout


def test_the_help_has_examples_and_a_damaged_file_is_told_in_one_message(tmp_path: Path, file: Path) -> None:
    text = workbench(tmp_path, "model", "import", "--help").stdout
    assert "workbench model import llama.gguf --to ~/models/llama" in text
    (tmp_path / "half.gguf").write_bytes(file.read_bytes()[:-5_000])
    done = workbench(tmp_path, "model", "import", str(tmp_path / "half.gguf"), "--to", str(tmp_path / "model"))
    assert done.returncode == 2
    assert "damaged or incomplete" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "model").exists()
