"""The kinds of alert, a function each: from what a run has told so far to an alert, or None.

A false alarm costs as much trust as silence: thresholds are constants before the function that uses them, each with its
reason, and windows grow with the length of the run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from statistics import median

from workbench.runs.events import Eval, Step
from workbench.runs.health.history import History, after_warmup, mean, value, values
from workbench.runs.quantities import PREFERENCE_ACCURACY


@dataclass(frozen=True, slots=True)
class Alert:
    """What is wrong, the reason with the numbers that were seen, and what to do."""

    title: str
    message: str
    remedy: str


FIRST_LOSS_TOLERANCE = 1e-3
"""float32 on the CPU is off by 1e-7, bfloat16 on a GPU by a few 1e-4; a wrong reference by far more."""
FIRST_REWARD_TOLERANCE = 1e-2
"""Rewards are differences of sums over a whole response: their rounding adds up token by token."""

_WRONG_REFERENCE = "The reference is wrong, or the model computes with too little precision."
_CHECK_REFERENCE = "Stop the run; check model and quantization."


def wrong_beginning(history: History) -> Alert | None:
    """The first loss is not what it must be, or a first reward is not zero."""
    step = history.steps[-1]
    if step.step != 1:
        return None
    loss, must = step.metrics.get("loss", 0.0), history.first_loss
    if must is not None and not abs(loss - must) <= FIRST_LOSS_TOLERANCE:
        return Alert(
            "The loss did not begin where it must",
            f"Before the first update model and reference are the same and the loss is {must:.4f}; "
            f"it was {loss:.4g}. {_WRONG_REFERENCE}",
            _CHECK_REFERENCE,
        )
    rewards = [step.metrics.get(f"rewards/{side}", 0.0) for side in ("chosen", "rejected")]
    reward = next((reward for reward in rewards if math.isnan(reward)), max(map(abs, rewards)))
    if not reward <= FIRST_REWARD_TOLERANCE:
        return Alert(
            "The rewards did not begin at zero",
            "Before the first update model and reference are the same; yet a reward was "
            f"{reward:.4g}. {_WRONG_REFERENCE}",
            _CHECK_REFERENCE,
        )
    return None


EXPLODED_GRADIENT = 30.0
EXPLODED_GRADIENT_LEAST = 10.0
"""Thirty times the run's first gradients and ten times the usual clipping length. Gradients grow a few times over when
the adapter leaves zero, and shrink once pairs are learned; in runs that broke they grew a hundred times and more."""
EXPLODED_LOSS = 5.0
"""Of the first loss: with DPO's, chosen is by then thought 30 times less likely to be preferred than rejected."""
EXPLODED_MARGIN = 100.0
"""Runs that turn out well end between 1 and 20; beyond 17 float32 has nothing left of the gradient."""
EXPLODING_STEPS = 3
"""Judged by the median of so many steps, against the least gradient of the first so many (the second step may be
broken already): one bad batch is no explosion."""

_WATCHED = {
    "loss": "The loss",
    "grad_norm": "The gradient",
    "rewards/margins": "The margin",
    "rewards/chosen": "The reward of chosen",
    "rewards/rejected": "The reward of rejected",
}


def not_finite(history: History) -> Alert | None:
    """The loss, the gradient, the margin or a reward is NaN or infinite."""
    event = history.newest
    if event is None:
        return None
    for name, spoken in _WATCHED.items():
        seen = event.metrics.get(name, 0.0)
        if not math.isfinite(seen):
            where = " on held-out pairs" if isinstance(event, Eval) else ""
            return Alert(
                f"{spoken} is no longer a number",
                f"It is {seen} since step {event.step}{where}: the weights are lost, or will be with the next update.",
                f"{_slower(history)} What was saved before step {event.step} may be good still.",
            )
    return None


def exploding(history: History) -> Alert | None:
    """The median of the latest gradients, losses or margins is out of all proportion."""
    first, latest = history.first_steps, history.latest(EXPLODING_STEPS)
    if len(first) < EXPLODING_STEPS or not latest or latest[-1].step <= first[-1].step:
        return None
    gradient, gradient_then = _median(latest, "grad_norm"), min(values(first, "grad_norm"))
    loss, loss_then = _median(latest, "loss"), value(first[0], "loss")
    margin = _median(latest, "rewards/margins")
    if gradient > max(EXPLODED_GRADIENT_LEAST, EXPLODED_GRADIENT * gradient_then):
        return _explosion(
            history, "gradient", f"the gradient's norm is {gradient:.3g}; it began at {gradient_then:.2g}"
        )
    # The loss of grpo and rloo is about zero whatever happens.
    if not history.online and loss_then > 0 and loss > EXPLODED_LOSS * loss_then:
        return _explosion(history, "loss", f"the loss is {loss:.3g}; it began at {loss_then:.3g}")
    if abs(margin) > EXPLODED_MARGIN:
        return _explosion(history, "margin", f"the margin is {margin:.4g}, where 1 to 20 is usual")
    return None


