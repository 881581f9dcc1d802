"""The methods of preference optimization: when to choose which, the settings that are its own, its authors' advice.

Where authors give a learning rate for training all weights, the adapter's is ten times that, as it needs about so much
(Schulman et al., LoRA Without Regret, 2025).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

MethodName = Literal["dpo", "simpo", "orpo", "kto", "reward", "grpo", "rloo"]


@dataclass(frozen=True, slots=True)
class Method:
    """`when` is a line for who has to choose, 60 characters at most. `values` are its settings where they differ
    from the defaults, `rests_on` says where those numbers are from.
    """

    title: str
    when: str
    rests_on: str
    values: Mapping[str, Any] = field(default_factory=dict)


METHODS: Mapping[str, Method] = {
    "dpo": Method(
        "Direct Preference Optimization",
        "First choice: pairs, and a model that already answers well.",
        "beta 0.1: arXiv 2305.18290; learning rate 5e-5: usual for 4-bit adapters, at lower ones few weights move.",
    ),
    "simpo": Method(
        "Simple Preference Optimization",
        "No reference: faster, length counts less; may drift far.",
        "beta 2, gamma / beta 0.5, learning rate 6e-7 for all weights: Llama 3 in arXiv 2405.14734.",
        {"beta": 2.0, "simpo_gamma_ratio": 0.5, "learning_rate": 6e-6, "warmup": 0.1},
    ),
    "orpo": Method(
        "Odds Ratio Preference Optimization",
        "A base model not yet tuned to answer: all in one stage.",
        "beta (lambda) 0.1, learning rate 8e-6 for all weights: arXiv 2403.07691.",
        {"beta": 0.1, "learning_rate": 8e-5, "warmup": 0.1},
    ),
    "kto": Method(
        "Kahneman-Tversky Optimization",
        "Noisy labels: every answer is judged good or bad by itself.",
        "beta 0.1, weights within n_bad / n_good times 1 to 4/3 (pairs: 1): arXiv 2402.01306, eq. 8; learning rate up "
        "to 5e-6 for all weights: TRL's guide to KTO.",
        {"beta": 0.1, "desirable_weight": 1.0, "undesirable_weight": 1.0, "warmup": 0.1},
    ),
    "reward": Method(
        "Reward model",
        "To score answers, not give them: for grpo and rloo.",
        "one epoch, as more overfits: arXiv 2203.02155; learning rate 1e-4: TRL's default for adapters.",
        {"learning_rate": 1e-4},
    ),
    "grpo": Method(
        "Group Relative Policy Optimization",
        "A reward model or program: learns from its own answers.",
        "beta 0.04, learning rate 1e-6 for all weights: arXiv 2402.03300; groups of 8: TRL's default.",
        {"beta": 0.04, "group_size": 8, "batch_size": 32, "learning_rate": 1e-5},
    ),
    "rloo": Method(
        "REINFORCE Leave-One-Out",
        "As grpo, for small groups; not scaled by their spread.",
        "groups of 4: arXiv 2402.14740; beta 0.05, learning rate 1e-6 for all weights: TRL's defaults.",
        {"beta": 0.05, "group_size": 4, "batch_size": 32, "learning_rate": 1e-5},
    ),
}

ONLINE: frozenset[str] = frozenset({"grpo", "rloo"})
"""Methods that train on answers of the model itself; their batch counts answers, not pairs."""

RATIOS: frozenset[str] = frozenset({"dpo", "kto"})
"""Methods whose rewards are log-ratios to a reference, zero before the first update."""

REFERENCED: frozenset[str] = RATIOS | ONLINE
"""Methods that hold the policy to a reference: what the adapter was before the first update."""

REWARDING: frozenset[str] = RATIOS | {"reward"}
"""Methods whose runs can be the reward of others: by the scores of a reward model, or by log-ratios to a reference."""

_NOT_REWARD = frozenset(METHODS) - {"reward"}
_ONLY: Mapping[str, frozenset[str]] = {
    "adapter": _NOT_REWARD,
    "loss_type": frozenset({"dpo"}),
    "loss_weights": frozenset({"dpo"}),
    "label_smoothing": frozenset({"dpo"}),
    "fast": frozenset({"dpo", "simpo", "orpo"}),
    "beta": _NOT_REWARD,
    "simpo_gamma_ratio": frozenset({"simpo"}),
    "desirable_weight": frozenset({"kto"}),
    "undesirable_weight": frozenset({"kto"}),
    "reward": ONLINE,
    "group_size": ONLINE,
    "completion_tokens": ONLINE,
    "temperature": ONLINE,
    "sample_every": _NOT_REWARD,
    "sample_tokens": _NOT_REWARD,
}
"""Settings that only some methods use. All others are everybody's."""


def uses(method: str, setting: str) -> bool:
    """Whether the method knows what to do with the setting."""
    return setting not in _ONLY or method in _ONLY[setting]


def users(setting: str) -> tuple[str, ...]:
    """The methods that use the setting, in their order; all of them where it is everybody's."""
    return tuple(name for name in METHODS if uses(name, setting))
