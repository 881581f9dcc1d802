"""The methods of preference optimization: when to choose which, what is true of it, and its authors' advice.

All that the rest of the house asks about a method is a field of `Method`; the engine adds what trains it
(`engine.training.trainers`).

Authors give learning rates for training all weights. An adapter scaled by alpha / rank, as this one is, wants about ten
times as much, in supervised and in reinforcement learning (Schulman et al., LoRA Without Regret, 2025, at
thinkingmachines.ai/blog/lora; TRL's guide of that name trains GRPO at 1e-5 so). That factor is applied here, and said.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

DEFAULT_METHOD = "dpo"
_OF_POLICIES = ("adapter", "beta", "sample_every", "sample_tokens")
"""Settings of every method that trains a model which answers."""
_OF_ONLINE = (*_OF_POLICIES, "reward", "group_size", "completion_tokens", "temperature")


def _first_dpo_loss(config: Any) -> float | None:
    if config.loss_type != ["sigmoid"]:
        return None
    return math.log(2) * (config.loss_weights[0] if config.loss_weights else 1.0)


def _first_kto_loss(config: Any) -> float | None:
    """Half the weight of an answer; with two weights, it depends on how many answers of a batch are good."""
    return config.desirable_weight / 2 if config.desirable_weight == config.undesirable_weight else None


@dataclass(frozen=True, slots=True)
class Method:
    """`when` is a line for who has to choose, 60 characters at most. `values` are the settings that it begins
    with, where they differ from the defaults or its authors name them; `rests_on` says which of the numbers are theirs,
    and where those are to be found, `ours` which are not.
    """

    title: str
    when: str
    rests_on: str
    ours: str
    values: Mapping[str, Any] = field(default_factory=dict)
    settings: Collection[str] = _OF_POLICIES
    """The settings that it uses and not every method does."""
    does: str = "It makes preferred answers likelier than rejected ones"
    """What it makes of a model, in words for the model's card."""
    pairwise: bool = True
    """Its loss sees both responses of a pair at once, so that each pair has scores."""
    online: bool = False
    """It trains on answers of the model itself: of the pairs it takes the prompts, and its batch counts answers."""
    answers: bool = True
    """Its model answers, so that its answers and its distance from the base can be shown; else it gives scores."""
    reference: bool = False
    """It holds the policy to a reference: what the adapter was before the first update."""
    log_ratios: bool = False
    """Its rewards are log-ratios to the reference, zero before the first update."""
    judges_alone: bool = False
    """It takes each answer as good or bad by itself, so that it learns from pairs that lack the other one, too."""
    first_loss: Callable[[Any], float | None] = lambda _: None
    """From a run's config, the loss while policy and reference are the same; None: the data decides."""

    @property
    def gives_reward(self) -> bool:
        """Whether its run can be the reward of another: by the scores of a reward model, or by log-ratios."""
        return self.log_ratios or not self.answers