def _explosion(history: History, what: str, seen: str) -> Alert:
    return Alert(
        f"The {what} explodes",
        f"Over the last {EXPLODING_STEPS} steps, up to step {history.steps[-1].step}, {seen}: "
        "updates are larger than the model can follow.",
        _slower(history) + (f" Or a tenth of beta: {history.beta_setting(0.1)}." if what == "margin" else ""),
    )


def _slower(history: History) -> str:
    return (
        f"Stop the run. Take a tenth of the learning rate: {history.rate_setting(0.1)}; with --set warmup=0.1; "
        "max_grad_norm should be 1 or less."
    )


def _median(steps: list[Step], name: str) -> float:
    numbers = values(steps, name)
    return math.nan if any(math.isnan(number) for number in numbers) else median(numbers)


MOVED = 0.5
"""Adam moves each entry by about the learning rate a step, so in a healthy run all of A has moved after the second
update. Where fewer than half has, updates are lost to rounding, or there is no gradient."""
NO_GRADIENT = 1e-7
"""A gradient shorter than float32's rounding of the loss is none."""
STUCK_MARGIN = 0.01
"""A margin of 0.01 is a probability of 0.5025 that chosen is preferred: a coin."""
STUCK_SHARE = 0.25
"""Of the run, with the warm-up over, after which the margin must have left zero."""
_PATIENCE = 5
"""Logged steps at full learning rate that even the shortest run gets."""


def not_moving(history: History) -> Alert | None:
    """Most entries of LoRA's A are what they were before the first step."""
    steps = history.latest(history.window(shortest=_PATIENCE))
    if not steps or not after_warmup(steps):
        return None
    changed = value(steps[-1], "adapter/changed")
    if not changed < MOVED:
        return None
    gradient, rate = mean(steps, "grad_norm"), value(steps[-1], "learning_rate")
    if gradient < NO_GRADIENT:
        reason = "There is no gradient: chosen and rejected are the same in every pair, or are cut to the same."
        remedy = "Look for identical and truncated pairs: workbench check; raise max_length where answers are cut."
    else:
        at_rate = "" if math.isnan(rate) else f" of {rate:.2g}"
        reason = f"A learning rate{at_rate} is too small to change them."
        remedy = "Stop the run and raise it: --set learning_rate=5e-5; under 100 million parameters --preset small."
    return Alert(
        "The adapter's weights do not move",
        f"After {steps[-1].step} steps {changed:.1%} of the entries of LoRA's A differ from their beginning "
        f"(gradient norm {gradient:.2g}). {reason}",
        remedy,
    )


def stuck(history: History) -> Alert | None:
    """A quarter of the run is done and the margin is still zero; with DPO's loss that is ln 2."""
    since = history.latest(history.window(STUCK_SHARE, shortest=_PATIENCE))
    if not since or not after_warmup(since):
        return None
    steps = since[-history.window() :]
    margin, loss = mean(steps, "rewards/margins"), mean(steps, "loss")
    if not abs(margin) < STUCK_MARGIN:
        return None
    must = history.first_loss
    at = f" at {must:.4f}" if must is not None else ""
    rate = value(steps[-1], "learning_rate")
    at_rate = "" if math.isnan(rate) else f" at a learning rate of {rate:.2g}"
    return Alert(
        f"The loss is stuck{at}" if must is not None else "The margin is stuck at zero",
        f"After {steps[-1].step} steps{at_rate} the margin is {margin:.4f} and the loss {loss:.4f}: "
        "the model does not yet tell chosen from rejected better than before.",
        f"Raise the learning rate, ten times at first: {history.rate_setting(10)}; under 100 million parameters "
        "--preset small. If that changes nothing, the labels may contradict each other: workbench check.",
    )


FALLEN_NATS = 1.0
"""Chosen has lost this much log-probability: it is less than 37% as likely as before training."""
FALLEN_SHARE = 0.1
"""And this share of what it had: a long answer of -270 nats wavers by more than one, and DPO runs that turn out well
have been seen to lose 7%."""
GROWN_MARGIN = 0.05
"""Below it the margin has not grown: the model drifts, but not by this."""
FALLEN_STEPS_SHARE = 0.25
_PATIENCE = 5
"""Of the run, before it is judged by its steps: what falls at first often comes back."""


