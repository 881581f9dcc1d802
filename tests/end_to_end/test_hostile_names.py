"""Names, texts and settings with all that a terminal obeys in them, through every command: none gets through raw."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import tomlkit
import typer

from tests.end_to_end.conftest import FinishedRun, workbench
from tests.unit.runs.test_state import started, step
from workbench.cli.main import app
from workbench.config import build_config
from workbench.runs.catalog import Catalog
from workbench.runs.events import Failed, Phase, Sample, Warned
from workbench.runs.folder import RunFolder, create
from workbench.runs.process import alive, kill
from workbench.runs.writer import EventWriter

OBEYED = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")
ALL = "".join(
    chr(code) for code in (*range(1, 0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A))
)
"""Everything of that kind that a file name can have; \x2f, the slash, is none of it."""
TITLE = "\x1b]0;PWNED\x07"
EVIL = f"x{TITLE}\x9b31m\u202e{ALL[30:50]}\u2066y"
NAMES = [f"{TITLE}{ALL[number : number + 40]}{number}" for number in range(0, len(ALL), 40)] + ["byte\udcff\x1b[2J"]
"""As names of run folders: all of `ALL`, some at a time, and bytes that are no UTF-8."""


def rows(texts: str) -> list[dict[str, object]]:
    """Pairs with `texts` in every place where one may stand."""
    return [
        {
            "id": f"{number}{texts}",
            "prompt": [{"role": "user", "content": f"{number} {texts}"}],
            "chosen": [{"role": "assistant", "content": f"Gladly {texts} {number}."}],
            "rejected": [{"role": "assistant", "content": f"No {texts} {number}."}],
            "tags": [texts],
            "note": texts,
            "source": texts,
            f"column {texts}": texts,
        }
        for number in range(4)
    ]


def write_rows(path: Path, texts: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(row) for row in rows(texts)] + [f'{{"prompt": "{texts}"', json.dumps({texts: texts})]
    path.write_bytes("\n".join(lines).encode("utf-8", "surrogateescape") + b"\n")
    return path


def hostile_run(runs: Path, name: str) -> RunFolder:
    """A run that failed, with `name` in all that it was asked and told."""
    said = name.encode("utf-8", "replace").decode()
    config = build_config({"pairs": [f"d{said}"], "model": f"m{said}"})
    made = create(runs, config, [json.dumps(row).encode() + b"\n" for row in rows(said)], {said: said})
    folder = RunFolder(made.path.rename(runs / name))
    with EventWriter(folder.events) as events:
        for event in (
            Phase(time=1, name=said),
            started(),
            step(1),
            Warned(time=12, step=1, title=said, message=said, remedy=said),
            Sample(time=12, step=1, pair=said, prompt=said, base=said, aligned=said, base_tokens=1, aligned_tokens=1),
            Failed(time=13, step=1, title=said, message=said, hint=said),
        ):
            events.write(event)
    folder.log.write_bytes(f"{said}\n{name}".encode("utf-8", "surrogateescape"))
    folder.labels.write_text(tomlkit.dumps({"name": said, "note": said, "tags": [said]}), "utf-8")
    checkpoint = folder.checkpoints / f"checkpoint-1{said}"
    checkpoint.mkdir(parents=True)
    (folder.checkpoints / "checkpoint-1").mkdir()
    return folder


@pytest.fixture
def hostile(tmp_path: Path) -> Iterator[Path]:
    """A workspace in which everything has a hostile name. Workers that are at it afterwards are ended."""
    workspace = tmp_path / f"w{EVIL}"
    write_rows(workspace / "pairs" / "tone.jsonl", EVIL)
    write_rows(workspace / "pairs" / f"{EVIL}.jsonl", EVIL)
    write_rows(workspace / "pairs" / "probes" / f"{EVIL}.jsonl", EVIL)
    probe = {"prompt": f"{EVIL} asks", "kind": EVIL, "group": EVIL, "tags": [EVIL], "responses": {EVIL: EVIL}}
    (workspace / "pairs" / "probes" / "suite.jsonl").write_text(json.dumps(probe) + "\n")
    (workspace / "workbench.toml").write_text(f"[{json.dumps(EVIL)}]\n{json.dumps(EVIL)} = 1\n")
    for name in NAMES:
        hostile_run(workspace / "runs", name)
    hostile_run(workspace / "runs" / ".trash", EVIL)
    yield workspace
    for run in Catalog(workspace / "runs").summaries():
        if alive(run.folder):
            kill(run.folder)


RUN = NAMES[0]
COMMANDS: dict[str, list[list[str]]] = {
    "train": [["--pairs", EVIL], ["--pairs", "tone", "--model", EVIL], ["--pairs", "tone", "--set", f"{EVIL}={EVIL}"],
              ["--pairs", "tone", "--method", EVIL], ["--pairs", "tone", "--preset", EVIL],
              ["--pairs", "tone", "--set", f"beta={EVIL}"], ["--pairs", "tone", "--model", EVIL, "--dry-run"]],
    "runs": [[], ["--json"], ["--sort", EVIL], ["--tag", EVIL], ["--all", "--reverse"]],
    "show": [[name] for name in NAMES] + [[RUN, "--json"], [EVIL], [TITLE]],
    "logs": [[name] for name in NAMES] + [[EVIL]],
    "stop": [[RUN], [RUN, "--json"], [EVIL]],
    "pause": [[RUN], [EVIL]],
    "continue": [[RUN], [EVIL]],
    "resume": [[EVIL]],
    "queue": [[], ["--json"]],
    "move": [[RUN, "--first"], [EVIL, "--up"]],
    "label": [[RUN], [RUN, "--name", EVIL, "--tag", "t", "--note", EVIL], [RUN, "--tag", EVIL], [RUN, "--json"]],
    "delete": [[RUN], [NAMES[1], "--yes"], [EVIL, "--yes"]],
    "trash": [[], ["--json"], ["--restore", EVIL], ["--restore", f"no{EVIL}"], ["--empty"]],
    "import": [["FILE.jsonl", "--name", "new"], ["FILE.jsonl", "--name", EVIL], ["FILE.jsonl", "--dry-run", "--json"],
               ["FILE.jsonl", "--name", "n", "--map", f"{EVIL}={EVIL}"], ["FILE.jsonl", "--name", "n", "--map", EVIL],
               [f"{EVIL}.csv"], [EVIL], ["FILE.odd", "--name", "n"], ["FOLDER", "--name", "f"],
               ["FILE.csv", "--name", "c"]],
    "export": [["tone", "--to", f"{EVIL}.jsonl"], ["tone", "--to", f"{EVIL}"], ["tone", "--to", f"{EVIL}/{EVIL}.csv"],
               ["tone", "--to", f"{EVIL}.jsonl", "--shape", "openai"], [EVIL, "--to", "x.jsonl"],
               ["tone", "--to", f"{EVIL}.csv", "--filter", EVIL], ["tone", "--to", f"{EVIL}.jsonl", "--json"]],
    "pairs": [[], ["--json"]],
    "check": [["tone"], ["tone", "--json"], [EVIL], ["tone", "--fix", EVIL], ["tone", "--model", EVIL]],
    "draft": [["tone", EVIL], ["tone", "--rank", EVIL], ["tone", "--filter", EVIL, "--as", "chosen", "--model", EVIL]],
    "score": [["--prompt", EVIL, "--response", EVIL, "--model", EVIL],
              ["--prompt", EVIL, "--response", "a", "--run", RUN],
              ["--prompt", f'[{{"role": "{TITLE}"', "--response", EVIL, "--run", EVIL], ["--pairs", EVIL]],
    "generate": [["--prompt", EVIL, "--model", EVIL], ["--prompt", EVIL, "--run", RUN]],
    "probes list": [[], ["--json"]],
    "probes add": [[EVIL], ["--list"]],
    "probes import": [["FILE.jsonl", "--name", "p"], ["FILE.jsonl", "--name", EVIL], [f"{EVIL}.txt"],
                      ["FILE.jsonl", "--name", "q", "--kind", EVIL, "--prompt", f"column {EVIL}", "--json"]],
    "probes check": [[], ["--json"], ["--pairs", EVIL]],
    "demo": [["--model", EVIL, "--headless"]],
    "evaluate": [[RUN], [EVIL], [RUN, "--merged", EVIL], [RUN, "--tasks", EVIL, "--task-folder", EVIL]],
    "report": [[RUN], [RUN, "--to", f"{EVIL}.md"], [RUN, "--to", "-"], [RUN, "--to", "-", "--format", "md"],
               [RUN, "--to", f"{EVIL}/{EVIL}.md"], [RUN, "--json"]],
    "label-samples": [[RUN], [RUN, "--kind", EVIL, "--behaviour", EVIL]],
    "merge": [[RUN, "--to", EVIL], [EVIL, "--to", EVIL]],
    "trust": [[RUN, "--yes"], [EVIL]],
    "serve-command": [[RUN], [EVIL], ["MODEL"]],
    "push": [[RUN, "--to", EVIL], [EVIL, "--to", "a/b"], ["tone", "--to", EVIL, "--license", EVIL],
             ["MODEL", "--to", EVIL]],
    "serve": [["--host", EVIL], ["--port", EVIL]],
    "doctor": [["--json"]],
    "model import": [[f"{EVIL}.gguf", "--to", EVIL], ["FILE.jsonl", "--to", EVIL]],
}  # fmt: skip


def commands() -> Iterator[str]:
    """Every command of the program, those of groups with the group before them."""
    root = typer.main.get_command(app)
    assert isinstance(root, click.Group | typer.core.TyperGroup)
    for name, command in root.commands.items():
        inner = getattr(command, "commands", None)
        yield from [name] if inner is None else [f"{name} {each}" for each in inner]


def test_no_command_is_left_out() -> None:
    assert sorted(COMMANDS) == sorted(commands())


def check(workspace: Path, *arguments: str) -> None:
    """Calls a command, and finds nothing raw in what it prints, no traceback, and JSON that is whole."""
    done = workbench(workspace, *arguments)
    what = " ".join(map(ascii, arguments))
    for stream in (done.stdout, done.stderr):
        assert not OBEYED.findall(stream), f"{what}: {stream!a}"
    assert "Traceback" not in done.stderr, f"{what}: {done.stderr}"
    if "--json" in arguments and done.returncode == 0:
        json.loads(done.stdout)


@pytest.mark.parametrize("command", COMMANDS)
def test_nothing_hostile_reaches_the_terminal_raw(
    command: str, hostile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outside = tmp_path / f"o{EVIL}"
    file = write_rows(outside / f"f{EVIL}.jsonl", EVIL)
    odd = write_rows(outside / f"f{EVIL}.odd", EVIL)
    folder = write_rows(outside / f"d{EVIL}" / f"{EVIL}.jsonl", EVIL).parent
    table = outside / f"t{EVIL}.csv"
    header = ",".join(["prompt", "chosen", "rejected", f'"{EVIL}"'])
    table.write_text(f'{header}\n"{EVIL}","a {EVIL}","b {EVIL}","{EVIL}"\n', "utf-8", newline="")
    model = outside / f"m{EVIL}"
    model.mkdir()
    (model / "config.json").write_text(json.dumps({"model_type": EVIL, "architectures": [EVIL]}))
    stands = {"FILE.jsonl": file, "FILE.odd": odd, "FILE.csv": table, "FOLDER": folder, "MODEL": model}
    for arguments in COMMANDS[command]:
        given = [str(stands.get(each, each)) for each in arguments]
        check(hostile, *command.split(), *given)


@pytest.mark.parametrize(
    "given", [[EVIL], ["runs", f"--{EVIL}"], ["--workspace", EVIL, "runs"], ["--slow", EVIL, "-h"]]
)
def test_usage_errors_are_safe_too(given: list[str], tmp_path: Path) -> None:
    check(tmp_path, *given)


@pytest.mark.parametrize(
    "command",
    [
        ["show"],
        ["report", "--to", "-"],
        ["score", "--prompt", EVIL, "--response", EVIL, "--run"],
        ["serve-command"],
        ["generate", "--prompt", EVIL, "--max-new-tokens", "4", "--run"],
    ],
)
def test_a_finished_run_with_a_hostile_name(command: list[str], finished_run: FinishedRun, tmp_path: Path) -> None:
    name = f"{EVIL}run"
    shutil.copytree(finished_run.folder, tmp_path / "runs" / name)
    config = json.loads((tmp_path / "runs" / name / "adapter" / "adapter_config.json").read_text())
    (tmp_path / "runs" / name / "adapter" / "adapter_config.json").write_text(json.dumps(config))
    done = workbench(tmp_path, *command, name)
    assert done.returncode == 0, done.stderr
    assert not OBEYED.findall(done.stdout + done.stderr)
    assert "PWNED" in done.stdout + done.stderr
