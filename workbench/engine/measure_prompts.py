"""What a model makes of the prompts of probes: their tokens, and how its answers begin."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from transformers import AutoConfig

from workbench.behaviours.behaviour import Behaviour
from workbench.compare.messages import Column, ScoreOpenings
from workbench.compare.prompt_parts import as_prompt
from workbench.engine.model.downloads import from_pretrained, load_tokenizer, not_loaded
from workbench.engine.model.rendering import FALLBACK_TEMPLATE
from workbench.engine.model.token_ids import prompt_ids
from workbench.engine.scoring.scorer import Scorer
from workbench.errors import WorkbenchError
from workbench.evidence.probes import Probe, by_kind, openings_of
from workbench.evidence.suites.prompts import PromptTokens
from workbench.models import resolve
from workbench.pairs.pair import Text
from workbench.trust import UNTRUSTED, Trust

MOST_A_KIND = 16
"""Probes whose openings are measured: enough for a mean, and few enough for a CPU to read."""


def measure_prompts(model: str, prompts: Mapping[str, Text], trust: Trust = UNTRUSTED) -> PromptTokens:
    """The tokens of every prompt, by id, as `model` reads them. Its weights are not loaded.

    `trust`: what its files may do.

    Raises `WorkbenchError` where there is no such model.
    """
    source = resolve(model)
    tokenizer = load_tokenizer(model, trust=trust)
    try:
        config = from_pretrained(AutoConfig, source, trust)
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


def measure_openings(
    model: str,
    probes: Sequence[Probe],
    behaviours: Mapping[str, Behaviour],
    progress: Callable[[int, int], None] = lambda *_: None,
    trust: Trust = UNTRUSTED,
) -> dict[str, dict[str, float]]:
    """By probe and behaviour, how probable it is that an answer of `model`, in 4 bits, begins so.

    Of every kind as many as `MOST_A_KIND` are measured, spaced evenly. The prompts have to fit. `progress` is told how
    many of how many probes are done. Raises `WorkbenchError` where there is no such model.
    """
    asked = {probe.id: openings_of(probe, behaviours) for probe in probes}
    begun = [
        one for of_kind in by_kind(probes).values() for one in spaced([probe for probe in of_kind if asked[probe.id]])
    ]
    found: dict[str, dict[str, float]] = {}
    if not begun:
        return found
    scorer = Scorer(model, trust=trust)
    for probe in begun:
        progress(len(found), len(begun))
        requests = {
            behaviour: ScoreOpenings(
                columns=[Column(name="base")], prompt=as_prompt(probe.prompt), openings=list(texts)
            )
            for behaviour, texts in asked[probe.id].items()
        }
        scored = {behaviour: scorer.openings(request).columns[0] for behaviour, request in requests.items()}
        found[probe.id] = {behaviour: column.probability for behaviour, column in scored.items()}
    return found


def spaced(probes: Sequence[Probe]) -> list[Probe]:
    """At most `MOST_A_KIND` of the probes, spaced evenly, so that all parts of a suite are among them."""
    count = min(MOST_A_KIND, len(probes))
    return [probes[number * len(probes) // count] for number in range(count)]
