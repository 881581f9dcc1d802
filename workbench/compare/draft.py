"""From what is on the Compare screen to a preference pair: which answer is which, and the pair that they make."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from workbench.compare.comparison import Answer, Comparison
from workbench.compare.messages import Prompt
from workbench.errors import WorkbenchError
from workbench.pairs.pair import Message, Pair, Text

_SURE = {"rejected": -1.0, "chosen": 1.0}
"""What a pair's answers are, whatever became of their probabilities."""


def candidates(comparison: Comparison) -> list[Answer]:
    """The answers at hand that can be told apart, those in view first."""
    found: dict[str, Answer] = {}
    for answer in (*comparison.shown, *comparison.answers):
        if answer.text.strip():
            found.setdefault(answer.text, answer)
    return list(found.values())


def first_choice(comparison: Comparison, answers: Sequence[Answer]) -> tuple[int | None, int | None]:
    """The numbers of the answers to begin with as chosen and as rejected; None where there are too few.

    A pair's own answers keep their sides. Else chosen is what alignment made likelier, rejected what it made less
    likely, a token; where nothing is known of that, the last answer and the first.
    """
    if not answers:
        return None, None
    if len(answers) == 1:
        return None, 0
    gains = [_gain(comparison, answer) for answer in answers]
    order = sorted(range(len(answers)), key=lambda place: (gains[place], place))
    return order[-1], order[0]


def _gain(comparison: Comparison, answer: Answer) -> float:
    """Nats a token that alignment added; for a pair's own answers, beyond all others."""
    if answer.group == "pair":
        return _SURE[answer.label] * float("inf")
    base, aligned = comparison.scores(answer)
    return 0.0 if base is None or aligned is None else aligned.mean - base.mean


def new_pair(prompt: Prompt, chosen: str, rejected: str, *, source: str, conversational: bool | None = None) -> Pair:
    """The pair, under a new id. `conversational`: what the data set holds; None for either kind.

    Raises `WorkbenchError` where the prompt has turns that plain text cannot say.
    """
    wanted = conversational if conversational is not None else not isinstance(prompt, str)
    identity = uuid.uuid4().hex[:12]
    if wanted:
        turns: Text = (
            (Message("user", prompt),)
            if isinstance(prompt, str)
            else tuple(Message(turn.role, turn.content) for turn in prompt)
        )
        sides = ((Message("assistant", chosen),), (Message("assistant", rejected),))
        return Pair(identity, turns, *sides, source=source)
    if isinstance(prompt, str):
        return Pair(identity, prompt, chosen, rejected, source=source)
    if [turn.role for turn in prompt] != ["user"]:
        roles = ", ".join(turn.role for turn in prompt)
        raise WorkbenchError(
            "That data set holds plain text",
            f"The prompt has turns by {roles}, which plain text cannot say.",
            "Choose a data set of conversations, or a new one.",
        )
    return Pair(identity, prompt[0].content, chosen, rejected, source=source)
