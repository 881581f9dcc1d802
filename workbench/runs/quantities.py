"""The quantities that are shown of a run, whatever name its method logs them under."""

from __future__ import annotations

from collections.abc import Mapping

METRICS: Mapping[str, tuple[str, ...]] = {
    "loss": ("loss",),
    "reward": ("reward",),
    "spread": ("reward_std",),
    "alike": ("frac_reward_zero_std",),
    "logps": ("logps/chosen", "logps/rejected"),
    "margin": ("rewards/margins", "margin"),
    "accuracy": ("rewards/accuracies", "accuracy"),
    "kl": ("kl",),
    "point": ("kto/reference_point",),
    "length": ("completions/mean_length",),
    "grad": ("grad_norm",),
    "rate": ("learning_rate",),
}
"""Metrics by quantity, in the order of the charts. A reward model's margin and accuracy are those of its scores."""

_LABELS = {"loss": "loss", "margin": "margin", "reward": "reward", "spread": "spread", "kl": "KL"}
_HEADLINES = {"pairs": ("loss", "margin"), "answers": ("reward", "spread", "kl")}
"""What is told first: of a run on pairs, and of one on the model's own answers, whose loss is about zero always."""


def quantities(metrics: Mapping[str, float | None]) -> tuple[str, ...]:
    """The quantities that the metrics have, in their order. Where there is a reward, the loss says nothing."""
    found = (name for name, metrics_ in METRICS.items() if any(each in metrics for each in metrics_))
    return tuple(name for name in found if name != "loss" or "reward" not in metrics)


def quantity(metrics: Mapping[str, float | None], name: str) -> float | None:
    """The value of a quantity; None where the metrics have none."""
    return next((metrics[each] for each in METRICS[name] if each in metrics), None)


def headline(metrics: Mapping[str, float]) -> list[tuple[str, float]]:
    """The quantities that are told first, with their labels."""
    kind = _HEADLINES["answers" if "reward" in metrics else "pairs"]
    values = ((_LABELS[name], quantity(metrics, name)) for name in kind)
    return [(label, value) for label, value in values if value is not None]
