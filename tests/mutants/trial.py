"""Runs tests on a mutant, in a fork of a process that has imported all libraries already."""

from __future__ import annotations

import contextlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import resource
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType

import pytest

from workbench.child import ENVIRONMENT

TIMED_OUT = 101
NOT_IMPORTED = 102


@dataclass(frozen=True)
class Outcome:
    """How tests ended: `seconds` of processor, what was `printed`, and a `code`.

    That is pytest's exit status, or minus a signal; `TIMED_OUT` where a test, or all of them, took too long;
    `NOT_IMPORTED` where they could not be collected since the module raised an error while it was imported.
    """

    code: int
    seconds: float
    printed: str


class Trials:
    """Tests of one module, run as often as asked, each time in a fork and a folder for temporary files of its own.

    No mutant is ever written down. What tests start as processes runs the module as it is on the disk: tests are to be
    named that run it themselves.
    """

    def __init__(self, module: str, path: Path, tests: Sequence[str]) -> None:
        self._module = module
        self._path = path
        self._tests = tests
        self._seconds: dict[str, float] = {}

    def prepare(self) -> Outcome:
        """Runs the tests on the module as it is, and imports here what they imported, so that no fork has to."""
        with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
            outcome = self._run(self._path.read_text(), Path(folder), 3600)
            found = Path(folder, "found")
            names, self._seconds = json.loads(found.read_text()) if found.exists() else ([], {})
        os.environ |= {name: value for name, value in ENVIRONMENT.items() if name not in os.environ}
        for name in names:
            with contextlib.suppress(Exception):
                importlib.import_module(name)
        return outcome

    def run(self, source: str, limit: float) -> Outcome:
        """Runs the tests on `source` in the module's place, for at most `limit` seconds of processor."""
        with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
            return self._run(source, Path(folder), limit)

    def _run(self, source: str, folder: Path, limit: float) -> Outcome:
        code = compile(source, str(self._path), "exec", dont_inherit=True)
        child = os.fork()
        if child == 0:
            os._exit(self._in_child(code, folder, limit))
        _, status, usage = os.wait4(child, 0)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        output = folder / "output"
        printed = output.read_text(errors="replace") if output.exists() else ""
        ended = os.waitstatus_to_exitcode(status)
        return Outcome(TIMED_OUT if ended == -signal.SIGXCPU else ended, usage.ru_utime + usage.ru_stime, printed)

    def _in_child(self, code: CodeType, folder: Path, limit: float) -> int:
        os.setsid()
        output = os.open(folder / "output", os.O_WRONLY | os.O_CREAT)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.environ |= {"TMPDIR": str(folder), "HYPOTHESIS_STORAGE_DIRECTORY": str(folder / "hypothesis")}
        tempfile.tempdir = None
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        # Only the lower limit ends a process by a signal of its own, SIGXCPU.
        resource.setrlimit(resource.RLIMIT_CPU, (int(limit) + 1, int(limit) + 10))
        for name in [name for name in sys.modules if name.split(".")[0] in ("workbench", "tests")]:
            del sys.modules[name]
        instead = _Instead(self._module, self._path, code)
        sys.meta_path.insert(0, instead)
        watch = _Watch(self._seconds)
        # Waiting takes no processor, so a test that waits for ever has a limit of its own.
        options = ["-x", "-q", "-p", "no:cacheprovider", "--hypothesis-seed", "0", "--timeout", "300"]
        ended = int(pytest.main([*options, *self._tests], plugins=[watch]))
        names = [name for name, module in list(sys.modules.items()) if not _is_ours(module)]
        (folder / "found").write_text(json.dumps([names, watch.seconds]))
        if ended == pytest.ExitCode.TESTS_FAILED and watch.timed_out:
            return TIMED_OUT
        return NOT_IMPORTED if ended > pytest.ExitCode.TESTS_FAILED and instead.failed else ended


def _is_ours(module: ModuleType) -> bool:
    """Whether it is of the tree that is tried, and so may be the mutant or hold something of it."""
    file = Path(getattr(module, "__file__", None) or "/")
    return file.is_relative_to(Path.cwd()) and "site-packages" not in file.parts


class _Watch:
    """Runs the quickest tests first, by the `seconds` that each took before; whether one ran for longer than it may."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self.seconds = dict(seconds)
        self.timed_out = False

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items.sort(key=lambda item: self.seconds.get(item.nodeid, 0.0))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call":
            self.seconds[report.nodeid] = report.duration
        self.timed_out |= report.failed and "from pytest-timeout" in report.longreprtext


class _Instead(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives `code` to whoever imports the module of this name; `failed` once it raised an error there."""

    def __init__(self, name: str, path: Path, code: CodeType) -> None:
        self._name = name
        self._path = path
        self._code = code
        self.failed = False

    def find_spec(self, fullname: str, *_: object) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._name:
            return None
        return importlib.util.spec_from_file_location(fullname, self._path, loader=self)

    def exec_module(self, module: ModuleType) -> None:
        try:
            exec(self._code, module.__dict__)
        except BaseException:
            self.failed = True
            raise
