"""The shapes that preference rows come in, and how each becomes prompt, chosen and rejected.

explicit standard            prompt, chosen, rejected: texts
explicit conversational      prompt, chosen, rejected: lists of messages
mixed                        one of prompt and responses a text, the other lists of messages
implicit conversational      chosen, rejected: whole conversations that share a beginning; no prompt
implicit transcript          chosen, rejected: "\\n\\nHuman: …\\n\\nAssistant: …" (hh-rlhf); no prompt
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any, NamedTuple

from workbench.pairs.lines import UnreadError, UnusableError
from workbench.pairs.pair import Message, Text, has_words, turn_from

FIELDS = ("prompt", "chosen", "rejected", "id", "status", "split", "tags", "note", "source")

_SPEAKERS = {"Human": "user", "User": "user", "Assistant": "assistant"}
_MARKER = re.compile(r"\n\n(Human|Assistant):(?: |(?=\n\n(?:Human|Assistant):)|\Z)")
_LINE_MARKER = re.compile(r"\n(Human|User|Assistant):(?: |(?=\n)|\Z)")
"""Of a transcript that leaves no blank lines, which begins with one of these names."""
_ROLE_NAMES = {
    **dict.fromkeys(("human", "prompter"), "user"),
    **dict.fromkeys(("gpt", "bot", "model", "chatgpt", "chatbot", "ai"), "assistant"),
    **dict.fromkeys(("function", "observation", "tool_response", "tool_result", "ipython", "environment"), "tool"),
}
_CALLING = ("function_call", "tool_call")
"""ShareGPT's roles of turns that call a tool: their text is the call."""
_SHAREGPT = {"from": "role", "value": "content"}
_TEMPLATE = re.compile(
    r"<\|[^|\s]{1,40}\|>|<(?:start|end)_of_turn>|\[/?INST\]|<<SYS>>|^### (?:Instruction|Response|Human|Assistant)\b",
    re.MULTILINE,
)
"""What chat templates write around turns: ChatML and Llama 3, Gemma, Llama 2 and Mistral, Alpaca and Vicuna."""


class Contents(NamedTuple):
    """What a pair is about. All three are texts, or all three are turns."""

    prompt: Text
    chosen: Text
    rejected: Text


def contents(row: Mapping[str, Any]) -> Contents:
    """Prompt, chosen and rejected of a row in any of the shapes above. Raises `UnusableError` with the reason.

    Where one of chosen and rejected is not there, or has no words, it is empty: it is to be drafted. Both are only
    where the row says so, with two empty answers.
    """
    prompt, chosen, rejected = text_in(row, "prompt"), text_in(row, "chosen"), text_in(row, "rejected")
    better = chosen if chosen is not None and has_words(chosen) else None
    worse = rejected if rejected is not None and has_words(rejected) else None
    if better is not None and worse is not None:
        return _contents(prompt, better, worse)
    if better is not None:
        whole = _contents(prompt, better, _without_words(better, "chosen"))
        return whole._replace(rejected=_blank_like(whole.prompt))
    if worse is not None:
        whole = _contents(prompt, _without_words(worse, "rejected"), worse)
        return whole._replace(chosen=_blank_like(whole.prompt))
    if prompt is None or not ("chosen" in row and "rejected" in row):
        raise UnreadError("has no chosen and rejected")
    return to_draft(row)


def to_draft(row: Mapping[str, Any]) -> Contents:
    """A prompt alone, with both answers empty: they are to be drafted. Raises `UnusableError`."""
    prompt = text_in(row, "prompt")
    if prompt is None or not has_words(prompt):
        raise UnusableError("has an empty prompt")
    if isinstance(prompt, str):
        prompt = from_transcript(prompt) or prompt
    if not isinstance(prompt, str) and prompt[-1].role == "assistant" and not prompt[-1].content.strip():
        prompt = prompt[:-1]
    if not isinstance(prompt, str) and prompt[-1:] and prompt[-1].role == "assistant":
        raise UnusableError("has a prompt that ends with an answer, and no other answer beside it")
    return Contents(prompt, _blank_like(prompt), _blank_like(prompt))


def _blank_like(prompt: Text) -> Text:
    """An answer without words, of the kind of its prompt."""
    return "" if isinstance(prompt, str) else (Message("assistant", ""),)


