"""`make mutants`: changes each module of `MODULES` in one place after another, and runs its tests on every change.

A mutant is killed where a test fails. One that survives needs a test, simpler code, or its reason in `explained.toml`.
Ends with 0 where all are killed or explained.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.mutations import Mutant, mutants_of
from tests.mutants.trial import Trials

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
HEADINGS = ("mutants", "tried", "killed", "explained", "survived")


@dataclass
class Counts:
    """Of one module: `mutants` are all that there are."""

    mutants: int
    tried: int = 0
    killed: int = 0
    explained: int = 0
    survived: int = 0


class _FaultyError(Exception):
    """Something that makes the counts worthless."""


def main(given: list[str] | None = None) -> int:
    """Tries the modules named, or all; 1 where a mutant survived, 2 where it could not be tried."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("modules", nargs="*", help="as workbench.pairs.split; all of them by default")
    parser.add_argument("--count", type=int, default=60, help="how many mutants a module, 0 for all (default 60)")
    parser.add_argument("--seed", type=int, default=0, help="which ones, where there are more (default 0)")
    parser.add_argument("--tests", nargs="+", help="test files, for modules that have none here")
    asked = parser.parse_args(given)
    table: dict[str, Counts] = {}
    try:
        for module in asked.modules or MODULES:
            if not (tests := asked.tests or MODULES.get(module, [])):
                raise _FaultyError(f"no tests are known for {module}: name them by --tests")
            table[module] = _try(module, tests, asked.count, asked.seed)
    except _FaultyError as error:
        print(error, file=sys.stderr)
        return 2
    print("\n".join(_lines(table)))
    return int(any(counts.survived for counts in table.values()))


def _try(module: str, tests: list[str], count: int, seed: int) -> Counts:
    path = Path(*module.split(".")).with_suffix(".py")
    mutants = mutants_of(path.read_text())
    reasons = _explained(module, mutants)
    trials = Trials(module, path, tests)
    whole = trials.prepare()
    if whole.code:
        raise _FaultyError(f"{module}: its tests fail without a mutant\n{whole.printed[-3000:]}")
    # By the text of each, so that those of a line stay chosen, or not, whatever changes around it.
    mutants.sort(key=lambda mutant: hashlib.sha256(f"{seed} {mutant.key}".encode()).digest())
    chosen = mutants[: count or None]
    print(f"{module}: {len(chosen)} of {len(mutants)} mutants, by tests of {whole.seconds:.0f} s", flush=True)
    counts = Counts(len(mutants))
    for mutant in chosen:
        counts.tried += 1
        if trials.run(mutant.source, 10 + 5 * whole.seconds).code:
            counts.killed += 1
        elif mutant.key in reasons:
            counts.explained += 1
        else:
            counts.survived += 1
            print(f"  survived in {mutant.within or module}:\n    - {mutant.was}\n    + {mutant.becomes}", flush=True)
    return counts


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
    heading = f"{'module':{wide}}" + "".join(f"{each:>11}" for each in HEADINGS)
    return [heading, *(f"{name:{wide}}" + "".join(f"{each:>11,}" for each in row) for name, row in rows.items())]


if __name__ == "__main__":
    sys.exit(main())
