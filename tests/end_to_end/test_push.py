"""Uploads through huggingface_hub to a server on this machine; the token stays where it is."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from tests.end_to_end.hub import Hub

TOKEN = "hf_thisIsASecretThatNobodyMaySee123"


@pytest.fixture
def hub():
    with Hub(TOKEN) as one:
        yield one


@pytest.fixture
def copied(finished_run, tmp_path):
    """The workspace with the finished run, to be searched for the token afterwards."""
    shutil.copytree(finished_run.workspace, tmp_path / "workspace")
    return tmp_path / "workspace"


def push(workspace, hub, *arguments, saved=False, answer="", **environment):
    """The command, with the token in the environment or in the file that `hf auth login` writes. It is never told."""
    home = workspace / ".hf"
    home.mkdir(exist_ok=True)
    own = {"HF_ENDPOINT": hub.url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0"}
    if saved:
        (home / "token").write_text(TOKEN)
    else:
        own["HF_TOKEN"] = TOKEN
    command = [sys.executable, "-m", "workbench", "--workspace", str(workspace), "push", *arguments]
    environment = {**{k: v for k, v in os.environ.items() if k != "HF_TOKEN"}, **own, **environment}
    done = subprocess.run(
        command, capture_output=True, text=True, input=answer, env=environment, timeout=200, check=False
    )
    assert TOKEN not in done.stdout + done.stderr
    for path in workspace.rglob("*"):
        if path.is_file() and path != home / "token":
            assert TOKEN.encode() not in path.read_bytes(), path
    return done


def test_an_adapter_is_uploaded_as_it_was_shown(hub, copied, finished_run):
    done = push(copied, hub, finished_run.id, "--to", "me/polite", "--private", "--yes", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    adapter = copied / "runs" / finished_run.id / "adapter"
    assert hub.repos == {"me/polite": True}
    assert hub.files == {path.name: path.read_bytes() for path in adapter.iterdir() if path.is_file()}
    assert set(told["files"]) == set(hub.files)
    assert told["bytes"] == sum(map(len, hub.files.values()))
    assert told["visibility"] == "private"
    assert all(f"  {name}" in done.stderr for name in hub.files)
    assert f"to {hub.url}/me/polite, as me" in done.stderr
    assert b"## Data" in hub.files["README.md"]
    assert {authorization for method, _, authorization in hub.seen if method != "PUT"} == {f"Bearer {TOKEN}"}


def test_it_asks_and_a_no_sends_nothing(hub, copied, finished_run):
    done = push(copied, hub, finished_run.id, "--to", "me/polite", answer="n\n")
    assert done.returncode == 1
    assert "will be made, public" in done.stderr
    assert "everybody can then download it" in done.stderr
    assert (hub.repos, hub.files) == ({}, {})
    assert push(copied, hub, finished_run.id, "--to", "me/polite", answer="y\n", saved=True).returncode == 0
    assert hub.repos == {"me/polite": False}
    assert "adapter_model.safetensors" in hub.files


def test_what_the_hub_refuses_is_told_without_the_token(hub, copied, finished_run):
    hub.refusal = 403, f"No write access with Bearer {TOKEN}"
    done = push(copied, hub, finished_run.id, "--to", "me/polite", "--yes")
    assert done.returncode == 2
    assert "No write access with Bearer [token]" in done.stderr
    assert "hf auth login" in done.stderr
    assert "Traceback" not in done.stderr
    hub.token = "hf_another"
    done = push(copied, hub, finished_run.id, "--to", "me/polite", "--yes")
    assert done.returncode == 2
    assert "not valid any more" in done.stderr


def test_a_public_repository_is_not_taken_for_a_private_one(hub, copied, finished_run):
    hub.repos["me/polite"] = False
    done = push(copied, hub, finished_run.id, "--to", "me/polite", "--private", "--yes")
    assert done.returncode == 2
    assert "is public already" in done.stderr
    assert hub.files == {}


def test_wrong_input_is_told_in_one_message(hub, copied, finished_run):
    (copied / "empty").mkdir()
    for arguments, said in (
        ([finished_run.id, "--to", "polite"], "user/name"),
        ([str(copied / "empty"), "--to", "me/x"], "neither adapter_config.json nor config.json"),
        ([str(copied / "empty"), "--to", "me/x", "--merged"], "Nothing to merge"),
        (["nosuchrun", "--to", "me/x"], "No run"),
    ):
        done = push(copied, hub, *arguments)
        assert (done.returncode, said in done.stderr) == (2, True), done.stderr
    assert push(copied, hub, finished_run.id, "--to", "me/x", HF_TOKEN="").returncode == 2
    assert hub.seen == []


def test_a_hub_that_cannot_be_reached_is_told(hub, copied, finished_run):
    done = push(copied, hub, finished_run.id, "--to", "me/x", "--yes", HF_HUB_OFFLINE="1")
    assert done.returncode == 2
    assert "cannot be reached" in done.stderr


def test_a_run_can_be_merged_on_the_way(hub, copied, finished_run):
    done = push(copied, hub, finished_run.id, "--to", "me/polite", "--merged", "--yes")
    assert done.returncode == 0, done.stderr
    assert {"model.safetensors", "config.json", "chat_template.jinja"} <= set(hub.files)
    assert b"an answer" in hub.files["README.md"]
    assert not [path for path in copied.iterdir() if path.name.startswith(".push")]


def test_a_data_set_is_uploaded_with_its_card_and_feeds_trl(hub, tmp_path):
    workspace = tmp_path / "workspace"
    (workspace / "pairs").mkdir(parents=True)
    rows = [
        {"id": f"i{n}", "prompt": [{"role": "user", "content": f"q{n}"}], **ANSWERS, "note": "for me", "score": n}
        for n in range(30)
    ]
    rows[3]["status"] = "dropped"
    (workspace / "pairs" / "tone.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked = push(workspace, hub, "tone", "--to", "me/tone", "--yes")
    assert (asked.returncode, "No license is named" in asked.stderr, hub.files) == (2, True, {})
    done = push(workspace, hub, "tone", "--to", "me/tone", "--license", "cc-by-4.0", "--yes", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["repo"] == "me/tone"
    assert set(hub.files) == {"README.md", *(f"data/{split}-00000-of-00001.parquet" for split in ("train", "test"))}
    assert any(path.startswith("/api/datasets/me/tone") for _, path, _ in hub.seen)
    hub.files["data/train-00001-of-00002.parquet"] = b"of an earlier version"
    assert push(workspace, hub, "tone", "--to", "me/tone", "--license", "mit", "--yes").returncode == 0
    assert set(hub.files) == {"README.md", *(f"data/{split}-00000-of-00001.parquet" for split in ("train", "test"))}
    assert not [path for path in workspace.iterdir() if path.name.startswith(".push")]


ANSWERS = {
    "chosen": [{"role": "assistant", "content": "good"}],
    "rejected": [{"role": "assistant", "content": "bad"}],
}