def _without_words(answer: Text, name: str) -> Text:
    """An answer with the last of its turns empty: it stands for one that is not there."""
    if isinstance(answer, str):
        turns = from_transcript(answer)
        return answer[: len(answer) - len(turns[-1].content)] if turns and turns[-1].content else ""
    if answer[-1].role != "assistant":
        raise UnusableError(f"has a {name} that ends with a {answer[-1].role} turn, not with the assistant's answer")
    return (*answer[:-1], Message("assistant", ""))


def _contents(prompt: Text | None, chosen: Text, rejected: Text) -> Contents:
    if isinstance(chosen, str) != isinstance(rejected, str):
        raise UnusableError("has a text and a list of messages for chosen and rejected; they must be of one kind")
    if chosen == rejected:
        raise UnusableError("has the same chosen and rejected: there is nothing to prefer")
    if prompt is None or (not prompt and not isinstance(chosen, str)):
        return _implicit(chosen, rejected)
    if not prompt or (isinstance(prompt, str) and not prompt.strip()):
        raise UnusableError("has an empty prompt")
    if isinstance(prompt, str) and isinstance(chosen, str) and isinstance(rejected, str):
        return Contents(prompt, chosen, rejected)
    return _explicit_turns(prompt, _turns(chosen, "assistant"), _turns(rejected, "assistant"))


def as_conversation(texts: Contents) -> Contents:
    """Plain texts as turns, which a chat model is asked in: the prompt by the user, the responses by the assistant.

    A prompt that is a transcript up to "\\n\\nAssistant:" becomes the turns that it holds.
    """
    prompt, chosen, rejected = texts
    if not (isinstance(prompt, str) and isinstance(chosen, str) and isinstance(rejected, str)):
        return texts
    asked: tuple[Message, ...] = (Message("user", prompt),)
    turns = from_transcript(prompt)
    if len(turns) > 1 and turns[-2].role == "user" and turns[-1].role == "assistant" and not turns[-1].content.strip():
        # The space after "Assistant:" is the transcript's, as in `from_transcript`.
        asked, chosen, rejected = turns[:-1], chosen.removeprefix(" "), rejected.removeprefix(" ")
    return Contents(asked, _turns(chosen, "assistant"), _turns(rejected, "assistant"))


def has_template(prompt: Text) -> bool:
    """Whether a plain prompt has a chat template filled in, so that it is meant as it stands."""
    return isinstance(prompt, str) and _TEMPLATE.search(prompt) is not None


def from_transcript(text: str) -> tuple[Message, ...]:
    """The turns of a "\\n\\nHuman: …\\n\\nAssistant: …" transcript, their white space kept; empty where it is none.

    What stands before the first marker becomes a system message. Where no blank line comes before a marker, one that
    begins its line is enough ("Human: …\\nAssistant: …").
    """
    if not text.startswith(("Human: ", "User: ", "Assistant: ")):
        pieces = _MARKER.split(text)
    elif _MARKER.search(text):
        pieces = _MARKER.split("\n\n" + text)
    else:
        pieces = _LINE_MARKER.split("\n" + text)
    if len(pieces) == 1:
        return ()
    preamble = (Message("system", pieces[0]),) if pieces[0] else ()
    turns = zip(pieces[1::2], pieces[2::2], strict=True)
    return preamble + tuple(Message(_SPEAKERS[speaker], content) for speaker, content in turns)


def part(chosen: Sequence[Message], rejected: Sequence[Message]) -> Contents:
    """The prompt that two whole conversations share, and the two responses after it.

    They are parted after the last user turn before the first turn that differs, so that prompt + chosen and prompt +
    rejected are the conversations, whole. Raises `UnusableError` where they do not answer one and the same prompt.
    """
    shared = sum(1 for _ in takewhile(lambda turns: turns[0] == turns[1], zip(chosen, rejected, strict=False)))
    for turns in (chosen, rejected):
        if len(turns) > shared and turns[shared].role != "assistant":
            where = f"at a {turns[shared].role} turn (turn {shared + 1})"
            raise UnusableError(f"has conversations that part {where}, so they answer different prompts")
    end = shared
    while end and chosen[end - 1].role not in ("user", "tool"):
        end -= 1
    if not end:
        raise UnusableError("has no user turn before its conversations part")
    for name, turns in (("chosen", chosen), ("rejected", rejected)):
        if turns[-1].role != "assistant" or len(turns) == end:
            raise UnusableError(f"has a {name} that ends with a {turns[-1].role} turn, not with the assistant's answer")
    return Contents(tuple(chosen[:end]), tuple(chosen[end:]), tuple(rejected[end:]))


