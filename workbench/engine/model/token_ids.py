"""Text to token ids: one rule for training and scoring, equal to that of TRL's DPOTrainer.

A conversation is rendered with the tokenizer's chat template, plain text is taken as it is and ended with the
end-of-sequence token. A response begins where the tokens of prompt and of prompt + response part: that is after the
prompt, but for templates that render a prompt alone differently and for plain text whose tokens merge across the
boundary.

Two things go beyond TRL. Where a chat template does not close a response with a special token, the model would never
learn to stop, so the end-of-sequence token is added. And special tokens that are typed into a turn are text: whoever
writes "<|im_end|>" does not end the turn. In plain text they count: such data often come with a template filled in.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import transformers
from transformers import PreTrainedTokenizerBase

from workbench.engine.model.rendering import (
    FALLBACK_TEMPLATE,
    all_rendered_ids,
    has_control,
    rendered_ids,
    rendered_text,
    text_ids,
    types_control,
)
from workbench.errors import WorkbenchError
from workbench.pairs.pair import Message, Pair, Text

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_PROBE = (Message("user", "x"),), (Message("assistant", "x"),)


@dataclass(frozen=True, slots=True)
class PairIds:
    """A pair as token ids: `prompt` + `chosen` and `prompt` + `rejected` are what the model reads."""

    prompt: list[int]
    chosen: list[int]
    rejected: list[int]

    def cut(self, max_length: int) -> PairIds:
        """With responses cut so that either, after the prompt, has `max_length` tokens at most."""
        room = max_length - len(self.prompt)
        return PairIds(self.prompt, self.chosen[:room], self.rejected[:room])

    def responses(self, max_length: int) -> list[tuple[list[int], list[int]]]:
        """Prompt and chosen, prompt and rejected, cut; none where there is no prompt, or training leaves the pair out
        because it fills `max_length`."""
        if not 0 < len(self.prompt) < max_length:
            return []
        pair = self.cut(max_length)
        return [(pair.prompt, pair.chosen), (pair.prompt, pair.rejected)]


def prompt_ids(
    tokenizer: PreTrainedTokenizerBase, prompt: Text, template: Mapping[str, Any] | None = None
) -> list[int]:
    """The ids after which a response is generated. `template` holds further arguments of the chat template.

    Raises `WorkbenchError` where that refuses the turns.
    """
    if isinstance(prompt, str):
        return _plain(tokenizer, prompt)
    return rendered_ids(tokenizer, prompt, {**(template or {}), "add_generation_prompt": True})


def encode(
    tokenizer: PreTrainedTokenizerBase,
    prompt: Text,
    response: Text,
    system: str | None = None,
    template: Mapping[str, Any] | None = None,
) -> tuple[list[int], list[int]]:
    """The ids of `prompt` and of `response` after it, with what ends the response.

    A plain response to turns is one assistant turn. `system` goes before the prompt (`with_system`).

    Raises `WorkbenchError` where the chat template refuses the turns.
    """
    prompt = with_system(prompt, system)
    whole = _whole(tokenizer, prompt, response, template)
    length = common_length(prompt_ids(tokenizer, prompt, template), whole)
    return whole[:length], whole[length:]


def continued(
    tokenizer: PreTrainedTokenizerBase,
    prompt: Text,
    prefix: str,
    system: str | None = None,
    template: Mapping[str, Any] | None = None,
) -> tuple[list[int], list[int]]:
    """The ids of `prompt` and of `prefix`, an unfinished response to it, as they are generated from.

    Raises `WorkbenchError` as `prompt_ids` does.
    """
    prompt = with_system(prompt, system)
    alone = prompt_ids(tokenizer, prompt, template)
    if not prefix:
        return alone, []
    if isinstance(prompt, str):
        whole = _plain(tokenizer, prompt + prefix)
    elif has_control(tokenizer, prefix) or any(types_control(tokenizer, turn) for turn in prompt):
        return alone, list(text_ids(tokenizer, prefix, add_special_tokens=False, split_special_tokens=True))
    else:
        text = rendered_text(tokenizer, prompt, {**(template or {}), "add_generation_prompt": True})
        whole = text_ids(tokenizer, text + prefix, add_special_tokens=False)
    length = common_length(alone, whole)
    return whole[:length], whole[length:]


def pair_ids(
    tokenizer: PreTrainedTokenizerBase,
    prompt: Text,
    chosen: Text,
    rejected: Text,
    template: Mapping[str, Any] | None = None,
    texts: Sequence[str] | None = None,
) -> PairIds:
    """The ids of a pair; both responses begin at the same position. Raises `WorkbenchError` as `encode` does.

    `texts` are what `pair_texts` gives, where that was asked for already.
    """
    if texts is not None:
        rendered: list[list[int]] = text_ids(tokenizer, list(texts), add_special_tokens=False)
        return _split(rendered[0], *(_with_eos(tokenizer, ids) for ids in rendered[1:]))
    alone = prompt_ids(tokenizer, prompt, template)
    return _split(alone, *(_whole(tokenizer, prompt, response, template) for response in (chosen, rejected)))


def pair_texts(
    tokenizer: PreTrainedTokenizerBase,
    prompt: Text,
    responses: Sequence[Text],
    template: Mapping[str, Any],
) -> list[str] | None:
    """The prompt as rendered, and with each of the responses; None where the ids are not those of these texts: for
    plain text, and where control tokens are typed. Raises `WorkbenchError` as `rendered_text` does."""
    if isinstance(prompt, str) or not prompt:
        return None
    answers = [response for response in responses if not isinstance(response, str)]
    if any(types_control(tokenizer, turn) for turn in chain(prompt, *answers)):
        return None
    whole = [rendered_text(tokenizer, (*prompt, *answer), template) for answer in answers]
    return [rendered_text(tokenizer, prompt, {**template, "add_generation_prompt": True}), *whole]


def all_pair_ids(
    tokenizer: PreTrainedTokenizerBase, pairs: Sequence[Pair], template: Mapping[str, Any] | None = None
) -> list[PairIds]:
    """What `pair_ids` gives for each of `pairs`, which are ordinary and all turns or all plain text, in half the time.

    Raises what tokenizer and template raise, whichever pair it was.
    """
    if not pairs:
        return []
    prompts: list[Any] = [pair.prompt for pair in pairs]
    whole: list[Any] = [(pair.prompt, side) for pair in pairs for side in (pair.chosen, pair.rejected)]
    if isinstance(prompts[0], str):
        alone = text_ids(tokenizer, prompts)
        both = text_ids(tokenizer, [_with_eos_text(tokenizer, prompt, response) for prompt, response in whole])
    else:
        given = template or {}
        alone = all_rendered_ids(tokenizer, prompts, {**given, "add_generation_prompt": True})
        both = all_rendered_ids(tokenizer, [(*prompt, *response) for prompt, response in whole], given)
        both = [_with_eos(tokenizer, ids) for ids in both]
    return list(map(_split, alone, both[::2], both[1::2]))


def is_ordinary(tokenizer: PreTrainedTokenizerBase, pair: Pair, template: Mapping[str, Any]) -> bool:
    """Whether `all_pair_ids` takes a pair: what needs care of its own is rare."""
    if isinstance(pair.prompt, str):
        return True
    turns = (*pair.prompt, *pair.chosen, *pair.rejected)
    return bool(pair.prompt) and "tools" not in template and not any(types_control(tokenizer, turn) for turn in turns)


def outside(tokenizer: PreTrainedTokenizerBase, ids: PairIds, vocabulary: int | None) -> tuple[str, ...]:
    """The tokens of a pair for which a model of `vocabulary` embeddings has none, such as "'[PAD]' (32000)"."""
    if (
        vocabulary is None
        or max(map(max, filter(None, (ids.prompt, ids.chosen, ids.rejected))), default=0) < vocabulary
    ):
        return ()
    beyond = sorted({token for part in (ids.prompt, ids.chosen, ids.rejected) for token in part if token >= vocabulary})
    return tuple(f"{tokenizer.convert_ids_to_tokens(token)!r} ({token})" for token in beyond)


def trains_raw(tokenizer: PreTrainedTokenizerBase, prompt: Text) -> bool:
    """Whether a prompt is plain text beside a chat template of the tokenizer's own, and has none filled in."""
    own = tokenizer.chat_template not in (None, FALLBACK_TEMPLATE)
    return own and isinstance(prompt, str) and not has_control(tokenizer, prompt)


