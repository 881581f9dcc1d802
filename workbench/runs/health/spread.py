"""Rewards without spread: GRPO and RLOO learn from differences within a group of answers to one prompt."""

from __future__ import annotations

import math

from workbench.runs.health.detector import Finding
from workbench.runs.health.history import History, mean, value, values

NO_SPREAD = 0.9
"""Share of groups whose answers all got the same reward, above which nine tenths of the work teach nothing."""
STEPS = 3
"""In a row: a single batch may be of prompts that are all solved, or all hopeless."""
ZERO = 1e-6
"""A standard deviation that is only rounding; used where the share is not told."""


def none_left(history: History) -> Finding | None:
    """By TRL's `frac_reward_zero_std`, the share of groups without spread; by `reward_std` where that is not told."""
    steps = history.latest(STEPS)
    shares, spreads = values(steps, "frac_reward_zero_std"), values(steps, "reward_std")
    by_share = all(each >= NO_SPREAD for each in shares)
    by_spread = all(math.isnan(share) and abs(each) <= ZERO for share, each in zip(shares, spreads, strict=True))
    if not steps or not (by_share or by_spread):
        return None
    equal = (
        f"in {shares[-1]:.0%} of the groups all answers got the same reward" if by_share else "all rewards were equal"
    )
    return Finding(
        "The rewards have no spread",
        f"For {STEPS} steps, up to step {steps[-1].step}, {equal} (mean reward {value(steps[-1], 'reward'):.3g}, its "
        f"standard deviation {mean(steps, 'reward_std'):.2g}). Their advantage is zero: they teach nothing.",
        "Check the reward function on a few answers; take prompts that are sometimes answered well and sometimes not; "
        "sample with a higher temperature or more answers a prompt.",
    )