def displacement(history: History) -> Alert | None:
    """Judged on the held-out pairs where there are any, twice in a row or at the end; else over a window of steps."""
    if history.evals:
        latest = history.evals[-2:]
        if len(latest) < 2 and not history.is_last(latest[-1]):
            return None
        if history.is_last(latest[-1]):
            latest = latest[-1:]
        fallen = [_fallen(history, {name: value(event, name) for name in _DISPLACED}) for event in latest]
        return _displaced(history, latest[-1].step, "held-out", fallen[-1]) if all(fallen) else None
    if history.started and history.started.holdout_pairs:
        return None
    if not history.latest(history.window(FALLEN_STEPS_SHARE, shortest=_PATIENCE)):
        return None
    steps = history.latest(history.window())
    return _displaced(
        history, steps[-1].step, "training", _fallen(history, {name: mean(steps, name) for name in _DISPLACED})
    )


_DISPLACED = ("rewards/chosen", "rewards/rejected", "rewards/margins", "logps/chosen", "logps/rejected")


@dataclass(frozen=True, slots=True)
class _Fallen:
    """Log-probabilities before training and now, and the margin now."""

    chosen: tuple[float, float]
    rejected: tuple[float, float]
    margin: float


def _fallen(history: History, seen: Mapping[str, float]) -> _Fallen | None:
    """What has fallen; None where not both answers have, or the margin has not grown.

    A reward is beta times the log-probability gained since before training, whatever the batch: so each event tells
    where it began.
    """
    if not history.beta:
        return None
    sides = []
    for side in ("chosen", "rejected"):
        gained, now = seen[f"rewards/{side}"] / history.beta, seen[f"logps/{side}"]
        before = now - gained
        if not (-gained > FALLEN_NATS and -gained > FALLEN_SHARE * abs(before)):
            return None
        sides.append((before, now))
    margin = seen["rewards/margins"]
    return _Fallen(sides[0], sides[1], margin) if margin > GROWN_MARGIN else None


def _displaced(history: History, step: int, where: str, fallen: _Fallen | None) -> Alert | None:
    if fallen is None:
        return None
    chosen, rejected = (f"from {before:.2f} to {now:.2f}" for before, now in (fallen.chosen, fallen.rejected))
    return Alert(
        "Both answers become less likely",
        f"At step {step} the margin has grown to {fallen.margin:.2f}, yet the log-probability of chosen fell {chosen} "
        f"and that of rejected {rejected} ({where} pairs). The model learns to say neither; something else takes their "
        "place.",
        "Hold the chosen answers up with an SFT term: --preset gentle. Or hold the model closer and go slower: "
        f"{history.beta_setting(2)} {history.rate_setting(0.5)}; and take pairs whose two answers differ more.",
    )


EARLY_SHARE = 0.1
EARLY_STEPS = 5
"""*At once* is within the first tenth of the run, or the first five steps of a short one."""
EASY_MARGIN = 3.0
"""The mean reward margin at which DPO has 5% of its gradient left (sigmoid(-3)): nothing more is to be learned.
Accuracy alone says little: it is 1.0 after one update wherever all pairs pull in the same direction."""
EASY_PAIRS = 32
"""Pairs never seen before that were all told apart; with an honest 90% that happens once in thirty."""


def too_easy(history: History) -> Alert | None:
    """Accuracy 1.0 with a decisive margin, step after step, on pairs of the first epoch near the run's beginning."""
    latest, total = history.steps[-1], history.total_steps
    if not latest.step <= max(EARLY_STEPS, EARLY_SHARE * total) or latest.epoch > 1:
        return None
    steps = list(reversed(list(takewhile(_decided, reversed(history.steps)))))
    if not steps or len(steps) == len(history.steps):
        return None  # Before the first step, whose accuracy is ½, it is not known from where to count.
    pairs = latest.pairs - history.steps[-len(steps) - 1].pairs
    if pairs < EASY_PAIRS:
        return None
    margin = mean(steps, "rewards/margins")
    loss = value(latest, "loss")
    return Alert(
        "Accuracy is 1.0 at once",
        f"After {latest.step} of {total} steps every one of the last {pairs} pairs, none seen before, is told apart "
        f"with a mean margin of {margin:.2f} (loss {loss:.2g}). Either the pairs are too easy, or something else than "
        "quality gives chosen away: its length, a phrase, a format.",
        "See what sets chosen apart: workbench check (length, duplicates, leaks). Rejected answers that are nearly "
        f"right teach more. If the pairs are as they should be: {history.rate_setting(0.1)}.",
    )