def tokenizer_digest(tokenizer: PreTrainedTokenizerBase) -> str:
    """What tells a tokenizer and its chat template from any other that makes other ids of the same text."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    words = backend.to_str() if backend is not None else json.dumps(tokenizer.get_vocab(), sort_keys=True)
    parts = (transformers.__version__, tokenizer.special_tokens_map, tokenizer.chat_template, words)
    return hashlib.sha256("\0".join(map(str, parts)).encode("utf-8", "surrogatepass")).hexdigest()


def stop_token_id(tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel) -> int:
    """The token that ends this model's responses; raises `WorkbenchError` where there is none."""
    turn_end = _turn_end(tokenizer)
    if turn_end is not None:
        return turn_end
    if tokenizer.eos_token_id is not None:
        return int(tokenizer.eos_token_id)
    declared = _declared(model)
    if not declared:
        raise WorkbenchError(
            "The model cannot stop",
            "Neither its tokenizer nor its generation config names an end-of-sequence token.",
            "Set eos_token in the model's tokenizer_config.json.",
        )
    return declared[0]


def stop_token_ids(tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel) -> frozenset[int]:
    """Every token at which generation ends: the stop token, and those that the model's files declare."""
    eos = [] if tokenizer.eos_token_id is None else [int(tokenizer.eos_token_id)]
    return frozenset([stop_token_id(tokenizer, model), *eos, *_declared(model)])


