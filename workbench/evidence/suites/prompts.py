"""What is wrong with the prompts of suites: asked twice, of two kinds, trained on, or not as a model can read them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from workbench.evidence.probes import Probe
from workbench.evidence.suites.public import words
from workbench.figures import plural
from workbench.pairs.checks.findings import CheckFinding
from workbench.pairs.pair import Text
from workbench.pairs.split import group_key


@dataclass(frozen=True, slots=True)
class PromptTokens:
    """What a model makes of the prompts, by the probes' ids: their tokens, and why its template refuses one.

    `context`: the tokens that the model takes; None: it does not say. `own_template`: it has a chat template.
    """

    model: str
    tokens: Mapping[str, int]
    refused: Mapping[str, str]
    context: int | None
    own_template: bool

    def fits(self, identity: str, answer: int) -> bool:
        """Whether the model reads the prompt, and an answer of so many tokens after it."""
        return identity in self.tokens and (self.context is None or self.tokens[identity] + answer <= self.context)


def repeated(probes: Sequence[Probe]) -> Iterator[CheckFinding]:
    """Prompts that are of two kinds, or asked twice."""
    same: defaultdict[bytes, list[Probe]] = defaultdict(list)
    for probe in probes:
        same[words(probe.prompt)].append(probe)
    groups = [alike for alike in same.values() if len(alike) > 1]
    if mixed := [alike for alike in groups if len({probe.kind for probe in alike}) > 1]:
        kinds = " and ".join(dict.fromkeys(probe.kind for probe in mixed[0]))
        yield CheckFinding(
            "two-kinds",
            "error",
            _ids(mixed),
            f"{plural(len(mixed), 'prompt is', 'prompts are')} of two kinds ({kinds}): no answer is right for both.",
            "Delete one of each.",
            groups=tuple(tuple(probe.id for probe in alike) for alike in mixed),
        )
    if twice := [alike for alike in groups if alike not in mixed]:
        extra = sum(len(alike) - 1 for alike in twice)
        yield CheckFinding(
            "duplicate",
            "warning",
            _ids(twice),
            f"{plural(extra, 'probe asks', 'probes ask')} what an earlier one asks: they count as more than they know.",
            "Delete them, or give them the group of the first.",
            groups=tuple(tuple(probe.id for probe in alike) for alike in twice),
        )


def trained_on(probes: Sequence[Probe], training: Mapping[str, Iterable[Text]]) -> Iterator[CheckFinding]:
    """Prompts that a data set trains on; `training` has those of each."""
    asked: defaultdict[str, list[str]] = defaultdict(list)
    for probe in probes:
        asked[group_key(probe.prompt)].append(probe.id)
    for name, prompts in training.items():
        met = {key for prompt in prompts if (key := group_key(prompt)) in asked}
        if ids := [identity for key, same in asked.items() if key in met for identity in same]:
            yield CheckFinding(
                "leak",
                "error",
                tuple(ids),
                f"{plural(len(ids), 'probe asks', 'probes ask')} what {name} trains on: it shows a run the answer.",
                f"Delete them from the suite, or hold those pairs of {name} out.",
                figures={"pairs": name},
            )


def unreadable(probes: Sequence[Probe], found: PromptTokens, answer: int) -> Iterator[CheckFinding]:
    """What a model makes otherwise of the prompts than meant; `answer`: tokens that an answer may have."""
    if found.refused:
        first = next(iter(found.refused.values()))
        yield CheckFinding(
            "template",
            "error",
            tuple(found.refused),
            f"{plural(len(found.refused), 'prompt is', 'prompts are')} refused by the chat template of {found.model}"
            f" ({first}).",
            "Leave out turns of a role it does not know (often system), or use another model.",
        )
    if found.context is not None:
        long = tuple(identity for identity in found.tokens if not found.fits(identity, answer))
        if long:
            yield CheckFinding(
                "too-long",
                "error",
                long,
                f"{plural(len(long), 'prompt leaves', 'prompts leave')} no room for an answer of {answer} tokens in the"
                f" {found.context:,} tokens that {found.model} reads.",
                f"Shorten them (the longest has {max(found.tokens.values()):,}), or lower answer_tokens.",
            )
    if not found.own_template:
        yield CheckFinding(
            "no-template",
            "warning",
            (),
            f"{found.model} has no chat template: prompts are put into a plain one, which it was not trained with.",
            "Use an instruct model, or see that training and serving use the same template.",
        )
    elif plain := tuple(probe.id for probe in probes if isinstance(probe.prompt, str)):
        yield CheckFinding(
            "plain-prompt",
            "warning",
            plain,
            f"{plural(len(plain), 'prompt is a text', 'prompts are texts')}:"
            f" there {found.model} is asked without its chat template.",
            'Write them as turns: "prompt": [{"role": "user", "content": "…"}]',
        )


def _ids(groups: Iterable[Iterable[Probe]]) -> tuple[str, ...]:
    return tuple(probe.id for group in groups for probe in group)
