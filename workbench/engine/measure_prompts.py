"""What a model makes of the prompts of probes: their tokens, and whether they fit. Its weights are not loaded."""

from __future__ import annotations

from collections.abc import Mapping

from transformers import AutoConfig

from workbench.engine.model.downloads import load_tokenizer, not_loaded, where_from
from workbench.engine.model.token_ids import FALLBACK_TEMPLATE, prompt_ids
from workbench.errors import WorkbenchError
from workbench.evidence.suites.check import PromptTokens
from workbench.models import resolve
from workbench.pairs.pair import Text


def measure_prompts(model: str, prompts: Mapping[str, Text]) -> PromptTokens:
    """The tokens of every prompt, by id, as `model` reads them.

    Raises `WorkbenchError` where there is no such model.
    """
    source = resolve(model)
    tokenizer = load_tokenizer(model)
    try:
        config = AutoConfig.from_pretrained(source, **where_from(source))
    except (OSError, ValueError, KeyError) as error:
        raise not_loaded(model, error) from error
    tokens: dict[str, int] = {}
    refused: dict[str, str] = {}
    for identity, prompt in prompts.items():
        try:
            tokens[identity] = len(prompt_ids(tokenizer, prompt))
        except WorkbenchError as error:
            refused[identity] = error.message
    return PromptTokens(
        model,
        tokens,
        refused,
        context=getattr(config.get_text_config(), "max_position_embeddings", None),
        own_template=tokenizer.chat_template != FALLBACK_TEMPLATE,
    )
