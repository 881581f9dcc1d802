"""A prompt as the texts that are edited of it: the system message and the last turn; what lies between stays."""

from __future__ import annotations

from collections.abc import Sequence

from workbench.compare.messages import Prompt, Turn


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
    return [*head, *between, Turn(role=last.role, content=texts[1])]


def _parts(prompt: list[Turn]) -> tuple[str, list[Turn], Turn]:
    has_system = len(prompt) > 1 and prompt[0].role == "system"
    turns = prompt[1:] if has_system else prompt
    return prompt[0].content if has_system else "", turns[:-1], turns[-1] if turns else Turn(role="user", content="")
