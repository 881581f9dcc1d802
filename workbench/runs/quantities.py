"""The quantities that are shown of a run, whatever name its method logs them under.

All that a chart, a column and a list say of a quantity is here: a new metric is drawn once it has an entry.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Quantity:
    """`metrics` are the names it is logged under, `title` that of its chart, `short` what it is called in little room.

    `caption`: what it is, in a sentence; empty where the title says enough and a report has no chart of it. No value is
    below `least` or above `most`. `zero`: its sign matters. `noisy`: smoothed, it tells more.
    """

    title: str
    metrics: tuple[str, ...]
    short: str = ""
    caption: str = ""
    least: float = -math.inf
    most: float = math.inf
    zero: bool = False
    noisy: bool = True


PREFERENCE_ACCURACY = "preference_accuracy"
"""The share of pairs whose chosen response has the higher reward (of dpo and its like the implicit one, against the
reference); a tie counts half, so before training it is ½. This is what we call accuracy wherever we show one.

TRL's own number, `rewards/accuracies` (of reward models `accuracy`), takes ties for wrong, so it begins at 0. It is
logged beside this one, under its name.
"""

QUANTITIES: Mapping[str, Quantity] = {
    "loss": Quantity("loss", ("loss",), "loss", caption="What training brings down."),
    "reward": Quantity("reward", ("reward",), "reward", caption="Mean over the model's own answers."),
    "spread": Quantity(
        "spread of rewards in a group",
        ("reward_std",),
        "spread",
        caption="Within a group of answers; none, and nothing is learned from it.",
        least=0,
    ),
    "alike": Quantity("groups without spread", ("frac_reward_zero_std",), least=0, most=1),
    "logps": Quantity(
        "log-probability",
        ("logps/chosen", "logps/rejected"),
        caption="Of whole responses, in nats. Chosen is to stay up, rejected to fall; faint lines are training pairs.",
    ),
    "margin": Quantity(
        "reward margin",
        ("rewards/margins", "margin"),
        "margin",
        caption="Reward of chosen less that of rejected.",
        zero=True,
    ),
    "accuracy": Quantity(
        "accuracy",
        (PREFERENCE_ACCURACY,),
        "acc",
        caption="Share of pairs whose chosen response has the higher reward; a tie counts half.",
        least=0,
        most=1,
    ),
    "kl": Quantity(
        "KL to the start", ("kl",), "KL", caption="KL(run ‖ the model that it began with) in nats a token.", least=0
    ),
    "point": Quantity("reference point", ("kto/reference_point",)),
    "length": Quantity("tokens an answer", ("completions/mean_length",), least=0),
    "grad": Quantity("gradient norm", ("grad_norm",), "grad norm", least=0),
    "rate": Quantity("learning rate", ("learning_rate",), "learning rate", least=0, noisy=False),
}
"""In the order of the charts. A reward model's margin and accuracy are those of its scores."""


def preferred(margin: float) -> float:
    """How far a pair with this margin counts as right: 1 above 0, ½ at 0, where a guess is right half the time."""
    return 0.5 if margin == 0 else float(margin > 0)


_HEADLINES = {"pairs": ("loss", "margin"), "answers": ("reward", "spread", "kl")}
"""What is told first: of a run on pairs, and of one on the model's own answers, whose loss is about zero always."""


def quantities(metrics: Mapping[str, float | None]) -> tuple[str, ...]:
    """The quantities that the metrics have, in their order. Where there is a reward, the loss says nothing."""
    there = (name for name, about in QUANTITIES.items() if any(metric in metrics for metric in about.metrics))
    return tuple(name for name in there if name != "loss" or "reward" not in metrics)


def quantity(metrics: Mapping[str, float | None], name: str) -> float | None:
    """The value of a quantity; None where the metrics have none."""
    return next((metrics[metric] for metric in QUANTITIES[name].metrics if metric in metrics), None)


def headline(metrics: Mapping[str, float]) -> list[tuple[str, float]]:
    """The quantities that are told first, with their labels."""
    kind = _HEADLINES["answers" if "reward" in metrics else "pairs"]
    values = ((QUANTITIES[name].short, quantity(metrics, name)) for name in kind)
    return [(label, value) for label, value in values if value is not None]
