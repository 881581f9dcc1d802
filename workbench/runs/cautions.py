"""What a run with so few pairs, prompts or steps cannot learn or show, and settings that would do: before it starts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from workbench.config import RunConfig
from workbench.figures import plural

ENOUGH_STEPS = 10
"""Adam moves a weight by about the learning rate a step, and LoRA's B begins at zero: at 5e-5, ten steps bring no entry
of it beyond 5e-4, with the schedule half of that. Fewer leave the margin where it was."""
_SMALLEST_BATCH = 4
"""Pairs: below, one odd pair decides the direction of a step."""
_HOLDOUT = 0.1
_MOST_GOOD = 1.5


@dataclass(frozen=True, slots=True)
class Caution:
    """A sentence, and the settings that would do; none where settings do not help."""

    message: str
    changes: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        """With the settings as options of the command line."""
        return self._with(" ".join(f"--set {key}={value:g}" for key, value in self.changes.items()))

    @property
    def in_form(self) -> str:
        """With the settings by their names."""
        return self._with(", ".join(f"{key.replace('_', ' ')} {value:g}" for key, value in self.changes.items()))

    def _with(self, settings: str) -> str:
        return f"{self.message} This would do: {settings}" if settings else self.message


def cautions(
    config: RunConfig, train: int, holdout: int, held_out_prompts: int, answers: tuple[int, int] = (0, 0)
) -> list[Caution]:
    """What there is to say of a run of `config` on so many pairs, or on so many good and bad `answers`."""
    said = [*_steps(config, train), *_held_out(config, holdout, held_out_prompts)]
    return [*said, *_balance(config, *answers)] if config.facts.judges_alone else said


def _balance(config: RunConfig, good: int, bad: int) -> Iterator[Caution]:
    """KTO's authors want the weights times the numbers, good to bad, from 1 to 3/2: arXiv 2402.01306, eq. 9."""
    if good + bad and not (good and bad):
        yield Caution(f"All answers are judged {'good' if good else 'bad'}: there is nothing to tell them from.")
    elif good:
        ratio = config.desirable_weight * good / (config.undesirable_weight * bad)
        if not 1 <= ratio <= _MOST_GOOD:
            weight = {"desirable_weight": bad / good} if good < bad else {"undesirable_weight": good / bad}
            others = {"desirable_weight": 1.0, "undesirable_weight": 1.0} | weight
            changes = {key: round(value, 2) for key, value in others.items() if round(value, 2) != getattr(config, key)}
            told = f"{plural(good, 'answer is', 'answers are')} judged good and {bad:,} bad, with these weights"
            yield Caution(f"{told} {ratio:.2g} to 1: kto learns best from 1 to 1.5 to 1.", changes)


def _steps(config: RunConfig, train: int) -> Iterator[Caution]:
    steps = config.total_steps(train)
    if steps < ENOUGH_STEPS:
        size = (
            plural(config.step_rows, "answer") if config.facts.online else plural(min(config.step_rows, train), "pair")
        )
        words = f"{plural(steps, 'step')} of {size} {'is' if steps == 1 else 'are'} too few to learn anything."
        yield Caution(words, _more_steps(config, train))


def _more_steps(config: RunConfig, train: int) -> dict[str, Any]:
    """The least that makes enough steps: the limit itself, a whole epoch, smaller batches, more epochs."""
    if config.max_steps:
        return {"max_steps": ENOUGH_STEPS}
    more_epochs: dict[str, Any] = {"epochs": 1.0} if config.epochs < 1 else {}
    most, best = 0, more_epochs
    for size in _batch_sizes(config):
        changes = more_epochs | ({"batch_size": size} if size != config.batch_size else {})
        if config.model_copy(update=changes).total_steps(train) >= ENOUGH_STEPS:
            return changes
        an_epoch = config.model_copy(update=changes | {"epochs": 1.0}).total_steps(train)
        if an_epoch > most:
            most, best = an_epoch, changes
    return best | {"epochs": float(-(-ENOUGH_STEPS // most))}


def _batch_sizes(config: RunConfig) -> Iterator[int]:
    """The config's own, then halves of it that its other settings allow."""
    least = config.group_size if config.facts.online else _SMALLEST_BATCH
    size = config.batch_size
    yield size
    while size % 2 == 0 and size // 2 >= least:
        size //= 2
        if size % config.gradient_accumulation == 0 and (not config.facts.online or size % config.group_size == 0):
            yield size


def _held_out(config: RunConfig, holdout: int, prompts: int) -> Iterator[Caution]:
    if not holdout:
        message = "Nothing is held out: the run can show no more than that it learned its own pairs."
        if config.holdout:
            yield Caution(f"{message} Add pairs with other prompts.")
        else:
            yield Caution(message, {"holdout": _HOLDOUT})
    elif prompts == 1:
        yield Caution("One prompt is held out: what is measured on it says nothing of others, and has no interval.")
