"""The table of faults, and small disks of their own."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.conftest import finished_run
from tests.faults.table import FaultTable

__all__ = ["finished_run"]
_TABLE = FaultTable()


@pytest.fixture(scope="session")
def faults() -> FaultTable:
    """Where a test counts its tries, for the table at the end; see `tests.faults.table`."""
    return _TABLE


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes half an hour begins first, so that another process does the rest meanwhile."""
    items.sort(key=lambda item: "test_soak" not in item.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A process of several hands its counts to the one that prints."""
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        output["faults"] = _TABLE.told()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    _TABLE.take_in(getattr(node, "workeroutput", {}).get("faults", ({}, {})))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if lines := _TABLE.lines():
        terminalreporter.section("faults")
        terminalreporter.write("\n".join(lines) + "\n")


@pytest.fixture
def make_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Mounts a tmpfs of so many megabytes; skips where that is not allowed."""
    path = tmp_path / "disk"
    path.mkdir()

    def make(megabytes: int) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "none", str(path)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("mounting a tmpfs is not allowed here")
        return path

    yield make
    subprocess.run(["umount", "-l", path], capture_output=True, check=False)
