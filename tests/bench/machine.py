"""What a figure was measured on, and where figures are kept."""

from __future__ import annotations

import json
import os
import platform
import re
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

RESULTS = Path(__file__).with_name("results")
_PACKAGES = ("torch", "transformers", "trl", "peft", "bitsandbytes", "datasets", "pyarrow", "tokenizers")


def machine() -> dict[str, Any]:
    """The CPU, its cores, memory in GiB, and the versions of what computes."""
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(psutil.virtual_memory().total / 1024**3, 1),
        "python": platform.python_version(),
        "versions": {name: found for name in _PACKAGES if (found := _version(name))},
    }


def told(about: dict[str, Any]) -> str:
    """The machine in a line."""
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    return f"{about['cpu']}, {about['cores']} cores, {about['memory_gib']} GiB; Python {about['python']}, {versions}"


def save(name: str, found: dict[str, Any], table: str, folder: Path = RESULTS) -> Path:
    """Writes NAME.json and NAME.md, each whole or not at all; returns the latter."""
    folder.mkdir(parents=True, exist_ok=True)
    document = {"measured": datetime.now(UTC).isoformat(timespec="seconds"), **found}
    for path, text in (
        (folder / f"{name}.json", json.dumps(document, indent=1) + "\n"),
        (folder / f"{name}.md", table + "\n"),
    ):
        unfinished = path.with_suffix(".tmp")
        unfinished.write_text(text, "utf-8")
        unfinished.replace(path)
    return folder / f"{name}.md"


def read(name: str, folder: Path = RESULTS) -> dict[str, Any]:
    """What NAME.json says; empty where there is none."""
    try:
        found: dict[str, Any] = json.loads((folder / f"{name}.json").read_text("utf-8"))
    except FileNotFoundError:
        return {}
    return found


def _cpu() -> str:
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
