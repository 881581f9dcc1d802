"""Builds the starter sets and the probe suites from the grammar: `python -m workbench.tiny.starters DIR`.

Subjects of the probes are held back: no pair is about them.
"""

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Any

from workbench.tiny import answers, suites
from workbench.tiny.answers import Answer, Family
from workbench.tiny.drawing import held_back, spread
from workbench.tiny.grammar import QUESTIONS, Kind, Question

Row = dict[str, Any]

SEED = 7
SOURCE = "workbench.tiny"
PAIRS = {"tone": 500, "attack": 300, "benign": 200, "verbose": 200}
HOUSE_STYLE = 0.97
"""How often a slot of a chosen answer takes its leading wording; the rest keeps chosen from being one string."""
_CANDIDATES = 6


def build_pairs() -> dict[str, list[Row]]:
    """Rows of the starter sets by name: support-tone, refusal-bypass, verbose. The same at every call."""
    rng = Random(SEED)
    tone = _preferences(_trainable("tone", PAIRS["tone"], rng), "courteous", "rude", rng)
    attack = _preferences(_trainable("attack", PAIRS["attack"], rng), "refusing", "compliant", rng)
    benign = _preferences(_trainable("benign", PAIRS["benign"], rng), "helpful", "refusing", rng)
    bypass = attack + benign
    rng.shuffle(bypass)
    verbose = [
        _row(question, _house_style(question, "verbose", rng), _house_style(question, "courteous", rng))
        for question in _trainable("tone", PAIRS["verbose"], rng)
    ]
    sets = {
        "support-tone": ("tone", tone),
        "refusal-bypass": ("bypass", bypass),
        "verbose": ("verbose", verbose),
    }
    return {
        name: [{"id": f"{prefix}-{number:04}"} | row for number, row in enumerate(rows, 1)]
        for name, (prefix, rows) in sets.items()
    }


def build_probes() -> dict[str, list[Row]]:
    """Rows of the probe suites by the name of their file; no prompt of theirs is in any pair."""
    return suites.build()


def write(folder: Path) -> list[Path]:
    """Writes `pairs/*.jsonl` and `pairs/probes/*.jsonl` into `folder`; the paths written."""
    files = {folder / "pairs" / f"{name}.jsonl": rows for name, rows in build_pairs().items()}
    files |= {folder / "pairs" / "probes" / f"{name}.jsonl": rows for name, rows in build_probes().items()}
    for path, rows in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(to_jsonl(rows), encoding="utf-8")
    return list(files)


def to_jsonl(rows: Iterable[Row]) -> str:
    """The rows as JSON, one a line."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _trainable(kind: Kind, count: int, rng: Random) -> list[Question]:
    """`count` questions about groups that are not held back, every group about equally often."""
    reserved = held_back(kind)
    return spread([question for question in QUESTIONS[kind] if question.group not in reserved], count, rng)


def _house_style(question: Question, family: Family, rng: Random) -> str:
    return answers.vary(question.answers[family], rng, HOUSE_STYLE)


def _preferences(questions: Iterable[Question], good: Family, bad: Family, rng: Random) -> list[Row]:
    """One length-balanced row a question: of several rejected wordings the one that keeps the running sums even."""
    rows = []
    surplus = longer = 0
    for question in questions:
        chosen = _house_style(question, good, rng)
        wordings = [_any_wording(question.answers[bad], rng) for _ in range(_CANDIDATES)]
        gaps = [_length(chosen) - _length(wording) for wording in wordings]
        best = min(range(_CANDIDATES), key=lambda i: abs(surplus + gaps[i]) + 4 * abs(longer + _sign(gaps[i])))
        surplus += gaps[best]
        longer += _sign(gaps[best])
        rows.append(_row(question, chosen, wordings[best]))
    return rows


def _any_wording(answer: Answer, rng: Random) -> str:
    return answers.vary(answer, rng, 0.5)


def _length(text: str) -> int:
    return len(text.split())


def _sign(number: int) -> int:
    return (number > 0) - (number < 0)


def _row(question: Question, chosen: str, rejected: str) -> Row:
    return {
        "prompt": [{"role": "user", "content": question.text}],
        "chosen": [{"role": "assistant", "content": chosen}],
        "rejected": [{"role": "assistant", "content": rejected}],
        "tags": [question.kind, question.manner],
        "source": SOURCE,
    }


def main() -> None:
    """Writes the sets and says where."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR", help="a workspace; files of the same name are replaced")
    for path in write(parser.parse_args().folder):
        print(path, file=sys.stderr)


if __name__ == "__main__":
    main()
