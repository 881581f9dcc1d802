"""From what is on the Compare screen to a preference pair: which answer is which, and the pair that they make."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from workbench.compare.comparison import Answer, Comparison
from workbench.compare.messages import Prompt, Response
from workbench.errors import WorkbenchError
from workbench.pairs.pair import Message, Pair, Text

_SURE = {"rejected": -1.0, "chosen": 1.0}
"""What a pair's answers are, whatever became of their probabilities."""


def candidates(comparison: Comparison) -> list[Answer]:
    """The answers at hand that can be told apart, those in view first."""
    by_text: dict[str, Answer] = {}
    for answer in (*comparison.shown, *comparison.answers):
        if answer.text.strip() and not answer.openings:
            by_text.setdefault(answer.text, answer)
    return list(by_text.values())


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
    order = sorted(range(len(answers)), key=lambda number: (gains[number], number))
    return order[-1], order[0]


def _gain(comparison: Comparison, answer: Answer) -> float:
    """Nats a token that alignment added; for a pair's own answers, beyond all others."""
    if answer.group == "pair":
        return _SURE[answer.label] * float("inf")
    base, aligned = comparison.scores(answer)
    return 0.0 if base is None or aligned is None else aligned.mean - base.mean


def new_pair(
    prompt: Prompt,
    chosen: Response,
    rejected: Response,
    *,
    source: str,
    conversational: bool | None = None,
    rendering: Mapping[str, Any] | None = None,
) -> Pair:
    """The pair, under a new id. `conversational`: what the data set holds; None for either kind.

    `rendering` are the columns that a prompt with roles is rendered with. Raises `WorkbenchError` where plain text
    cannot say the turns.
    """
    wanted = conversational if conversational is not None else not isinstance(prompt, str)
    identity = uuid.uuid4().hex[:12]
    if wanted:
        turns: Text = (
            (Message("user", prompt),) if isinstance(prompt, str) else tuple(turn.message() for turn in prompt)
        )
        return Pair(identity, turns, _turns(chosen), _turns(rejected), source=source, extra=dict(rendering or {}))
    asked, better, worse = (
        _in_plain(text, role) for text, role in ((prompt, "user"), (chosen, "assistant"), (rejected, "assistant"))
    )
    return Pair(identity, asked, better, worse, source=source)


def _turns(response: Response) -> Text:
    if isinstance(response, str):
        return (Message("assistant", response),)
    return tuple(turn.message() for turn in response)


def _in_plain(text: Prompt | Response, role: str) -> str:
    """The words of `text`, plain already or one turn by `role`."""
    if isinstance(text, str):
        return text
    if [turn.role for turn in text] != [role] or text[0].whole:
        raise WorkbenchError(
            "That data set holds plain text",
            f"There are turns by {', '.join(turn.role for turn in text)}, which plain text cannot say.",
            "Choose a data set of conversations, or a new one.",
        )
    return text[0].content
