"""Turns in a model's chat template, which is a program that came with the model: it may fail, never end, or grow."""

from __future__ import annotations

import ctypes
import os
import resource
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any

from jinja2 import TemplateError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from transformers import PreTrainedTokenizerBase
from transformers.utils import chat_template_utils

from workbench.errors import WorkbenchError
from workbench.pairs.pair import Message, turn_to_json
from workbench.text import one_line

FALLBACK_TEMPLATE = (
    "{{ bos_token or '' }}"
    "{% for message in messages %}"
    "{% if message.role == 'assistant' %}"
    "Assistant: {{ message.content }}{{ eos_token }}\n"
    "{% else %}"
    "{{ message.role | capitalize }}: {{ message.content }}\n"
    "{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)
"""The chat template of tokenizers that have none."""

SECONDS = 5.0
"""How long a template may take to render one conversation; a long one takes milliseconds."""
_SECONDS_EACH = 0.01
"""What each conversation adds where many are rendered at once."""
_SECONDS_A_LETTER = 5e-6
"""What each letter adds where it becomes tokens meanwhile."""
MEMORY = 2 * 2**30
"""Bytes that the process may grow by while a template is rendered."""
_MOST_BITS, _MOST_LETTERS = 100_000, 10_000_000
"""The largest number, and the longest text or list, that a template may make by multiplying."""


def rendered_text(tokenizer: PreTrainedTokenizerBase, turns: Sequence[Message], arguments: Mapping[str, Any]) -> str:
    """`turns` in the tokenizer's chat template, which gets `arguments` too. Raises `WorkbenchError` as below."""
    with _told(turns), time_limit(SECONDS), _memory_limit():
        text: str = tokenizer.apply_chat_template(as_dicts(turns), tokenize=False, **arguments)
    return text


def text_ids(tokenizer: PreTrainedTokenizerBase, text: str | list[str], **how: Any) -> Any:
    """The ids of a text, or of each of several, as the tokenizer makes them when it is called with `how`.

    Raises `WorkbenchError` where it fails on them.
    """
    try:
        return tokenizer(text=text, **how)["input_ids"]
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":  # how Rust ends
            raise
        raise WorkbenchError(
            "The tokenizer fails on this text",
            f"{one_line(text if isinstance(text, str) else ' '.join(text), 100)}: {type(error).__name__}:"
            f" {one_line(str(error), 300)}.",
            "Copy or download the model again, or use another.",
        ) from error


def rendered_ids(
    tokenizer: PreTrainedTokenizerBase, turns: Sequence[Message], arguments: Mapping[str, Any]
) -> list[int]:
    """The ids of `turns` in the tokenizer's chat template, which gets `arguments` too.

    A turn that has "<|im_end|>" typed in it does not end there: special tokens within a turn become the tokens of
    their letters. Without them the ids are those that TRL makes.

    Raises `WorkbenchError` where the template refuses the turns, fails or does not end, or a special token cannot be
    told from text.
    """
    if not turns:
        raise WorkbenchError("An empty prompt", "The prompt has no turns.", "Give at least one user turn.")
    if not any(types_control(tokenizer, turn) for turn in turns):
        text = rendered_text(tokenizer, turns, arguments)
        ids: list[int] = text_ids(tokenizer, text, add_special_tokens=False)
    else:
        ids = _ids_with_typed_control(tokenizer, turns, arguments)
    return ids


def _ids_with_typed_control(
    tokenizer: PreTrainedTokenizerBase, turns: Sequence[Message], arguments: Mapping[str, Any]
) -> list[int]:
    letters = sum(len(turn.whole or turn.content) for turn in turns)
    seconds = SECONDS + letters * _SECONDS_A_LETTER
    with _told(turns, typed=True), time_limit(seconds), _memory_limit(), _markup_is_control(tokenizer):
        ids: list[int] = tokenizer.apply_chat_template(
            as_dicts(turns), tokenize=True, return_dict=True, sanitize_control_tokens=True, **arguments
        )["input_ids"]
    return ids


def all_rendered_ids(
    tokenizer: PreTrainedTokenizerBase, conversations: Sequence[Sequence[Message]], arguments: Mapping[str, Any]
) -> list[list[int]]:
    """What `rendered_ids` gives for each of `conversations`, in half the time.

    No turn may have a control token's name in it. Raises what the template raises, whichever conversation it was.
    """
    turns = [as_dicts(conversation) for conversation in conversations]
    with time_limit(SECONDS + _SECONDS_EACH * len(turns)), _memory_limit():
        texts = tokenizer.apply_chat_template(turns, tokenize=False, **arguments)
    ids: list[list[int]] = text_ids(tokenizer, texts, add_special_tokens=False)
    return ids


def as_dicts(turns: Sequence[Message]) -> list[dict[str, Any]]:
    """Turns as chat templates take them, with every field that they have."""
    return [turn_to_json(turn) for turn in turns]


@contextmanager
def _told(turns: Sequence[Message], *, typed: bool = False) -> Iterator[None]:
    """Tells what a template raises. `typed`: special tokens are typed in the turns, and to be taken as text."""
    roles = one_line(", ".join(turn.role for turn in turns), 200)
    try:
        yield
    except TemplateError as error:
        raise WorkbenchError(
            "The model's chat template refuses this conversation",
            f"Turns: {roles}. The template says: {error}.",
            "It may not know calls of tools: use a model whose template does."
            if any(turn.whole for turn in turns)
            else "Leave out turns of a role it does not know (often system), or use another model.",
        ) from error
    except EndlessError:
        raise WorkbenchError(
            "The model's chat template does not end",
            f"It was stopped after {SECONDS:g} s. Turns: {roles}.",
            "Correct the template in the model's folder (chat_template.jinja), or use another model.",
        ) from None
    except (OverflowError, MemoryError) as error:
        raise WorkbenchError(
            "The model's chat template takes too much",
            f"Turns: {roles}. In the template: {one_line(str(error), 300) or f'it needs over {MEMORY:,} bytes'}.",
            "Correct the template in the model's folder (chat_template.jinja), or use another model.",
        ) from None
    except (ValueError, NotImplementedError) as error:
        if not typed:
            raise _failed(roles, error) from error
        raise WorkbenchError(
            "A special token was typed, and this tokenizer cannot take it as text",
            f"{error}.",
            "Leave it out of the turns.",
        ) from error
    except Exception as error:
        # A template is a program: what goes wrong in it may be anything.
        raise _failed(roles, error) from error


def _failed(roles: str, error: Exception) -> WorkbenchError:
    return WorkbenchError(
        "The model's chat template fails on this conversation",
        f"Turns: {roles}. In the template: {type(error).__name__}: {one_line(str(error), 300)}.",
        "It may expect other fields or types, such as a call's arguments as an object and not as text; "
        "or use another model.",
    )


class EndlessError(Exception):
    """Raised inside a template that takes too long."""


_ends: dict[int, float] = {}
"""By thread: when the template that it renders has had its time."""
_guard = threading.Lock()
_LOOK = 0.2
"""Seconds between two looks at what is rendered."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raises `EndlessError` in what is run inside, which is Python all through, after some seconds.

    Without a thread or a process for each rendering, of which there may be millions: one thread looks at all.
    """
    thread = threading.get_ident()
    _start_watching()
    with _guard:
        _ends[thread] = time.monotonic() + seconds
    met = False
    try:
        yield
    except EndlessError:
        met = True
        raise
    finally:
        with _guard:
            sent = _ends.pop(thread, None) is None
        if sent and not met:
            _meet()


def _meet() -> None:
    """Waits for the exception that this thread was sent: it must not be met elsewhere. It comes at once, unless what
    was run caught it.

    To take it back instead leaves CPython 3.11 looking for it for ever, which is slow, and hangs where code is traced.
    """
    with suppress(EndlessError):
        for _ in range(1000):
            time.sleep(0)


@lru_cache(maxsize=1)
def _start_watching() -> None:
    threading.Thread(target=_watch, name="template-time", daemon=True).start()


def _watch() -> None:
    while True:
        time.sleep(_LOOK)
        now = time.monotonic()
        with _guard:
            for thread in [thread for thread, end in _ends.items() if end < now]:
                del _ends[thread]
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(EndlessError))


