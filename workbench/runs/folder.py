"""A run's folder: what was asked, the rows it was asked with, and where the worker puts what it makes."""

from __future__ import annotations

import hashlib
import json
import platform
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from typing import Any

import tomlkit

from workbench.chat_templates import read_template, template_file
from workbench.config import RunConfig, build_config
from workbench.credentials import secret_in
from workbench.errors import WorkbenchError
from workbench.files import toml_in, write_whole
from workbench.runs.events import EventReader
from workbench.runs.state import RunState, fold
from workbench.runs.user_state import is_signed, sign
from workbench.text import quoted


def to_line(row: Mapping[str, Any]) -> bytes:
    """A row as a line of pairs.jsonl, newline included."""
    return json.dumps(row, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"


def digest(rows: Iterable[Mapping[str, Any]]) -> str:
    """What tells these rows, in this order, from others: the sha256 of the file that they make."""
    if isinstance(rows, RowsFile):
        return rows.digest()
    sha256 = hashlib.sha256()
    for row in rows:
        sha256.update(to_line(row))
    return sha256.hexdigest()


@dataclass(frozen=True, slots=True)
class RowsFile:
    """A run's pairs.jsonl. Reading it raises `WorkbenchError` where the file is gone or no JSONL."""

    path: Path

    def __iter__(self) -> Iterator[dict[str, Any]]:
        try:
            with self.path.open(encoding="utf-8") as lines:
                for number, line in enumerate(lines, 1):
                    row = json.loads(line)
                    if not isinstance(row, dict):
                        raise ValueError(f"line {number} is no JSON object")
                    yield row
        except (OSError, ValueError, RecursionError) as error:
            raise self._unreadable(error) from error

    def __len__(self) -> int:
        try:
            with self.path.open("rb") as lines:
                return sum(1 for _ in lines)
        except OSError as error:
            raise self._unreadable(error) from error

    def spread(self, count: int) -> Iterator[dict[str, Any]]:
        """`count` of the rows, evenly from the first to the last; all where there are fewer."""
        total = len(self)
        wanted = {number * total // count for number in range(count)} if count < total else set(range(total))
        return (row for number, row in enumerate(self) if number in wanted)

    def digest(self) -> str:
        """The sha256 of the file."""
        try:
            with self.path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: Exception) -> WorkbenchError:
        return WorkbenchError(
            "The run's pairs cannot be read", f"{self.path}: {error}.", "Restore the file, or start a new run."
        )


_PACKAGES = ("alignment-workbench", "torch", "transformers", "trl", "peft", "bitsandbytes", "accelerate", "datasets")
ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
"""The files that PEFT saves an adapter as."""
_NOT_SLUG = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True)
class Record:
    """What run.toml says.

    `sources` maps each data set to the sha256 of its content when the run was made: of its file as it is once all
    edits that were made by then are saved.
    """

    config: RunConfig
    created: datetime
    sources: Mapping[str, str]
    versions: Mapping[str, str]


class _Within:
    """The path of a file or folder within a run's folder."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, folder: RunFolder, owner: type[RunFolder]) -> Path:
        return folder.path / self._name


@dataclass(frozen=True, slots=True)
class RunFolder:
    """One run on disk. The folder's name is the run's id."""

    path: Path
    run_toml = _Within("run.toml")
    """What was asked, frozen."""
    signature = _Within("run.toml.signature")
    """Shows that run.toml is as this user's workbench made it, or as the user trusts it; see `runs.user_state`."""
    pairs = _Within("pairs.jsonl")
    """The exact rows used, each with its `split`."""
    events = _Within("events.jsonl")
    """What the worker told so far."""
    log = _Within("worker.log")
    """Everything that the worker printed."""
    checkpoints = _Within("checkpoints")
    """Folder of the last checkpoints, with all that resuming needs."""
    adapter = _Within("adapter")
    """Folder of the trained adapter."""
    start = _Within("start")
    """A copy of the adapter that the run goes on from, where it does."""
    evidence = _Within("evidence.json")
    sample_labels = _Within("sample_labels.jsonl")
    """What the evaluation found."""
    report = _Within("report.html")
    """The page about the run; as Markdown it has the same name with another ending."""
    process = _Within("process.json")
    """Says which process is the worker; see `workbench.runs.process`."""
    stop = _Within("stop")
    """Exists once someone asked the worker to stop."""
    pause = _Within("pause")
    """Exists while someone wants the worker to wait."""
    labels = _Within("labels.toml")
    """What the user calls the run; see `workbench.runs.labels`."""
    chat_template = _Within("adapter/chat_template.jinja")
    """The chat template that the run trained with, where it is no part of the tokenizer's settings."""
    chosen_template = _Within("chat_template.jinja")
    """The chat template that was chosen for the run in the place of the model's, where one was."""

    @property
    def id(self) -> str:
        """The run's name everywhere."""
        return self.path.name

    @property
    def own(self) -> bool:
        """Whether run.toml is as this user's workbench made it on this machine, or as the user trusts it."""
        try:
            return is_signed(self.run_toml.read_bytes(), self.signature.read_text("ascii", "replace").strip())
        except OSError:
            return False

    def sign(self) -> None:
        """Takes run.toml, as it is now, for the user's own. Raises `WorkbenchError`."""
        try:
            write_whole(self.signature, sign(self.run_toml.read_bytes()) + "\n")
        except OSError as error:
            raise WorkbenchError(
                "The run cannot be signed", f"{self.signature}: {error}.", "Check the folder's permissions."
            ) from error

    @property
    def has_adapter(self) -> bool:
        """Whether the run has saved its adapter."""
        return is_adapter(self.adapter)

    def saved_adapter(self) -> Path:
        """Folder of the trained adapter. Raises `WorkbenchError` where the run has saved none yet."""
        if not self.has_adapter:
            raise WorkbenchError(
                "The run has no adapter yet",
                f"{self.id} has saved no adapter.",
                f"Wait for it to finish, or stop it, which saves one: workbench stop {quoted(self.id)}",
            )
        return self.adapter

    def record(self) -> Record:
        """What was asked. Raises `WorkbenchError` where run.toml cannot be read."""
        try:
            raw = toml_in(self.run_toml.read_bytes())
            created, values = datetime.fromisoformat(raw["created"]), dict(raw["run"])
            created.timestamp()
            sources, versions = (_texts(raw[name], name) for name in ("sources", "versions"))
        except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
            raise WorkbenchError(
                "The run's settings cannot be read",
                f"{self.run_toml}: {error}.",
                "Restore the file, or delete the run.",
            ) from error
        return Record(build_config(values), created, sources, versions)

    def template(self) -> str:
        """The chat template that was chosen for the run; empty where the model's own is used.

        Raises `WorkbenchError` where it cannot be read.
        """
        return read_template(self.chosen_template if self.record().config.chat_template else None)

    def rows(self) -> RowsFile:
        """The rows that train and are held out, as in the data sets, each with its `split`."""
        return RowsFile(self.pairs)

    @property
    def plain(self) -> bool:
        """Whether its first pair is plain text, which trains without the chat template; False where there is none."""
        with suppress(WorkbenchError):
            return any(isinstance(row.get("prompt"), str) for row in islice(self.rows(), 1))
        return False

    def state(self) -> RunState:
        """What all events so far amount to."""
        return fold(EventReader(self.events).read())


