import json
import shlex

import pytest

from workbench.config import build_config
from workbench.errors import WorkbenchError
from workbench.runs.folder import create
from workbench.runs.serving import serve_adapter, serve_merged, to_gguf
from workbench.tiny import WEIGHTS


def run(tmp_path, model="org/base-8B", **settings):
    folder = create(tmp_path / "my runs", build_config({"pairs": ["x"], "model": model}), [], {})
    folder.adapter.mkdir()
    (folder.adapter / "adapter_config.json").write_text(json.dumps({"r": 16, **settings}))
    (folder.adapter / "adapter_model.safetensors").write_bytes(b"weights")
    return folder


def words(folder):
    return shlex.split(serve_adapter(folder))


def test_the_adapter_is_served_on_its_base_under_the_runs_name(tmp_path):
    folder = run(tmp_path)
    assert words(folder) == [
        *("vllm", "serve", "org/base-8B", "--enable-lora"),
        *("--lora-modules", f"{folder.id}={folder.adapter}", "--max-lora-rank", "16"),
    ]
    (folder.adapter / "chat_template.jinja").write_text("{{ messages }}")
    assert words(folder)[-2:] == ["--chat-template", str(folder.adapter / "chat_template.jinja")]
    assert words(run(tmp_path, model="tiny"))[2] == str(WEIGHTS)


@pytest.mark.parametrize(("rank", "taken"), [(1, 1), (2, 8), (16, 16), (17, 32), (100, 128), (300, 320), (512, 512)])
def test_the_rank_is_rounded_up_to_one_that_vllm_takes(tmp_path, rank, taken):
    assert words(run(tmp_path, r=rank))[-1] == str(taken)
    assert words(run(tmp_path, r=1, rank_pattern={"q_proj": rank}))[-1] == str(taken)


@pytest.mark.parametrize(
    ("settings", "why"),
    [({"r": 513}, "513"), ({"use_dora": True}, "use_dora"), ({"modules_to_save": ["x"]}, "modules")],
)
def test_what_vllm_cannot_serve_is_to_be_merged(tmp_path, settings, why):
    folder = run(tmp_path, **settings)
    with pytest.raises(WorkbenchError) as error:
        serve_adapter(folder)
    assert why in error.value.message
    assert f"workbench merge {folder.id}" in error.value.hint


def test_without_an_adapter_or_with_a_damaged_one_that_is_said(tmp_path):
    folder = run(tmp_path)
    (folder.adapter / "adapter_config.json").write_text("[1")
    with pytest.raises(WorkbenchError, match="cannot be read"):
        serve_adapter(folder)
    (folder.adapter / "adapter_config.json").unlink()
    with pytest.raises(WorkbenchError, match="has no adapter yet"):
        serve_adapter(folder)


def test_folders_with_spaces_are_quoted(tmp_path):
    folder = tmp_path / "my model"
    assert shlex.split(serve_merged(folder)) == ["vllm", "serve", str(folder), "--served-model-name", "my model"]
    assert shlex.split(to_gguf(folder, tmp_path / "f.gguf", "fp16"))[2:] == [
        *(str(folder), "--outfile", str(tmp_path / "f.gguf"), "--outtype", "f16")
    ]