_memory_guard = threading.Lock()
_rendering = 0
"""How many threads render now."""
_limit_before = resource.getrlimit(resource.RLIMIT_AS)


@contextmanager
def _memory_limit() -> Iterator[None]:
    """Lets the process grow by `MEMORY` at most meanwhile: past that, what is run inside gets a `MemoryError`."""
    global _rendering, _limit_before
    with _memory_guard:
        _rendering += 1
        if _rendering == 1:
            _limit_before = soft, hard = resource.getrlimit(resource.RLIMIT_AS)
            most = _address_space() + MEMORY
            if most > MEMORY and (soft == resource.RLIM_INFINITY or most < soft):
                resource.setrlimit(resource.RLIMIT_AS, (most, hard))
    try:
        yield
    finally:
        with _memory_guard:
            _rendering -= 1
            if not _rendering:
                resource.setrlimit(resource.RLIMIT_AS, _limit_before)


def _address_space() -> int:
    """Bytes of the process's addresses; 0 where the system does not say."""
    try:
        # Once a conversation: this takes a third of the time of Python's own files.
        file = os.open("/proc/self/statm", os.O_RDONLY)
    except OSError:
        return 0
    try:
        return int(os.read(file, 100).split()[0]) * resource.getpagesize()
    finally:
        os.close(file)


class BoundedEnvironment(ImmutableSandboxedEnvironment):
    """Refuses a product or power that is too large: computing it is one step, which nothing can stop once it began."""

    intercepted_binops = frozenset({"*", "**"})

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Raises `OverflowError` for what is too large, as a range too long does."""
        numbers = isinstance(left, int) and isinstance(right, int)
        if operator == "**":
            large = numbers and left.bit_length() * right > _MOST_BITS
        elif numbers:
            large = left.bit_length() + right.bit_length() > _MOST_BITS
        else:
            times, many = (left, right) if isinstance(left, int) else (right, left)
            large = isinstance(times, int) and hasattr(many, "__len__") and len(many) * times > _MOST_LETTERS
        if large:
            raise OverflowError(f"the result of {operator} is too large")
        return super().call_binop(context, operator, left, right)


# Before the first template is compiled: what is constant is computed then.
chat_template_utils.ImmutableSandboxedEnvironment = BoundedEnvironment


def types_control(tokenizer: PreTrainedTokenizerBase, turn: Message) -> bool:
    """Whether a control token's name occurs in a turn, in whichever of its fields."""
    return has_control(tokenizer, turn.whole or turn.content)


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