def _decided(step: Step) -> bool:
    return value(step, PREFERENCE_ACCURACY) == 1.0 and value(step, "rewards/margins") >= EASY_MARGIN


OVERFIT_MARGIN_SHARE = 0.1
OVERFIT_MARGIN_LEAST = 0.05
"""The held-out margin lost a tenth of its best, and at least 0.05: near its ceiling it wavers by a few percent."""
MARGIN_ENOUGH = 5.0
"""A higher margin counts as this much: chosen is preferred at 99.3%, and a fall from 17 to 15 costs nothing."""
OVERFIT_LOSS_SHARE = 0.1
OVERFIT_LOSS_LEAST = 0.05
"""The held-out loss rose by a tenth of its lowest and at least 0.05, a fourteenth of ln 2."""


def overfitting(history: History) -> Alert | None:
    """Twice in a row, or at the end of the run, the held-out margin is lower or the loss higher than it was at best."""
    evals = history.evals
    latest = evals[-1:] if history.is_last(evals[-1]) else evals[-2:]
    earlier = evals[: -len(latest)]
    if not earlier or (len(latest) < 2 and not history.is_last(latest[-1])):
        return None
    return _margin_fell(history, earlier, latest) or _loss_rose(history, earlier, latest)


def _margin_fell(history: History, earlier: Sequence[Eval], latest: Sequence[Eval]) -> Alert | None:
    best = max(earlier, key=lambda event: _or(value(event, "rewards/margins"), float("-inf")))
    top = value(best, "rewards/margins")
    enough = min(top, MARGIN_ENOUGH)
    limit = enough - max(OVERFIT_MARGIN_LEAST, OVERFIT_MARGIN_SHARE * abs(enough))
    if not all(value(event, "rewards/margins") < limit for event in latest):
        return None
    then, now = _trained(history, best, "rewards/margins"), _trained(history, latest[-1], "rewards/margins")
    if not now > then:
        return None
    return _overfits(
        history,
        best,
        latest[-1],
        f"the held-out margin fell from {top:.2f} (step {best.step}) to {value(latest[-1], 'rewards/margins'):.2f}, "
        f"while that of the training pairs rose from {then:.2f} to {now:.2f}",
    )


def _loss_rose(history: History, earlier: Sequence[Eval], latest: Sequence[Eval]) -> Alert | None:
    best = min(earlier, key=lambda event: _or(value(event, "loss"), float("inf")))
    lowest = value(best, "loss")
    limit = lowest + max(OVERFIT_LOSS_LEAST, OVERFIT_LOSS_SHARE * abs(lowest))
    if not all(value(event, "loss") > limit for event in latest):
        return None
    then, now = _trained(history, best, "loss"), _trained(history, latest[-1], "loss")
    if not now < then:
        return None
    return _overfits(
        history,
        best,
        latest[-1],
        f"the held-out loss rose from {lowest:.3f} (step {best.step}) to {value(latest[-1], 'loss'):.3f}, "
        f"while that of the training pairs fell from {then:.3f} to {now:.3f}",
    )


def _trained(history: History, at: Eval, name: str) -> float:
    """A metric of the training pairs over the window that ends with `at`; after it, where nothing came before."""
    count = history.window()
    before = [step for step in history.steps if step.step <= at.step][-count:]
    return mean(before or history.steps[:count], name)


def _or(number: float, other: float) -> float:
    return other if number != number else number


def _overfits(history: History, best: Eval, latest: Eval, seen: str) -> Alert:
    held = history.hold_back(2, 0.5)
    stop = f"Stop at about step {best.step}: --set max_steps={best.step}. Or {held}" if best.step > 0 else held
    return Alert(
        "The run overfits",
        f"By step {latest.step} {seen}: it learns its pairs by heart and does worse on others.",
        f"{stop[0].upper()}{stop[1:]}; take more pairs; and look for "
        "labels that contradict each other: workbench check.",
    )


LONGER_TIMES = 1.5
"""Aligned answers are half as long again as the base's to the same prompts."""
LONGER_TOKENS = 8.0
"""And longer_answers by this many tokens on average, about six words: "No." beside "No, sorry." is no lengthening."""
LONGER_ANSWERS = 4
"""Answers this is judged on, from two moments at least: single greedy answers flip with one token."""


