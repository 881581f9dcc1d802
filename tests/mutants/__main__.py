"""`make mutants`: changes each module of `MODULES` in one place after another, and runs its tests on every change.

A mutant is killed where a test fails, or where it cannot be imported; one by which a test never ends is counted apart.
One that survives needs a test, simpler code, or its reason in `explained.toml`. Whatever else ends a test run, as
a signal, is an error. Ends with 0 where all are noticed or explained.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import sys
import tempfile
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.mutants.mutations import Mutant, mutants_of
from tests.mutants.trial import NOT_IMPORTED, TIMED_OUT, Outcome, Trials

_ENGINE, _PAIRS, _EVIDENCE = "tests/unit/engine", "tests/unit/pairs", "tests/unit/evidence"
MODULES: dict[str, list[str]] = {
    "workbench.pairs.split": [f"{_PAIRS}/test_split.py"],
    "workbench.evidence.verdicts": [f"{_EVIDENCE}/test_verdicts.py"],
    "workbench.evidence.claims": [f"{_EVIDENCE}/test_verdicts.py", f"{_EVIDENCE}/test_settings.py"],
    "workbench.evidence.statistics": [f"{_EVIDENCE}/test_statistics.py"],
    "workbench.evidence.measurements": [f"{_EVIDENCE}/test_measurements.py"],
    "workbench.evidence.calibration": [f"{_EVIDENCE}/test_calibration.py"],
    "workbench.evidence.length_control": [f"{_EVIDENCE}/test_length_control.py"],
    "workbench.engine.methods.losses": [f"{_ENGINE}/test_losses.py"],
    "workbench.pairs.journal": [f"{_PAIRS}/test_damaged_journal.py", f"{_PAIRS}/test_store.py"],
}
"""Each with the fewest test files that show what it is for, the quickest first."""

EXPLAINED = Path(__file__).with_name("explained.toml")
HEADINGS = ("mutants", "tried", "killed", "timed_out", "explained", "survived", "errors")
TOLD_EVERY = 30
"""Seconds between two lines of progress."""


@dataclass
class Counts:
    """Of one module: `mutants` are all that there are; those `timed_out` count as noticed, too."""

    mutants: int
    tried: int = 0
    killed: int = 0
    timed_out: int = 0
    explained: int = 0
    survived: int = 0
    errors: int = 0


@dataclass
class _Chosen:
    """The mutants of a module that are to be tried, and how."""

    module: str
    path: Path
    tests: list[str]
    mutants: list[Mutant]
    reasons: dict[tuple[str, str, str], str]
    counts: Counts


class _FaultyError(Exception):
    """Something that makes the counts worthless."""


def main(given: list[str] | None = None) -> int:
    """Tries the modules named, or all; 1 where a mutant survived, 2 where one could not be tried."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("modules", nargs="*", help="as workbench.pairs.split; all of them by default")
    parser.add_argument("--count", type=int, default=60, help="how many mutants a module, 0 for all (default 60)")
    parser.add_argument("--seed", type=int, default=0, help="which ones, where there are more (default 0)")
    parser.add_argument("--tests", nargs="+", help="test files, for modules that have none here")
    asked = parser.parse_args(given)
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        _copy_sources(Path.cwd(), Path(folder))
        os.chdir(folder)
        sys.path.insert(0, folder)
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (folder, os.environ.get("PYTHONPATH"))))
        try:
            every = [_choose(name, asked.tests, asked.count, asked.seed) for name in asked.modules or MODULES]
            _try(every)
        except _FaultyError as error:
            print(error, file=sys.stderr)
            return 2
    print("\n".join(_lines({chosen.module: chosen.counts for chosen in every})))
    if any(chosen.counts.errors for chosen in every):
        return 2
    return int(any(chosen.counts.survived for chosen in every))


