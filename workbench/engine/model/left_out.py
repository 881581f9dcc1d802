"""What a chat template leaves out of the turns that it renders: the words are in the data set, and train nothing."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from transformers import PreTrainedTokenizerBase

from workbench.engine.model.rendering import FALLBACK_TEMPLATE, rendered_text
from workbench.pairs.pair import CALLS, REASONING, Message, Text, from_row, has_words, template_arguments

ANSWER, PROMPT, EARLIER, UNREAD = "answer", "prompt", "earlier", "unread"
"""What is left out: of what is trained, of the prompt, reasoning of earlier turns, and what templates need not read."""
_THOUGHT = re.compile(r"\A.*</think>", re.DOTALL)
_WORD = re.compile(r"\w+")
_THINK = "<think> in the text"
_SHOWN = 3
_LONG = 20
"""Letters from which on a text is known again wherever it stands: a short one may stand in another turn too."""


def left_out(
    tokenizer: PreTrainedTokenizerBase,
    prompt: Text,
    responses: Sequence[Text],
    template: Mapping[str, Any],
    texts: Sequence[str] | None = None,
) -> tuple[str, ...]:
    """What the chat template leaves out of a pair, each once, such as "answer: <think> in the text".

    `texts` are prompt and each response as rendered, where that is known. Each begins with one of the four words
    above. Empty for plain text. Raises `WorkbenchError` as `rendered_text` does.
    """
    if isinstance(prompt, str):
        return ()
    found: dict[str, None] = {}
    for number, response in enumerate(responses):
        if not isinstance(response, str):
            text = texts[number] if texts is not None else rendered_text(tokenizer, (*prompt, *response), template)
            found |= dict.fromkeys(_in_conversation(tokenizer, prompt, response, template, text))
    return tuple(found)


def uses_fallback(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether turns are rendered with the workbench's own template, for want of one of the model's."""
    return tokenizer.chat_template == FALLBACK_TEMPLATE


def summary(tokenizer: PreTrainedTokenizerBase, rows: Iterable[Mapping[str, Any]]) -> tuple[int, str]:
    """How many of some rows lose a part of prompt or answers to the chat template, and what: "the system turn (3)".

    What templates need not read, and the reasoning of earlier turns, is not counted.
    """
    counts: Counter[str] = Counter()
    pairs = 0
    for row in rows:
        pair = from_row(row, where="a row")
        answers = [answer for answer in (pair.chosen, pair.rejected) if has_words(answer)]
        lost = left_out(tokenizer, pair.prompt, answers, template_arguments(row))
        told = {each.partition(": ")[2] for each in lost if each.startswith((ANSWER, PROMPT))}
        counts.update(told)
        pairs += bool(told)
    return pairs, ", ".join(f"{what} ({count:,})" for what, count in counts.most_common(_SHOWN))


def _in_conversation(
    tokenizer: PreTrainedTokenizerBase,
    prompt: Sequence[Message],
    response: Sequence[Message],
    template: Mapping[str, Any],
    text: str,
) -> Iterator[str]:
    turns = (*prompt, *response)
    rendered = _squeezed(text)
    words = _words_of(str(tokenizer.get_chat_template(tools=template.get("tools"))))
    position, lost = 0, []
    for number, turn in enumerate(turns):
        place, thought = (PROMPT, EARLIER) if number < len(prompt) else (ANSWER, ANSWER)
        missing, position = _of_content(turn, rendered, position)
        if missing:
            lost.append(f"{thought if missing == _THINK else place}: {missing}")
        for name in _of_fields(turn, rendered, words):
            kind = thought if name in REASONING else place if name in CALLS else UNREAD
            yield f"{kind}: field {name}"
    if len(lost) > 1 and len(lost) == sum(1 for turn in turns if turn.content.strip()):
        yield f"{ANSWER}: the text of every turn"
    else:
        yield from lost
    for name in template:
        if name not in words and template[name]:
            yield f"{PROMPT}: tools" if name == "tools" else f"{UNREAD}: {name} of chat_template_kwargs"


def _of_content(turn: Message, rendered: str, position: int) -> tuple[str, int]:
    """What of a turn's content is not there, in words, and where to look for the next turn's."""
    content = _squeezed(turn.content)
    if not content:
        return "", position
    opening = turn.role in ("system", "developer")
    for known in _spellings(turn.content):
        at = rendered.find(known, 0 if opening else position)
        if at >= 0:
            return "", position if opening else at + len(known)
        if len(known) >= _LONG and known in rendered:
            return "", position
    if _THOUGHT.match(turn.content) and _squeezed(_THOUGHT.sub("", turn.content)) in rendered[position:]:
        return _THINK, position
    return (f"the {turn.role} turn" if opening else f"the text of a turn by {turn.role}"), position


def _of_fields(turn: Message, rendered: str, words: frozenset[str]) -> Iterator[str]:
    for name, value in turn.fields.items():
        texts = list(_leaves(value))
        there = all(any(known in rendered for known in _spellings(text)) for text in texts)
        # Of a field that the template never names, its text stands there by chance, or because all fields do.
        if texts and not there if name in (*REASONING, *CALLS) else name not in words and not (texts and there):
            yield name


def _leaves(value: Any) -> Iterator[str]:
    """The texts in a value of JSON that say something: names and arguments of calls, not their ids and types."""
    if isinstance(value, str):
        yield from [value] if value.strip() else []
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            if name not in ("id", "type"):
                yield from _leaves(inner)
    elif isinstance(value, Sequence):
        for inner in value:
            yield from _leaves(inner)


def _spellings(text: str) -> Iterator[str]:
    """A text as templates write it: as it is, as a JSON text, or as the JSON that it holds."""
    yield _squeezed(text)
    yield _squeezed(json.dumps(text, ensure_ascii=False)[1:-1])
    yield _squeezed(json.dumps(text)[1:-1])
    if text.lstrip()[:1] in ("{", "["):
        try:
            yield _squeezed(json.dumps(json.loads(text), ensure_ascii=False))
        except (ValueError, RecursionError):
            return


def _squeezed(text: str) -> str:
    """Without white space, which templates trim and change."""
    return "".join(text.split())


@lru_cache(maxsize=8)
def _words_of(template: str) -> frozenset[str]:
    return frozenset(_WORD.findall(template))