def longer_answers(history: History) -> Alert | None:
    """Compares tokens of the latest answers of the aligned model with the base's to the same held-out prompts.

    Answers end at `sample_tokens`. An answer cut there counts as that long, so a limit can hide lengthening and never
    feign it: where the base's answers reach the limit, the aligned ones cannot exceed them and nothing is told. Lengths
    are of what the model generates, not of the pairs, whose length bias `workbench check` measures.
    """
    latest = [sample for sample in history.samples if sample.step > 0][-LONGER_ANSWERS:]
    if len(latest) < LONGER_ANSWERS or len({sample.step for sample in latest}) < 2:
        return None
    base = sum(sample.base_tokens for sample in latest) / len(latest)
    aligned = sum(sample.aligned_tokens for sample in latest) / len(latest)
    if not (aligned >= LONGER_TIMES * base and aligned - base >= LONGER_TOKENS):
        return None
    return Alert(
        "Answers get longer_answers",
        f"The last {len(latest)} answers to held-out prompts are {aligned:.0f} tokens long on average; "
        f"the base model's to the same prompts are {base:.0f}. The model may be learning length instead of quality.",
        "Compare the lengths of chosen and rejected: workbench check. Even them out, drop the pairs in which only "
        f"length differs, or hold the model closer: {history.beta_setting(2)}.",
    )


NO_SPREAD = 0.9
"""Share of groups whose answers all got the same reward, above which nine tenths of the work teach nothing."""
NO_SPREAD_STEPS = 3
"""In a row: a single batch may be of prompts that are all solved, or all hopeless."""
ZERO_SPREAD = 1e-6
"""A standard deviation that is only rounding; used where the share is not told."""


def no_spread(history: History) -> Alert | None:
    """By TRL's `frac_reward_zero_std`, the share of groups without spread; by `reward_std` where that is not told."""
    steps = history.latest(NO_SPREAD_STEPS)
    shares, spreads = values(steps, "frac_reward_zero_std"), values(steps, "reward_std")
    by_share = all(share >= NO_SPREAD for share in shares)
    by_spread = all(
        math.isnan(share) and abs(spread) <= ZERO_SPREAD for share, spread in zip(shares, spreads, strict=True)
    )
    if not steps or not (by_share or by_spread):
        return None
    equal = (
        f"in {shares[-1]:.0%} of the groups all answers got the same reward" if by_share else "all rewards were equal"
    )
    return Alert(
        "The rewards have no spread",
        f"For {NO_SPREAD_STEPS} steps, up to step {steps[-1].step}, {equal} (mean reward "
        f"{value(steps[-1], 'reward'):.3g}, its standard deviation {mean(steps, 'reward_std'):.2g}). "
        "Their advantage is zero: they teach nothing.",
        "Check the reward function on a few answers; take prompts that are sometimes answered well and sometimes not; "
        "sample with a higher temperature or more answers a prompt.",
    )


SLOW_SHARE = 1 / 3
"""Of the run's own median speed: epochs' short last batches and long texts halve the speed of single steps."""
SLOW_STEPS = 3
"""In a row at least; in long runs a fiftieth of the steps, so that another's short job is no alarm."""
SLOW_AFTER = 5
"""Steps whose median is taken for the run's own speed."""


def slow(history: History) -> Alert | None:
    """Pairs a second, and tokens a second where they are told, are below a third of the median for steps in a row.

    Tokens as well, since a batch of long texts has few pairs a second and nothing is wrong with it. Steps before a
    resumption do not count: it may go on on another machine.
    """
    count = history.window(1 / 50, shortest=SLOW_STEPS)
    steps = [step for step in history.steps if step.step > history.resumed_at]
    latest, earlier = steps[-count:], steps[:-count]
    if len(earlier) < SLOW_AFTER:
        return None
    usual = median(step.pairs_per_second for step in earlier)
    usual_tokens = median(step.tokens_per_second for step in earlier)
    slow = all(step.pairs_per_second < SLOW_SHARE * usual for step in latest)
    slow_tokens = usual_tokens <= 0 or all(step.tokens_per_second < SLOW_SHARE * usual_tokens for step in latest)
    if not (slow and slow_tokens):
        return None
    now = median(step.pairs_per_second for step in latest)
    return Alert(
        "The run has become slow",
        f"The last {len(latest)} steps, up to step {latest[-1].step}, made {now:.3g} pairs a second; "
        f"the median before was {usual:.3g}.",
        "See what else uses the machine (nvidia-smi, top), whether memory is swapped out, and whether the GPU is too "
        "hot. The run can be paused until the machine is free.",
    )
