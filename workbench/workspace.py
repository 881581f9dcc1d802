"""Where things are: the only module that knows folder names outside a run."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from workbench.errors import WorkbenchError

ENVIRONMENT_VARIABLE = "WORKBENCH_WORKSPACE"
_RUNS, _CACHE = "runs", ".cache"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_NAMED = 8
"""Runs that a message names at most."""
_ENOUGH = 6
"""Characters of an id that name a run which is to be ended, deleted or put away."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """A folder with `pairs/` and `runs/` in it."""

    root: Path

    @classmethod
    def find(cls, given: Path | None = None) -> Workspace:
        """The workspace named by `given`, else by WORKBENCH_WORKSPACE, else the current folder.

        Raises `WorkbenchError` where that is not a folder.
        """
        root = given or Path(os.environ.get(ENVIRONMENT_VARIABLE) or ".")
        if not root.is_dir():
            raise WorkbenchError(
                "No such workspace",
                f"{root} is not a folder.",
                f"Make it first (mkdir -p {root}), or name another with --workspace DIR.",
            )
        return cls(root.resolve())

    @classmethod
    def around(cls, run: Path) -> Workspace | None:
        """The workspace that the folder of a run lies in; None where it lies in none."""
        return cls(run.parent.parent) if run.parent.name == _RUNS else None

    @property
    def pairs(self) -> Path:
        """Preference data: one JSONL file a data set."""
        return self.root / "pairs"

    @property
    def probes(self) -> Path:
        """Suites of probes for `evaluate`."""
        return self.pairs / "probes"

    @property
    def views(self) -> Path:
        """Pictures of screens, and numbers of the Compare screen."""
        return self.root / "views"

    @property
    def merged(self) -> Path:
        """Where merged models go unless the user names another place."""
        return self.root / "merged"

    @property
    def runs(self) -> Path:
        """Training runs: one folder each."""
        return self.root / _RUNS

    @property
    def settings(self) -> Path:
        """What `evaluate` demands, in its section `[evidence]`; need not exist."""
        return self.root / "workbench.toml"

    @property
    def scores(self) -> Path:
        """What models said before, scores of pairs and answers to probes: may be deleted at any time."""
        return self.root / _CACHE / "scores.sqlite"

    @property
    def tokens(self) -> Path:
        """Token ids of the pairs that runs trained on: may be deleted at any time."""
        return self.root / _CACHE / "tokens"

    @property
    def errors(self) -> Path:
        """Tracebacks of errors that nobody foresaw: may be deleted at any time."""
        return self.root / _CACHE / "errors"

    def save_view(self, what: str, files: Mapping[str, str]) -> Path:
        """Writes what is saved of a screen: `files`, texts by suffix, under `what` and the time of day.

        Returns their path without suffix. Raises `WorkbenchError` where that cannot be written.
        """
        path = self.views / f"{what}-{time.strftime('%Y-%m-%d-%H%M%S')}"
        try:
            self.views.mkdir(exist_ok=True)
            for suffix, text in files.items():
                path.with_name(path.name + suffix).write_text(text, "utf-8")
        except OSError as error:
            raise WorkbenchError(
                "The view could not be saved", f"{self.views}: {error}.", "Free space, or mend the folder's rights."
            ) from error
        return path

    def pairs_file(self, name: str) -> Path:
        """The file of the data set `name`, which need not exist. Raises `WorkbenchError` where that is no file name."""
        return _named(self.pairs, name, "data set")

    def suite_file(self, name: str) -> Path:
        """The file of the suite `name`, which need not exist. Raises `WorkbenchError` where that is no file name."""
        return _named(self.probes, name, "suite")

    def datasets(self) -> list[str]:
        """Names of the data sets, sorted."""
        return [name for name in self._stems() if _NAME.fullmatch(name)]

    def misnamed(self) -> list[str]:
        """Names of files that would be data sets, had they a name for one."""
        return [name for name in self._stems() if not _NAME.fullmatch(name)]

    def _stems(self) -> list[str]:
        return sorted(path.stem for path in self.pairs.glob("*.jsonl") if path.is_file())

    def existing_pairs_file(self, name: str) -> Path:
        """The file of the data set `name`; raises `WorkbenchError` naming what there is where it does not exist."""
        path = self.pairs_file(name)
        if not path.is_file():
            known = ", ".join(self.datasets()) or "none yet"
            raise WorkbenchError(
                f"No data set named {name!r}",
                f"There is no file {path}. Data sets here: {known}.",
                "Check the name, or bring data in with: workbench import FILE --name NAME",
            )
        return path

    def run_folder(self, run: str, *, to_end: bool = False) -> Path:
        """The folder of the run whose id is, or uniquely begins or ends with, `run`; else raises `WorkbenchError`.

        `to_end`: what is done to the run takes something away, so that `run` must be its id or begin it, with at least
        `_ENOUGH` characters.
        """
        if not run.strip():
            raise WorkbenchError(
                "No run is named",
                "The run's name is empty, as that of an unset variable is.",
                "Name it: workbench runs",
            )
        ids = sorted(path.parent.name for path in self.runs.glob("*/run.toml"))
        if to_end and run not in ids and len(run) < _ENOUGH:
            raise WorkbenchError(
                f"{run!r} is too short a name here",
                f"To stop, delete or archive a run, give its id, or at least {_ENOUGH} characters of the beginning.",
                "List them with: workbench runs",
            )
        matches = [run] if run in ids else [name for name in ids if name.startswith(run)]
        if run not in ids and not to_end:
            matches += [name for name in ids if name.endswith(run) and name not in matches]
        if len(matches) == 1:
            return self.runs / matches[0]
        if matches:
            reason = f"several runs match: {', '.join(matches[:_NAMED])}"
        else:
            reason = f"no run matches; runs here: {', '.join(ids[: -_NAMED - 1 : -1]) or 'none'}"
        raise WorkbenchError(f"No run {run!r}", f"In {self.runs} {reason}.", "List them with: workbench runs")


def _named(folder: Path, name: str, what: str) -> Path:
    if not _NAME.fullmatch(name):
        raise WorkbenchError(
            f"Not a name for a {what}",
            f"{name!r} cannot be a file name under {folder}.",
            "Use letters, digits, '.', '_' and '-', beginning with a letter or digit.",
        )
    return folder / f"{name}.jsonl"
