"""A pair's prompt as the scorer takes it, and as the texts that are edited of it: its system message and last turn."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ValidationError

from workbench.compare.messages import Prompt, Response, Turn
from workbench.errors import WorkbenchError
from workbench.pairs.pair import Text
from workbench.text import one_line


def as_prompt(text: Text) -> Prompt:
    """A pair's prompt as the scorer takes it. Raises `WorkbenchError` for roles that no chat template takes."""
    if isinstance(text, str):
        return text
    try:
        return [Turn.of(turn) for turn in text]
    except ValidationError:
        roles = ", ".join(repr(one_line(turn.role, 40)) for turn in text)
        raise WorkbenchError(
            "No chat template takes these roles",
            f"The turns are by {roles}.",
            "Use user, assistant and system; e on the Pairs screen changes a role.",
        ) from None


def as_response(text: Text) -> Response:
    """A pair's response as the scorer takes it: one turn of the assistant is its text. Raises `WorkbenchError`."""
    if not isinstance(text, str) and [turn.role for turn in text] == ["assistant"] and not text[0].whole:
        return text[0].content
    return as_prompt(text)


def texts_of(prompt: Prompt) -> list[tuple[str, str]]:
    """(label, text) of what can be edited; plain text is one text without roles."""
    if isinstance(prompt, str):
        return [("plain text", prompt)]
    system, _, last = _parts(prompt)
    return [("system (optional)", system), (last.role, last.content)]


def kept_turns(prompt: Prompt) -> int:
    """How many turns lie between the system message and the last turn."""
    return 0 if isinstance(prompt, str) else len(_parts(prompt)[1])


def with_texts(prompt: Prompt, texts: Sequence[str]) -> Prompt:
    """The prompt with edited `texts`, in the order of `texts_of`; an empty system message is none."""
    if isinstance(prompt, str):
        return texts[0]
    _, between, last = _parts(prompt)
    head = [Turn(role="system", content=texts[0])] if texts[0].strip() else []
    return [*head, *between, Turn.of(last.message().with_content(texts[1]))]


def _parts(prompt: list[Turn]) -> tuple[str, list[Turn], Turn]:
    has_system = len(prompt) > 1 and prompt[0].role == "system"
    turns = prompt[1:] if has_system else prompt
    return prompt[0].content if has_system else "", turns[:-1], turns[-1] if turns else Turn(role="user", content="")
