"""`make mutants` changes what it says, tells a change by its text, and knows whether a test noticed."""

import subprocess
import sys
from pathlib import Path

from tests.mutants.mutations import mutants_of

SOURCE = '''
import dataclasses

@dataclasses.dataclass(frozen=True)
class Box:
    def larger(self, one: int = 3) -> bool:
        """Not changed: 5 < 6."""
        print(one)
        return not one <= 2 and one * -1 < min(one, 7)
'''


def test_every_mutant_is_one_change_of_one_line_in_a_module_that_compiles() -> None:
    found = mutants_of(SOURCE)
    returned = "return not one <= 2 and one * -1 < min(one, 7)"
    assert {(mutant.within, mutant.was, mutant.becomes) for mutant in found} == {
        ("Box.larger", "def larger(self, one: int=3) -> bool:", "def larger(self, one: int=4) -> bool:"),
        ("Box.larger", "print(one)", "None"),
        ("Box.larger", returned, "return not one <= 2 or one * -1 < min(one, 7)"),
        ("Box.larger", returned, "return not not one <= 2 and one * -1 < min(one, 7)"),
        ("Box.larger", returned, "return not one < 2 and one * -1 < min(one, 7)"),
        ("Box.larger", returned, "return not one <= 3 and one * -1 < min(one, 7)"),
        ("Box.larger", returned, "return not one <= 2 and one * -1 <= min(one, 7)"),
        ("Box.larger", returned, "return not one <= 2 and one / -1 < min(one, 7)"),
        ("Box.larger", returned, "return not one <= 2 and one * +1 < min(one, 7)"),
        ("Box.larger", returned, "return not one <= 2 and one * -2 < min(one, 7)"),
        ("Box.larger", returned, "return not one <= 2 and one * -1 < max(one, 7)"),
        ("Box.larger", returned, "return not one <= 2 and one * -1 < min(one, 8)"),
    }
    assert len({mutant.source for mutant in found}) == len(found)
    for mutant in found:
        compile(mutant.source, "mutant", "exec")


def mutants(folder: Path, module: str, test: str) -> subprocess.CompletedProcess[str]:
    """`python -m tests.mutants grown` with that module, and that test in test_grown.py."""
    (folder / "grown.py").write_text(module)
    (folder / "test_grown.py").write_text(test)
    command = [sys.executable, "-m", "tests.mutants", "grown", "--tests", "test_grown.py"]
    environment = {"PYTHONPATH": f"{folder}:{Path(__file__).parents[2]}", "PATH": "/usr/bin:/bin"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def last_row(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Mutants, tried, killed, timed out, explained, survived, errors."""
    return done.stdout.splitlines()[-1].split()[1:]


def test_a_mutant_that_a_test_notices_is_killed_and_another_survives(tmp_path: Path) -> None:
    module = "def grown(size: int) -> int:\n    return size + (size > 9)\n"
    done = mutants(tmp_path, module, "from grown import grown\n\ndef test_it():\n    assert grown(10) == 11\n")
    assert done.returncode == 1, done.stdout + done.stderr
    # 10 is greater than 9, is not below 10 and not above it: `>=` goes unnoticed, `-` and `> 10` do not.
    assert done.stdout.count("survived in grown:") == 1
    assert "+ return size + (size >= 9)" in done.stdout
    assert last_row(done) == ["3", "3", "2", "0", "0", "1", "0"]
    assert (tmp_path / "grown.py").read_text() == module


def test_only_a_failing_test_kills_and_what_ends_otherwise_is_counted_apart(tmp_path: Path) -> None:
    module = "LEFT = 1\nPAUSE = 0\nLOOPS = 3\nSTEP = 5\nFIRST = 'a'[0]\n"
    test = """
import os, signal, time
import pytest
from grown import LEFT, LOOPS, PAUSE, STEP

assert STEP == 5

@pytest.mark.timeout(1)
def test_it():
    time.sleep(30 * PAUSE)
    if LEFT == 2:
        os._exit(4)
    if LOOPS == 4:
        signal.raise_signal(signal.SIGXCPU)
"""
    done = mutants(tmp_path, module, test)
    assert done.returncode == 2, done.stdout + done.stderr
    # 'a'[1] is no test's failure, but that of the mutant; that a test file cannot be collected is the file's own.
    assert last_row(done) == ["5", "5", "1", "2", "0", "0", "2"]
    told = ["timed out in grown:\n    - PAUSE", "timed out in grown:\n    - LOOPS", "(exit status 4", "(exit status 2"]
    assert [each for each in told if each not in done.stdout] == []