def _implicit(chosen: Text, rejected: Text) -> Contents:
    if isinstance(chosen, str) and isinstance(rejected, str):
        whole = (from_transcript(chosen), from_transcript(rejected))
        for name, turns in zip(("chosen", "rejected"), whole, strict=True):
            if not turns:
                shape = '"\\n\\nHuman: …\\n\\nAssistant: …"'
                raise UnreadError(f"has no prompt, and its {name} is no transcript ({shape}) that would hold one")
        return part(*whole)
    assert not isinstance(chosen, str)
    assert not isinstance(rejected, str)
    return part(chosen, rejected)


def _explicit_turns(prompt: Text, chosen: tuple[Message, ...], rejected: tuple[Message, ...]) -> Contents:
    """Turns of an explicit prompt and responses, where the responses may repeat the prompt (as UltraFeedback's do)."""
    asked = _turns(prompt, "user")
    for name, turns in (("chosen", chosen), ("rejected", rejected)):
        if not turns:
            raise UnusableError(f"has an empty {name}")
        if turns[-1].role != "assistant":
            raise UnusableError(f"has a {name} that ends with a {turns[-1].role} turn, not with the assistant's answer")
    if chosen[0].role == "assistant" and rejected[0].role == "assistant":
        return Contents(asked, chosen, rejected)
    if chosen[: len(asked)] == asked == rejected[: len(asked)]:
        return part(chosen, rejected) if asked[-1].role == "assistant" else _cut(chosen, rejected, len(asked))
    whole = part(chosen, rejected)
    if isinstance(prompt, str) and any(turn.content.strip() == prompt.strip() for turn in _turns(whole.prompt, "user")):
        return whole
    raise UnusableError("has a prompt other than the one that its chosen and rejected begin with")


def _cut(chosen: tuple[Message, ...], rejected: tuple[Message, ...], length: int) -> Contents:
    if len(chosen) == length or len(rejected) == length:
        raise UnusableError("has a response that is empty after its prompt")
    return Contents(chosen[:length], chosen[length:], rejected[length:])


def _turns(text: Text, role: str) -> tuple[Message, ...]:
    return (Message(role, text),) if isinstance(text, str) else text


def text_in(row: Mapping[str, Any], name: str) -> Text | None:
    """The text, or the turns, in a column; None where there is none. Raises `UnusableError` where it is neither."""
    value = row.get(name)
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        value = [value]
    if not isinstance(value, list | tuple):
        raise UnusableError(f"has a {name} that is neither a text nor a list of messages")
    return tuple(_message(turn, name, number) for number, turn in enumerate(value, 1))


def _message(turn: Any, name: str, number: int) -> Message:
    if not isinstance(turn, Mapping):
        raise UnusableError(f"has in its {name} a {type(turn).__name__} where a message should be")
    fields = {_SHAREGPT.get(key, key): value for key, value in turn.items()}
    try:
        role = fields.get("role")
        if isinstance(role, str):
            role = role.strip().casefold()
            fields["role"] = _ROLE_NAMES.get(role, role)
            if role in _CALLING:
                fields |= {"role": "assistant", "content": "", "tool_calls": _calls_in(fields.get("content"))}
        if isinstance(fields.get("tool_calls"), str):
            fields["tool_calls"] = json.loads(fields["tool_calls"] or "[]")
        return turn_from(fields)
    except (ValueError, RecursionError) as error:
        raise UnusableError(f"has a message, number {number} of its {name}, that {error}") from None


def _calls_in(content: Any) -> list[dict[str, Any]]:
    """The calls that a ShareGPT turn has as its text: {"name", "arguments"}, or a list of these."""
    try:
        value = json.loads(content)
    except (TypeError, ValueError, RecursionError):
        value = None
    calls = value if isinstance(value, list) else [value]
    if not all(isinstance(call, Mapping) and isinstance(call.get("name"), str) for call in calls):
        raise ValueError('should call a tool, but is not {"name": …, "arguments": …}')
    return [{"type": "function", "function": call} for call in calls]