def _texts(value: Any, name: str) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise TypeError(f"{name} is no table of texts")
    return value


def is_adapter(folder: Path) -> bool:
    """Whether an adapter is saved in the folder."""
    return all((folder / name).is_file() for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS))


def runs_in(folder: Path) -> list[RunFolder]:
    """The runs whose folders are in `folder`, by their ids."""
    return [RunFolder(path.parent) for path in sorted(folder.glob("*/run.toml"))]


def create(
    runs: Path,
    config: RunConfig,
    lines: Iterable[bytes],
    sources: Mapping[str, str],
    *,
    now: datetime | None = None,
    start: Path | None = None,
) -> RunFolder:
    """Makes the folder of a new run, named after the time, the data and the method, and freezes what was asked in it.

    `lines` are preference rows as lines of JSON, each with its `split`; `sources` is as in `Record`. The name of a
    local model folder is made absolute; the adapter in `start`, which the run goes on from, and the chat template that
    the config names are copied. Raises `WorkbenchError` where the disk refuses, and for a setting with a secret in it.
    """
    _refuse_secrets(config)
    now = (now or datetime.now()).astimezone()
    model = Path(config.model).expanduser()
    if config.model != "tiny" and model.is_dir():
        config = config.model_copy(update={"model": str(model.resolve())})
    document = {
        "created": now.isoformat(timespec="seconds"),
        "run": config.model_dump(mode="json"),
        "sources": dict(sources),
        "versions": _versions(),
    }
    try:
        folder = RunFolder(_new_folder(runs, f"{now:%Y-%m-%d-%H%M}-{_slug(config)}"))
        try:
            with folder.pairs.open("wb") as file:
                file.writelines(lines)
            if template := read_template(template_file(config.chat_template)):
                write_whole(folder.chosen_template, template)
            if start is not None:
                folder.start.mkdir()
                for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS):
                    shutil.copyfile(start / name, folder.start / name)
            # run.toml makes the folder a run, so it comes last and whole.
            settings = tomlkit.dumps(document)
            write_whole(folder.signature, sign(settings.encode()) + "\n")
            write_whole(folder.run_toml, settings)
        except BaseException:
            shutil.rmtree(folder.path, ignore_errors=True)
            raise
    except OSError as error:
        raise WorkbenchError("The run could not be made", f"{runs}: {error}.", "Free some space there.") from error
    return folder


def _refuse_secrets(config: RunConfig) -> None:
    """A run's settings are shown, reported and sent on."""
    for key, value in config.model_dump(mode="json").items():
        if (name := secret_in(json.dumps(value, ensure_ascii=False))) is not None:
            raise WorkbenchError(
                "A secret among the settings",
                f"{key} has the value of {name} in it; run.toml and reports would show it.",
                "Leave it out: the worker and what it starts have the variable itself.",
                fields={key: f"has the value of {name} in it"},
            )


def _new_folder(runs: Path, name: str) -> Path:
    runs.mkdir(parents=True, exist_ok=True)
    path, number = runs / name, 1
    while True:
        try:
            path.mkdir()
        except FileExistsError:
            number += 1
            path = runs / f"{name}-{number}"
        else:
            return path


def _slug(config: RunConfig) -> str:
    words = _NOT_SLUG.sub("-", "-".join(config.pairs).lower()).strip("-")[:48].rstrip("-")
    return "-".join(part for part in (words, config.method) if part)


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions
