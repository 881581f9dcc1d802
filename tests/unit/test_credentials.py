"""Secrets of the environment do not get into what is written down."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from urllib.parse import quote

import pytest

from workbench.config import build_config
from workbench.console import note, print_json, say
from workbench.credentials import names_secret, secret_in, secrets, without_secrets
from workbench.errors import WorkbenchError
from workbench.runs.events import EventReader, Failed
from workbench.runs.folder import create
from workbench.runs.writer import EventWriter
from workbench.tui.unforeseen import Unforeseen, write_traceback

SECRET = 'hf_q+7"w/Pl\u00e4nted=='


@pytest.fixture(autouse=True)
def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", SECRET)


@pytest.mark.parametrize(
    "name",
    [
        "HF_TOKEN",
        "HUGGING_FACE_HUB_TOKEN",
        "WANDB_API_KEY",
        "OPENAI_API_KEY",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "GITHUB_PAT",
        "MLFLOW_TRACKING_PASSWORD",
        "NEPTUNE_API_TOKEN",
        "my_apikey",
        "DB_PASSWD",
        "GOOGLE_CREDENTIALS",
    ],
)
def test_names_of_secrets(name: str) -> None:
    assert names_secret(name)


@pytest.mark.parametrize(
    "name", ["TOKENIZERS_PARALLELISM", "PATH", "HOME", "KEYBOARD", "SSH_AUTH_SOCK", "MONKEY", "COMPATIBLE", "HF_HOME"]
)
def test_names_of_no_secrets(name: str) -> None:
    assert not names_secret(name)


def test_values_that_are_none() -> None:
    environment = {
        "MY_TOKEN": "true",
        "API_KEY": "/home/me/key.json",
        "HTTPS_PROXY": "http://me:s3cret-word@proxy:8080",
    }
    assert secrets({**environment, "HF_HOME": "/nowhere"}) == {"s3cret-word": "HTTPS_PROXY's password"}


def test_a_saved_token_counts(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("hf_savedByLogin\n")
    assert secrets({"HF_HOME": str(tmp_path)}) == {"hf_savedByLogin": "HF_TOKEN"}


def test_the_longest_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_TOKEN", "12345678")
    monkeypatch.setenv("B_TOKEN", "1234567890")
    assert without_secrets("a 1234567890 b 12345678") == "a ⟨B_TOKEN⟩ b ⟨A_TOKEN⟩"


@pytest.mark.parametrize("written", [SECRET, json.dumps(SECRET)[1:-1], repr(SECRET)[1:-1], quote(SECRET, safe="")])
def test_however_it_is_written(written: str) -> None:
    assert without_secrets(f"Bearer {written}!") == "Bearer ⟨HF_TOKEN⟩!"


def test_nothing_printed_has_it(capsys: pytest.CaptureFixture[str]) -> None:
    say(f"a {SECRET}")
    note(f"a {SECRET}")
    print_json({SECRET: [SECRET]})
    out, err = capsys.readouterr()
    assert "nted==" not in out + err
    assert (out + err).count("⟨HF_TOKEN⟩") == 4


def test_no_event_has_it_and_events_stay_whole(tmp_path: Path) -> None:
    with EventWriter(tmp_path / "events.jsonl") as events:
        events.write(Failed(time=1, step=0, title="t", message=f"401 for {SECRET}", hint=""))
    (event,) = EventReader(tmp_path / "events.jsonl").read()
    assert event == Failed(time=1, step=0, title="t", message="401 for ⟨HF_TOKEN⟩", hint="")


def test_a_traceback_file_is_without_it_and_for_its_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "errors"
    before = os.umask(0)
    try:
        path = write_traceback(folder, ValueError(f"no {SECRET}"), "asking")
    finally:
        os.umask(before)
    assert path is not None
    assert "no ⟨HF_TOKEN⟩" in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    shown = Unforeseen(folder).take(ValueError(f"no {SECRET}"), "asking")
    assert shown is not None
    assert "nted==" not in str(shown)


def test_a_setting_with_it_is_refused(tmp_path: Path) -> None:
    assert secret_in("nothing") is None
    config = build_config(
        {"pairs": ["x"], "launcher": "command", "launcher_command": f"env HF_TOKEN='{SECRET}' {{command}}"}
    )
    with pytest.raises(WorkbenchError, match="has the value of HF_TOKEN") as refused:
        create(tmp_path, config, [], {})
    assert "nted==" not in str(refused.value)
    assert list(refused.value.fields) == ["launcher_command"]
    assert list(tmp_path.iterdir()) == []