def with_system(prompt: Text, system: str | None) -> Text:
    """`prompt` after the system message `system`: a turn before turns, a paragraph before plain text."""
    if not system:
        return prompt
    if isinstance(prompt, str):
        return f"{system}\n\n{prompt}"
    if prompt and prompt[0].role == "system":
        return (prompt[0].with_content(f"{system}\n\n{prompt[0].content}"), *prompt[1:])
    return (Message("system", system), *prompt)


def _whole(
    tokenizer: PreTrainedTokenizerBase, prompt: Text, response: Text, template: Mapping[str, Any] | None
) -> list[int]:
    """Prompt and response, with what ends it."""
    if isinstance(prompt, str):
        if not isinstance(response, str):
            raise WorkbenchError("Prompt and response differ in kind", "A plain prompt has a response made of turns.")
        return _plain(tokenizer, _with_eos_text(tokenizer, prompt, response))
    turns = (Message("assistant", response),) if isinstance(response, str) else response
    return _with_eos(tokenizer, rendered_ids(tokenizer, (*prompt, *turns), template or {}))


def _with_eos_text(tokenizer: PreTrainedTokenizerBase, prompt: str, response: str) -> str:
    """Plain prompt and response, ended with the end-of-sequence token's text."""
    eos = tokenizer.eos_token or ""
    return prompt + (response if response.endswith(eos) else response + eos)


def _with_eos(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> list[int]:
    """`ids`, ended with the end-of-sequence token where they end with text."""
    if tokenizer.eos_token_id is not None and _final_special_token(tokenizer, ids) is None:
        return [*ids, int(tokenizer.eos_token_id)]
    return ids


def _split(prompt: list[int], with_chosen: list[int], with_rejected: list[int]) -> PairIds:
    """Both responses begin where the first of them parts from the prompt alone."""
    length = min(common_length(prompt, with_chosen), common_length(prompt, with_rejected))
    return PairIds(with_chosen[:length], with_chosen[length:], with_rejected[length:])


def _plain(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    ids: list[int] = text_ids(tokenizer, text)
    return ids


def common_length(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens both begin with."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((length for length, (one, other) in pairs if one != other), min(len(first), len(second)))


def _final_special_token(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> int | None:
    """The special token that `ids` end with, white space aside; None where they end with text."""
    added = tokenizer.added_tokens_decoder
    for token in reversed(ids):
        if token == tokenizer.eos_token_id or (token in added and added[token].special):
            return int(token)
        if str(tokenizer.decode([token])).strip():
            return None
    return None


def _turn_end(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The special token with which the chat template ends an assistant's turn."""
    if not tokenizer.chat_template:
        return None
    prompt, response = _PROBE
    return _final_special_token(tokenizer, rendered_ids(tokenizer, (*prompt, *response), {}))


def _declared(model: PreTrainedModel) -> list[int]:
    eos = model.generation_config.eos_token_id if model.generation_config is not None else None
    return [] if eos is None else [int(token) for token in (eos if isinstance(eos, list) else [eos])]
