"""A comparison as numbers, for people who want to plot or to check them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from workbench.compare.comparison import Comparison
from workbench.compare.shares import shares


def document(comparison: Comparison, model: str, quantization: str) -> dict[str, Any]:
    """All that is known of a comparison, ready for JSON. Logarithms are natural, KL is against the first column."""
    sight = comparison.sight
    return {
        "model": model,
        "quantization": quantization,
        "columns": [column.model_dump() for column in comparison.columns],
        "beside_base": comparison.aligned.name if comparison.aligned else None,
        "prompt": comparison.prompt
        if isinstance(comparison.prompt, str)
        else [turn.model_dump() for turn in comparison.prompt],
        "place": None
        if sight is None
        else {
            "title": sight.title,
            "columns": list(sight.asked),
            **sight.distribution.model_dump(include={"candidates", "entropy", "kl", "prompt_tokens", "forced", "said"}),
        },
        "answers": [
            {
                "label": answer.label,
                "text": answer.text,
                "active": answer == comparison.answer,
                "columns": [column.model_dump() for column in answer.scored.columns] if answer.scored else [],
            }
            for answer in comparison.answers
        ],
        "beta": comparison.beta,
        "preference": asdict(comparison.preference) if comparison.preference else None,
        "generated": [asdict(said) for said in comparison.said],
        "samples": {
            name: [{**asdict(each), "share": each.share} for each in counted]
            for name, counted in shares(comparison.samples).items()
        },
        "costs": {name: {**asdict(cost), "per_million": cost.per_million} for name, cost in comparison.costs.items()},
    }