METHODS: Mapping[str, Method] = {
    "dpo": Method(
        "Direct Preference Optimization",
        "First choice: pairs, and a model that already answers well.",
        "beta 0.1: arXiv 2305.18290, appendix B.",
        "learning rate 5e-5, as at much lower ones few weights of an adapter move; the paper has RMSprop at 1e-6 for "
        "all weights.",
        settings=(*_OF_POLICIES, "loss_type", "loss_weights", "label_smoothing", "fast", "checkpointing"),
        reference=True,
        log_ratios=True,
        first_loss=_first_dpo_loss,
    ),
    "simpo": Method(
        "Simple Preference Optimization",
        "No reference: faster, length counts less; may drift far.",
        "beta 2, gamma / beta 0.5, learning rate 6e-7 for all weights, cosine, warm-up 0.1: Llama-3-Base in the "
        "authors' repository (princeton-nlp/SimPO; arXiv 2405.14734), which advises 0.5 to begin with.",
        "ten times that learning rate.",
        {"beta": 2.0, "simpo_gamma_ratio": 0.5, "learning_rate": 6e-6, "warmup": 0.1},
        settings=(*_OF_POLICIES, "simpo_gamma_ratio", "fast", "checkpointing"),
    ),
    "orpo": Method(
        "Odds Ratio Preference Optimization",
        "A base model not yet tuned to answer: all in one stage.",
        "beta (lambda) 0.1, learning rate 5e-6 for all weights: Mistral-ORPO-beta in the authors' repository "
        "(xfactlab/orpo; arXiv 2403.07691).",
        "ten times that learning rate; warm-up 0.1 and cosine, where the authors warm up for 200 steps and fall with "
        "the inverse square root.",
        {"beta": 0.1, "learning_rate": 5e-5, "warmup": 0.1},
        settings=(*_OF_POLICIES, "fast", "checkpointing"),
    ),
    "kto": Method(
        "Kahneman-Tversky Optimization",
        "Noisy labels, or none but good and bad: answers one by one.",
        "beta 0.1 by default, both weights 1, learning rate 5e-6 for all weights, 32 answers a step: arXiv 2402.01306, "
        "table 1, and ContextualAI/HALOs; weights times numbers, good to bad, from 1 to 3/2 (pairs: 1): eq. 9.",
        "ten times that learning rate, warm-up 0.1. TRL's guide to KTO is more careful: 1e-6 at most for beta 0.1.",
        {"beta": 0.1, "desirable_weight": 1.0, "undesirable_weight": 1.0, "learning_rate": 5e-5, "warmup": 0.1},
        settings=(*_OF_POLICIES, "desirable_weight", "undesirable_weight"),
        reference=True,
        log_ratios=True,
        judges_alone=True,
        first_loss=_first_kto_loss,
    ),
    "reward": Method(
        "Reward model",
        "To score answers, not give them: for grpo and rloo.",
        "one epoch, as more overfits, learning rate 9e-6 for all weights, cosine: arXiv 2203.02155, appendix C.",
        "learning rate 1e-4: ten times that, and TRL's default; TRL's guide names 1e-3 for adapters.",
        {"epochs": 1.0, "learning_rate": 1e-4},
        settings=("margin_weight",),
        does="It gives an answer a score, higher for preferred ones",
        pairwise=False,
        answers=False,
    ),
    "grpo": Method(
        "Group Relative Policy Optimization",
        "A reward model or program: learns from its own answers.",
        "beta 0.04, learning rate 1e-6 for all weights, one update for each batch of answers: arXiv 2402.03300, "
        "section 4.2, with groups of 64 and 1024 answers a step; groups of 8 and the loss (DAPO's): TRL's defaults.",
        "ten times that learning rate; 32 answers a step, for one GPU.",
        {"beta": 0.04, "group_size": 8, "batch_size": 32, "learning_rate": 1e-5},
        settings=_OF_ONLINE,
        does="It makes answers with a high reward likelier",
        pairwise=False,
        online=True,
        reference=True,
    ),
    "rloo": Method(
        "REINFORCE Leave-One-Out",
        "As grpo, for small groups; not scaled by their spread.",
        "groups of 4 (or 2), learning rate 1e-6 for all weights: arXiv 2402.14740, with beta 0.03 and 0.1; beta 0.05: "
        "TRL's default.",
        "ten times that learning rate; 32 answers a step, for one GPU, where the paper has 256 and more.",
        {"beta": 0.05, "group_size": 4, "batch_size": 32, "learning_rate": 1e-5},
        settings=_OF_ONLINE,
        does="It makes answers with a high reward likelier",
        pairwise=False,
        online=True,
        reference=True,
    ),
}

_NOT_OF_ALL = frozenset(setting for method in METHODS.values() for setting in method.settings)


def uses(method: str, setting: str) -> bool:
    """Whether the method knows what to do with the setting."""
    return setting not in _NOT_OF_ALL or setting in METHODS[method].settings


def users(setting: str) -> tuple[str, ...]:
    """The methods that use the setting, in their order; all of them where it is everybody's."""
    return tuple(name for name in METHODS if uses(name, setting))
