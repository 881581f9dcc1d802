"""A conversation to token ids: the chat template's control tokens count, those typed into a turn are text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from workbench.errors import WorkbenchError
from workbench.pairs.pair import Message


def rendered(tokenizer: PreTrainedTokenizerBase, turns: Sequence[Message], arguments: Mapping[str, Any]) -> list[int]:
    """The ids of `turns` in the tokenizer's chat template, which gets `arguments` too.

    A turn that has "<|im_end|>" typed in it does not end there: special tokens within a turn become the tokens of
    their letters. Without them the ids are those that TRL makes.

    Raises `WorkbenchError` where the template refuses the turns, or a special token cannot be told from text.
    """
    if not turns:
        raise WorkbenchError("An empty prompt", "The prompt has no turns.", "Give at least one user turn.")
    conversation = [{"role": turn.role, "content": turn.content} for turn in turns]
    typed = any(has_control(tokenizer, turn.content) for turn in turns)
    try:
        with _markup_is_control(tokenizer):
            ids: list[int] = tokenizer.apply_chat_template(
                conversation, tokenize=True, return_dict=True, sanitize_control_tokens=typed, **arguments
            )["input_ids"]
    except TemplateError as error:
        roles = ", ".join(turn.role for turn in turns)
        raise WorkbenchError(
            "The model's chat template refuses this conversation",
            f"Turns: {roles}. The template says: {error}.",
            "Leave out turns of a role it does not know (often system), or use another model.",
        ) from error
    except (ValueError, NotImplementedError) as error:
        if not typed:
            raise
        raise WorkbenchError(
            "A special token was typed, and this tokenizer cannot take it as text",
            f"{error}.",
            "Leave it out of the turns.",
        ) from error
    return ids


def rendered_all(
    tokenizer: PreTrainedTokenizerBase, conversations: Sequence[Sequence[Message]], *, to_answer: bool
) -> list[list[int]]:
    """What `rendered` gives for each of `conversations`, in half the time. `to_answer`: up to where an answer begins.

    No turn may have a control token's name in it. Raises what the template raises, whichever conversation it was.
    """
    turns = [[{"role": turn.role, "content": turn.content} for turn in each] for each in conversations]
    found: list[list[int]] = tokenizer.apply_chat_template(
        turns, tokenize=True, return_dict=True, add_generation_prompt=to_answer
    )["input_ids"]
    return found


def has_control(tokenizer: PreTrainedTokenizerBase, text: str) -> bool:
    """Whether a control token's name occurs in `text`."""
    return any(name in text for name in _control_names(tokenizer))


@lru_cache(maxsize=8)
def _control_names(tokenizer: PreTrainedTokenizerBase) -> tuple[str, ...]:
    added = tokenizer.added_tokens_decoder.values()
    return tuple(str(token.content) for token in added if token.special or _is_markup(token.content))


def _is_markup(name: str) -> bool:
    return name.startswith("<|") and name.endswith("|>")


@contextmanager
def _markup_is_control(tokenizer: PreTrainedTokenizerBase) -> Iterator[None]:
    """Of the added tokens that are not special, only those for roles and the like are taken for control tokens.

    Answers may have `<think>` or `<tool_call>` in them and mean the tokens.
    """
    before = tokenizer.chat_control_tokens
    tokenizer.chat_control_tokens = [name for name in _control_names(tokenizer) if _is_markup(name)]
    try:
        yield
    finally:
        tokenizer.chat_control_tokens = before
