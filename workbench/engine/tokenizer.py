"""The tokenizer of a model, without the model: torch's other libraries are not needed for it."""

from __future__ import annotations

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from workbench.engine.sources import not_loaded, where_from
from workbench.engine.tokens import FALLBACK_TEMPLATE
from workbench.errors import WorkbenchError
from workbench.models import resolve


def load_tokenizer(model: str) -> PreTrainedTokenizerBase:
    """The tokenizer of `model`, with a chat template and a pad token in any case.

    Raises `WorkbenchError` where there is no such model, or no network to get it.
    """
    source = resolve(model)
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(source, **where_from(source))
    except (OSError, ValueError, KeyError) as error:
        raise not_loaded(model, error) from error
    if not tokenizer.chat_template:
        tokenizer.chat_template = FALLBACK_TEMPLATE
    if tokenizer.eos_token is None:
        raise WorkbenchError(
            "The model cannot stop",
            f"The tokenizer of {model} names no end-of-sequence token.",
            "Set eos_token in its tokenizer_config.json.",
        )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer
