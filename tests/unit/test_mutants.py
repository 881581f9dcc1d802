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


def test_a_mutant_that_a_test_notices_is_killed_and_another_survives(tmp_path: Path) -> None:
    (tmp_path / "grown.py").write_text("def grown(size: int) -> int:\n    return size + (size > 9)\n")
    (tmp_path / "test_grown.py").write_text("from grown import grown\n\ndef test_it():\n    assert grown(10) == 11\n")
    command = [sys.executable, "-m", "tests.mutants", "grown", "--tests", "test_grown.py"]
    root = Path(__file__).parents[2]
    environment = {"PYTHONPATH": f"{tmp_path}:{root}", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    # 10 is greater than 9, is not below 10 and not above it: `>=` goes unnoticed, `-` and `> 10` do not.
    assert done.stdout.count("survived in grown:") == 1
    assert "+ return size + (size >= 9)" in done.stdout
    assert done.stdout.splitlines()[-1].split() == ["all", "3", "3", "2", "0", "1"]
