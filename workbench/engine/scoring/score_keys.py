"""What a score depends on, as keys: another model, adapter, template, system message or text is another key."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from workbench.engine.model.loading import revision
from workbench.engine.model.token_ids import tokenizer_digest, with_system
from workbench.engine.scoring.score_cache import Key, key
from workbench.pairs.pair import Pair, to_row
from workbench.pairs.template import template_arguments

if TYPE_CHECKING:
    from workbench.engine.scoring.scorer import Scorer


def request_key(scorer: Scorer, max_length: int | None) -> str:
    """What all scores of a request depend on; "" where the model's version cannot be told: then nothing is kept."""
    weights = revision(scorer.name, scorer.adapters.model)
    if weights == "unknown":
        return ""
    model: Any = scorer.adapters.model
    precision = f"{scorer.quantization} {model.dtype} {model.device.type}"
    return key(weights, precision, tokenizer_digest(scorer.tokenizer), str(max_length)).hex()


def response_key(version: str, pair: Pair, side: str, system: str | None) -> Key:
    """By what is read, not by the pair's name or place: an edit forgets, a copy or a swap does not."""
    row = to_row(pair)
    prompt = with_system(pair.prompt, system)
    return key(
        version,
        json.dumps([prompt if isinstance(prompt, str) else [(turn.role, turn.content) for turn in prompt]]),
        json.dumps(row[side]),
        json.dumps(template_arguments(row), sort_keys=True, default=str),
    )


def column_key(request: str, adapter: str) -> str:
    """What all scores of a column depend on; `adapter` is the adapter's digest."""
    return key(request, adapter).hex()
