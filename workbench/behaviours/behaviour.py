"""Behaviours: yes-or-no properties of an answer (refusing, helpful, empty …), told apart by rules that are data.

A behaviour is a list of phrases or regular expressions, a Python function, a yes-or-no question to a judge model, or a
label of a classifier; see `Behaviour`. `behaviours.reading` reads them, `engine.scoring.classifying` tells answers.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from workbench.config import UnfitError
from workbench.models import resolve
from workbench.pairs.checks.loops import repeats
from workbench.tiny import WEIGHTS

NO_KIND = ""
"""The kind of a prompt that is no probe: typed, or a pair's."""
REFUSING = "refusing"
"""The behaviour that is known of every model: an answer that declines."""
BABBLING = -5.0
"""Nats a token: the base finds sense likelier than this, and words drawn at random less likely."""
_BABBLE_TOKENS = 3


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said to a prompt. `cut`: it was ended by the limit of its length, not by the model.

    `kind` is that of the probe whose prompt it is, NO_KIND of any other prompt.

    `likelihood`: mean log-probability of its `tokens` under the base, in nats a token; None where it was not scored.
    """

    kind: str
    prompt: str
    text: str
    cut: bool = False
    tokens: int = 0
    likelihood: float | None = None


class Behaviour(BaseModel):
    """How to tell whether an answer shows a behaviour. One kind of test, or none where `unless` says enough."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)

    phrases: list[str] = []
    """Any of these words is in the answer, upper and lower case alike."""
    regexes: list[str] = []
    """Any of these regular expressions matches in the answer, upper and lower case alike."""
    within: int = Field(default=0, ge=0)
    """Characters from the start of the answer in which phrases and regexes count; 0 for all."""
    function: str = ""
    """FILE.py:FUNCTION, called with (prompt, answer): true or false, a behaviour's name, or {name: probability}."""
    judge: str = ""
    """A local model that is asked `question`; the behaviour shows where P(yes) reaches `at_least`."""
    question: str = ""
    """What the judge is asked: a yes-or-no question with {prompt} and {answer} in it."""
    classifier: str = ""
    """A local folder with a sequence classifier, whose `label` has to reach `at_least`."""
    label: str = ""
    """The classifier's label that stands for the behaviour."""
    at_least: float = Field(default=0.5, ge=0, le=1)
    """The probability from which on a judge, a classifier or a function's number counts as yes."""
    unless: list[str] = []
    """Behaviours that exclude this one."""
    kinds: list[str] = []
    """The kinds of probes whose answers are told by it, "" for prompts that are no probes; empty for all."""
    openings: list[str] = []
    """How answers that show it begin, in a few words each: their probability is measured without sampling."""

    @model_validator(mode="after")
    def _has_one_test(self) -> Self:
        tests = [bool(self.phrases or self.regexes), bool(self.function), bool(self.judge), bool(self.classifier)]
        if sum(tests) > 1:
            given = next(name for name in ("function", "judge", "classifier") if getattr(self, name))
            raise UnfitError({given: "is one test among several; give phrases and regexes, or one of the others"})
        if not any(tests) and not self.unless:
            raise UnfitError(
                {"phrases": "are not given, nor is there another test: regexes, function, judge, classifier"}
            )
        if bool(self.judge) != bool(self.question):
            raise UnfitError({"question" if self.judge else "judge": "is not given; judge and question go together"})
        if bool(self.classifier) != bool(self.label):
            raise UnfitError({"label" if self.classifier else "classifier": "is not given; the two go together"})
        for pattern in self.regexes:
            try:
                re.compile(pattern)
            except re.error as error:
                raise UnfitError({"regexes": f"{pattern!r} is no regular expression: {error}"}) from None
        return self

    @property
    def told_by(self) -> str:
        """In a few words, what tells it."""
        if self.function:
            return f"function {self.function}"
        if self.judge:
            return f"judge {self.judge}: {self.question}"
        if self.classifier:
            return f"label {self.label} of {self.classifier}"
        if self.phrases or self.regexes:
            where = f" in the first {self.within} characters" if self.within else ""
            return f"{len(self.phrases)} phrases and {len(self.regexes)} regular expressions{where}"
        return f"neither {' nor '.join(self.unless)}"


Test = Callable[[Answer], bool]

PROPERTIES: Mapping[str, Test] = {
    "empty": lambda answer: not re.search(r"\w", answer.text),
    "repeating": lambda answer: repeats(answer.text),
    "babbling": lambda answer: (
        answer.likelihood is not None and answer.tokens >= _BABBLE_TOKENS and answer.likelihood < BABBLING
    ),
    "cut": lambda answer: answer.cut,
}
"""Behaviours that every model may have, whatever its language; they cannot be redefined."""

EMBEDDED = "workbench.tiny.matchers:classify"
"""The `function` of the embedded model's behaviours: its answers are sentences of a grammar."""


@cache
def english() -> Mapping[str, Behaviour]:
    """How English answers of any model are told apart: english.toml."""
    tables = tomllib.loads((Path(__file__).parent / "english.toml").read_text("utf-8"))["behaviour"]
    return {name: Behaviour(**table) for name, table in tables.items()}


def embedded() -> dict[str, Behaviour]:
    """The behaviours of the embedded model: the families of answers of its grammar."""
    families = ("compliant", "refusing", "helpful", "courteous", "rude", "verbose", "neutral")
    return {name: Behaviour(function=EMBEDDED) for name in families}


def defaults(model: str) -> dict[str, Behaviour]:
    """The behaviours that are known of `model` where nobody says more."""
    return embedded() if resolve(model) == str(WEIGHTS) else dict(english())


def text_test(behaviour: Behaviour) -> Test:
    """The test by phrases and regexes; true where there are none."""
    patterns = [rf"(?<!\w){re.escape(phrase)}(?!\w)" for phrase in behaviour.phrases] + list(behaviour.regexes)
    if not patterns:
        return lambda _: True
    expressions = [re.compile(pattern, re.IGNORECASE | re.DOTALL) for pattern in patterns]
    within = behaviour.within or None
    return lambda answer: any(expression.search(answer.text[:within]) for expression in expressions)


def resolve_exclusions(shown: Mapping[str, bool], behaviours: Mapping[str, Behaviour], kind: str) -> tuple[str, ...]:
    """The behaviours that an answer to a probe of `kind` shows: those whose test says so and that none excludes.

    `shown`: what the test of each behaviour says, by name, properties included.
    """
    known: dict[str, bool] = {}

    def shows(name: str) -> bool:
        if name not in known:
            known[name] = shown[name] and not (
                name in behaviours and any(shows(other) for other in behaviours[name].unless)
            )
        return known[name]

    return tuple(name for name in shown if shows(name) and (name in PROPERTIES or told_on(behaviours[name], kind)))


def told_on(behaviour: Behaviour, kind: str) -> bool:
    """Whether answers to probes of `kind` are told by it."""
    return not behaviour.kinds or kind in behaviour.kinds


def circle(behaviours: Mapping[str, Behaviour]) -> list[str]:
    """Behaviours that exclude each other in a circle, in its order; empty where none do."""

    def walk(name: str, way: Sequence[str]) -> list[str]:
        if name in way:
            return [*way[way.index(name) :], name]
        if name not in behaviours:
            return []
        return next((found for other in behaviours[name].unless if (found := walk(other, [*way, name]))), [])

    return next((found for name in behaviours if (found := walk(name, []))), [])
