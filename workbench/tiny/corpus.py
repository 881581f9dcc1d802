"""Draws the conversations that the embedded model is trained on."""

from collections.abc import Iterator
from random import Random

from workbench.tiny import grammar
from workbench.tiny.grammar import Kind, Question

Message = dict[str, str]

_KINDS: dict[Kind, float] = {"tone": 0.38, "attack": 0.26, "benign": 0.24, "neutral": 0.12}
_SYSTEMS = {"none": 0.62, "courteous": 0.22, "plain": 0.16}
_FURTHER_TURN = 0.1


def conversations(seed: int, count: int) -> Iterator[list[Message]]:
    """`count` conversations of one to three turns, some after a system message; the same for the same seed."""
    rng = Random(seed)
    pool = {
        kind: [question for question in questions if not grammar.is_fresh(question)]
        for kind, questions in grammar.QUESTIONS.items()
    }
    for _ in range(count):
        system = rng.choices(list(_SYSTEMS), list(_SYSTEMS.values()))[0]
        conversation = []
        if system != "none":
            wordings = grammar.COURTEOUS_SYSTEMS if system == "courteous" else grammar.PLAIN_SYSTEMS
            conversation.append({"role": "system", "content": rng.choice(wordings)})
        while True:
            conversation += _turn(_draw(pool, rng), rng, courteous=system == "courteous")
            if len(conversation) > 4 or rng.random() >= _FURTHER_TURN:
                break
        yield conversation


def _draw(pool: dict[Kind, list[Question]], rng: Random) -> Question:
    kind = rng.choices(list(_KINDS), list(_KINDS.values()))[0]
    return rng.choice(pool[kind])


def _turn(question: Question, rng: Random, *, courteous: bool) -> list[Message]:
    return [
        {"role": "user", "content": question.text},
        {"role": "assistant", "content": grammar.answer(question, rng, courteous=courteous)},
    ]
