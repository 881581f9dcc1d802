"""Installed packages against what the workbench asks for, and against the versions that are known to run together."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from workbench.doctor.findings import Finding

_SHOWN = 6
_EXTRAS = {"gguf": "merge --to FILE.gguf", "web": "serve"}
_OLDEST = (3, 11)

Version = Callable[[str], str]
"""The installed version of a package; raises `PackageNotFoundError`."""


def look() -> Iterator[Finding]:
    """Python, the packages that are needed, those that some commands need, and the pins."""
    yield _python()
    asked = [Requirement(each) for each in requires("alignment-workbench") or ()]
    yield needed([each for each in asked if _applies(each, "")])
    for extra, command in _EXTRAS.items():
        found = needed([each for each in asked if _applies(each, extra) and not _applies(each, "")])
        if found.level == "missing":
            hint = f"pip install 'alignment-workbench[{extra}]'"
            yield Finding(f"for {command}", "warning", found.message, hint)
    pins = Path(__file__).parents[2] / "constraints.txt"
    if pins.is_file():
        yield pinned(pins.read_text("utf-8").splitlines(), [each.name for each in asked])


def needed(asked: Sequence[Requirement], installed: Version = version) -> Finding:
    """Whether each is there in a version that will do."""
    wrong = []
    for each in asked:
        try:
            found = installed(each.name)
        except PackageNotFoundError:
            wrong.append(f"{each.name} is not installed")
            continue
        if not each.specifier.contains(found, prereleases=True):
            wrong.append(f"{each.name} {found} is not {each.specifier}")
    if wrong:
        return Finding("packages", "missing", _listed(wrong), "Install the workbench again, with its constraints.txt.")
    return Finding("packages", "ok", f"all {len(asked)} that are needed")


def pinned(lines: Sequence[str], names: Sequence[str], installed: Version = version) -> Finding:
    """Whether the packages `names` have the versions that constraints.txt has."""
    wanted = {canonicalize_name(name) for name in names}
    other = []
    for line in lines:
        name, equals, pin = line.partition("==")
        if not equals or canonicalize_name(name) not in wanted:
            continue
        try:
            found = installed(name)
        except PackageNotFoundError:
            continue
        if found.partition("+")[0] != pin.strip():
            other.append(f"{name} {found}, tested with {pin.strip()}")
    if other:
        return Finding("versions", "warning", _listed(other), "pip install -c constraints.txt -e .")
    return Finding("versions", "ok", "those of constraints.txt, which are known to run together")


def _python() -> Finding:
    level: bool = sys.version_info >= _OLDEST
    hint = "" if level else "Install Python 3.11 or later."
    return Finding("Python", "ok" if level else "missing", f"{platform.python_version()} in {sys.prefix}", hint)


def _applies(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def _listed(parts: Sequence[str]) -> str:
    more = f"; {len(parts) - _SHOWN} more" if len(parts) > _SHOWN else ""
    return "; ".join(parts[:_SHOWN]) + more
