"""What a report says first: in one sentence what is proved and what is not, then every verdict with its numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from markupsafe import Markup

from workbench.evidence.document import Evidence
from workbench.evidence.measurements import Measure
from workbench.evidence.report.blocks import Cell, Section, Table, Tone
from workbench.evidence.report.svg import interval_plot
from workbench.evidence.verdicts import Verdict
from workbench.figures import decimal, interval
from workbench.runs.quantities import quantity

SHARES: frozenset[Measure] = frozenset({"samples", "opening", "probability", "accuracy", "ranking", "task score"})
"""What lies between 0 and 1, and is drawn so."""
NAMES: dict[Tone, str] = {"good": "holds", "bad": "does not hold", "unsure": "cannot be said"}
_ORDER: tuple[Tone, ...] = ("bad", "unsure", "good")


def tone_of(holds: bool | None) -> Tone:
    """How a verdict is shown."""
    return "unsure" if holds is None else "good" if holds else "bad"


def by_claim(verdicts: Iterable[Verdict]) -> dict[str, Tone]:
    """Every claim, in order: it holds where it does by every measure, and does not where it does not by one."""
    tones: dict[str, list[Tone]] = {}
    for verdict in verdicts:
        tones.setdefault(verdict.claim, []).append(tone_of(verdict.holds))
    return {claim: min(of_claim, key=_ORDER.index) for claim, of_claim in tones.items()}


def headline(evidence: Evidence | None, scores: Mapping[str, float] | None = None) -> tuple[str, Tone]:
    """The sentence on top, and its tone. `scores` are the last held-out metrics of a reward model; None for others."""
    if scores is not None and (right := quantity(scores, "accuracy")) is not None:
        return f"A reward model: it ranks {right:.0%} of held-out pairs as they were judged.", "unsure"
    if scores is not None:
        return "A reward model, tried on no pair that it has not seen.", "unsure"
    if evidence is None:
        return "No evidence yet: this run was not measured on prompts it has not seen.", "unsure"
    claims = by_claim(evidence.verdicts)
    if not claims:
        return "Nothing was claimed of this run, so nothing is proved.", "unsure"
    good, bad, unsure = (_of(claims, tone) for tone in ("good", "bad", "unsure"))
    if len(good) == len(claims):
        return f"All {len(claims)} claims hold.", "good"
    if len(bad) == len(claims):
        return f"None of {len(claims)} claims holds.", "bad"
    if len(unsure) == len(claims):
        return f"Nothing is proved: none of {len(claims)} claims can be judged.", "unsure"
    sentence = f"{len(good) or 'None'} of {len(claims)} claims {'holds' if len(good) == 1 else 'hold'}"
    if bad:
        sentence += f"; “{bad[0]}” does not" if len(bad) == 1 else f", {len(bad)} do not"
    if unsure:
        sentence += f"; {len(unsure)} cannot be judged"
    return sentence + ".", "bad" if bad else "unsure"


def caveats(evidence: Evidence | None) -> list[str]:
    """Which claims do not hold, which cannot be told, and how many verdicts are close."""
    if evidence is None:
        return []
    claims, sentences = by_claim(evidence.verdicts), []
    bad, unsure = _of(claims, "bad"), _of(claims, "unsure")
    if len(bad) > 1:
        sentences.append(f"What does not hold: {'; '.join(bad)}.")
    if unsure and len(unsure) < len(claims):
        sentences.append(f"What cannot be judged: {'; '.join(unsure)}.")
    if evidence.unmeasured:
        sentences.append(f"{evidence.unmeasured}.")
    close = sum(map(_close, evidence.verdicts))
    if close:
        which = "The interval of one verdict reaches" if close == 1 else f"The intervals of {close} verdicts reach"
        sentences.append(f"{which} past the threshold: other prompts of the same kind might have turned the verdict.")
    return sentences


def _of(claims: Mapping[str, Tone], tone: Tone) -> list[str]:
    return [name for name, claim_tone in claims.items() if claim_tone == tone]


def _close(verdict: Verdict) -> bool:
    if verdict.holds is None or verdict.interval is None:
        return False
    low, high = verdict.interval
    return (low is None or low < verdict.threshold) and (high is None or verdict.threshold < high)


def tally(evidence: Evidence | None) -> list[tuple[Tone, int, str]]:
    """How many verdicts of each kind there are."""
    tones = [tone_of(verdict.holds) for verdict in evidence.verdicts] if evidence else []
    names: dict[Tone, tuple[str, str]] = {
        "good": ("verdict holds", "verdicts hold"),
        "bad": ("does not hold", "do not hold"),
        "unsure": ("cannot be said", "cannot be said"),
    }
    counted = [(tone, tones.count(tone), names[tone]) for tone in ("good", "bad", "unsure")]
    return [(tone, count, name[count > 1]) for tone, count, name in counted if count]  # type: ignore[misc]


def claims(evidence: Evidence) -> Section:
    """Every verdict: what was found, with its interval, and what was needed."""
    rows = [_row(number, verdict, evidence) for number, verdict in enumerate(evidence.verdicts)]
    table = Table(
        "Verdicts, each with its 95% interval",
        ["verdict", "claim", "value", "before to after", "needed", "samples"],
        rows,
        note="By samples: the share of seeded answers that show the behaviour. By opening: the probability of answers "
        "that begin as listed. By probability: that of the response a probe names, where the base gives it enough to "
        "judge by. Intervals draw whole groups of like prompts.",
        heads=False,
    )
    lead = "Measured on prompts that were in no training pair, against thresholds set in the workspace."
    legend = "Hollow: the base. Filled: the run. Dashed: the threshold. Pictures of shares go from 0 to 1."
    return Section("claims", "Claims", lead, [table], legend)


def _row(number: int, verdict: Verdict, evidence: Evidence) -> Sequence[Cell]:
    tone = tone_of(verdict.holds)
    message = f"by {verdict.measure}: {verdict.message}; fails {verdict.fails}"
    cells = [Cell(NAMES[tone], "verdict", tone), Cell(verdict.claim, detail=message)]
    if verdict.value is None or verdict.interval is None:
        cells += [Cell("–", "number"), Cell("", "picture")]
    else:
        value = Cell(decimal(verdict.value), "number", detail=interval(*verdict.interval))
        cells += [value, Cell("", "picture", picture=_picture(number, verdict, evidence))]
    sign = "≤ " if evidence.claims[verdict.claim].at_most is not None else "≥ "
    return [*cells, Cell(sign + decimal(verdict.threshold, 2), "number"), Cell(f"{verdict.samples:,}", "number")]


def _picture(number: int, verdict: Verdict, evidence: Evidence) -> Markup | None:
    """What the claim is about, before and after, with the threshold in its own unit."""
    claim, measure = evidence.claims[verdict.claim], verdict.measure
    change = evidence.find(verdict.kind, verdict.behaviour, measure)
    if change is None:
        return None
    before, after = change.before, change.after
    needed = claim.threshold
    if claim.kept is not None:
        needed = claim.kept * before.value
    elif claim.lost is not None:
        needed = before.value - claim.lost
    axis = (0.0, 1.0)
    if measure not in SHARES:
        ends = [before.low, before.high, after.low, after.high, needed, 0.0]
        axis = (min(ends), max(ends))
    bounds = ((one.value, one.low, one.high) for one in (before, after))
    return interval_plot(f"claim-{number}", verdict.name, *bounds, axis=axis, threshold=needed)
