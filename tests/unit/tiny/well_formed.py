"""What the grammar of the embedded model can produce."""

from functools import cache

from workbench.tiny import answers
from workbench.tiny.grammar import QUESTIONS


def is_well_formed(response: str) -> bool:
    """Whether the grammar can produce exactly this response."""
    return response in _responses()


@cache
def _responses() -> frozenset[str]:
    return frozenset(
        text
        for questions in QUESTIONS.values()
        for question in questions
        for answer in question.answers.values()
        for text in answers.variants(answer)
    )