def _copy_sources(root: Path, folder: Path) -> None:
    """Copies packages, modules and settings: whoever edits them meanwhile does not disturb."""
    for path in root.iterdir():
        if (path / "__init__.py").exists():
            shutil.copytree(path, folder / path.name, ignore=shutil.ignore_patterns("__pycache__"))
        elif path.suffix in (".py", ".toml"):
            shutil.copy(path, folder)


def _choose(module: str, tests: list[str] | None, count: int, seed: int) -> _Chosen:
    if not (tests := tests or MODULES.get(module, [])):
        raise _FaultyError(f"no tests are known for {module}: name them by --tests")
    path = Path(*module.split(".")).with_suffix(".py")
    mutants = mutants_of(path.read_text())
    counts = Counts(len(mutants))
    reasons = _explained(module, mutants)
    # By the text of each, so that those of a line stay chosen, or not, whatever changes around it.
    mutants.sort(key=lambda mutant: hashlib.sha256(f"{seed} {mutant.key}".encode()).digest())
    return _Chosen(module, path, tests, mutants[: count or None], reasons, counts)


def _try(every: list[_Chosen]) -> None:
    start = told = time.monotonic()
    whole = sum(len(chosen.mutants) for chosen in every)
    for chosen in every:
        trials = Trials(chosen.module, chosen.path, chosen.tests)
        unchanged = trials.prepare()
        if unchanged.code:
            raise _FaultyError(f"{chosen.module}: its tests fail without a mutant\n{unchanged.printed[-3000:]}")
        print(f"{chosen.module}: {len(chosen.mutants)} mutants, by tests of {unchanged.seconds:.0f} s", flush=True)
        for mutant in chosen.mutants:
            _count(chosen, mutant, trials.run(mutant.source, 10 + 5 * unchanged.seconds))
            if time.monotonic() > told + TOLD_EVERY:
                told = time.monotonic()
                tried = sum(each.counts.tried for each in every)
                survived = sum(each.counts.survived for each in every)
                left = (told - start) * (whole / tried - 1) / 60
                print(f"{tried} of {whole}, {survived} survived, about {left:.0f} min left", file=sys.stderr)


def _count(chosen: _Chosen, mutant: Mutant, outcome: Outcome) -> None:
    counts = chosen.counts
    counts.tried += 1
    if outcome.code in (pytest.ExitCode.TESTS_FAILED, NOT_IMPORTED):
        counts.killed += 1
        return
    if outcome.code in (0, TIMED_OUT) and mutant.key in chosen.reasons:
        counts.explained += 1
        return
    if outcome.code == 0:
        counts.survived += 1
        said = "survived"
    elif outcome.code == TIMED_OUT:
        counts.timed_out += 1
        said = "timed out"
    else:
        counts.errors += 1
        said = f"could not be tried (exit status {outcome.code}: {outcome.printed[-1000:]})"
    print(f"  {said} in {mutant.within or chosen.module}:\n    - {mutant.was}\n    + {mutant.becomes}", flush=True)


def _explained(module: str, mutants: list[Mutant]) -> dict[tuple[str, str, str], str]:
    """Why mutants of the module may survive, by their keys."""
    entries = tomllib.loads(EXPLAINED.read_text()).get(module, [])
    reasons = {(entry["within"], entry["was"], entry["becomes"]): entry["reason"] for entry in entries}
    if gone := reasons.keys() - {mutant.key for mutant in mutants}:
        raise _FaultyError(f"{module}: {EXPLAINED.name} explains what is no mutant (any more): {sorted(gone)[0]}")
    return reasons


def _lines(table: dict[str, Counts]) -> list[str]:
    rows = {name: [getattr(counts, heading) for heading in HEADINGS] for name, counts in table.items()}
    rows["all"] = [sum(column) for column in zip(*rows.values(), strict=True)]
    wide = max(map(len, rows))
    heading = f"{'module':{wide}}" + "".join(f"{each.replace('_', ' '):>11}" for each in HEADINGS)
    return [heading, *(f"{name:{wide}}" + "".join(f"{each:>11,}" for each in row) for name, row in rows.items())]


if __name__ == "__main__":
    sys.exit(main())
