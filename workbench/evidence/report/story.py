"""What a report says first: in one sentence what is proved and what is not, then every verdict with its numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from markupsafe import Markup

from workbench.evidence.document import Evidence
from workbench.evidence.report.content import Cell, Section, Table, Tone
from workbench.evidence.report.figures import decimal, interval
from workbench.evidence.report.svg import interval_plot
from workbench.evidence.verdicts import CLAIMS, Verdict

NAMES: dict[Tone, str] = {"good": "holds", "bad": "does not hold", "unsure": "too few"}
_AT_MOST = frozenset(claim.name for claim in CLAIMS if claim.at_most is not None)
_ORDER: tuple[Tone, ...] = ("bad", "unsure", "good")


def tone_of(holds: bool | None) -> Tone:
    """How a verdict is shown."""
    return "unsure" if holds is None else "good" if holds else "bad"


def by_claim(verdicts: Iterable[Verdict]) -> dict[str, Tone]:
    """Every claim, in order: it holds where it does by every measure, and does not where it does not by one."""
    tones: dict[str, list[Tone]] = {}
    for verdict in verdicts:
        tones.setdefault(_claim(verdict), []).append(tone_of(verdict.holds))
    return {claim: min(found, key=_ORDER.index) for claim, found in tones.items()}


def headline(evidence: Evidence | None) -> tuple[str, Tone]:
    """The sentence on top, and its tone."""
    if evidence is None:
        return "No evidence yet: this run was not measured on prompts it has not seen.", "unsure"
    claims = by_claim(evidence.verdicts)
    if not claims:
        return "Nothing was claimed of this run, so nothing is proved.", "unsure"
    good, bad, unsure = ([name for name, tone in claims.items() if tone == each] for each in ("good", "bad", "unsure"))
    if len(good) == len(claims):
        return _all_hold(len(claims)), "good"
    if not good and not bad:
        return (
            f"Nothing is proved: there are too few samples for {_counted(len(claims), 'claim', 'any of ')}.",
            "unsure",
        )
    verb = "holds" if len(good) == 1 else "hold"
    sentence = f"{len(good) or 'None'} of {_counted(len(claims), 'claim')} {verb}"
    if bad:
        sentence += f"; {_listed(bad)} {'does' if len(bad) == 1 else 'do'} not"
    if unsure:
        sentence += f"; too few samples to say of {_listed(unsure)}"
    return sentence + ".", "bad" if bad else "unsure"


def tally(evidence: Evidence | None) -> list[tuple[Tone, int, str]]:
    """How many verdicts of each kind there are."""
    tones = [tone_of(verdict.holds) for verdict in evidence.verdicts] if evidence else []
    names: dict[Tone, tuple[str, str]] = {
        "good": ("verdict holds", "verdicts hold"),
        "bad": ("does not hold", "do not hold"),
        "unsure": ("has too few samples", "have too few samples"),
    }
    counted = [(tone, tones.count(tone), names[tone]) for tone in ("good", "bad", "unsure")]
    return [(tone, count, name[count > 1]) for tone, count, name in counted if count]  # type: ignore[misc]


def claims(evidence: Evidence) -> Section:
    """Every verdict: what was found, with its interval, and what was needed."""
    rows = [_row(number, verdict) for number, verdict in enumerate(evidence.verdicts)]
    header = ["verdict", "claim", "value", "", "needed", "samples"]
    table = Table(
        "Verdicts, each with its 95% interval",
        header,
        rows,
        note="By probability: that of the response a probe names. By samples: the share of seeded answers of that "
        "kind. Intervals draw whole groups of like prompts. A dashed line is the threshold.",
        heads=False,
    )
    lead = "Measured on prompts that were in no training pair, with thresholds that were set before."
    return Section("claims", "Claims", lead, [table])


def _row(number: int, verdict: Verdict) -> Sequence[Cell]:
    tone = tone_of(verdict.holds)
    sign = "≤" if _claim(verdict) in _AT_MOST else "≥"
    measure = _measure(verdict)
    found = f"{measure}: {verdict.message}" if measure else verdict.message
    cells = [Cell(NAMES[tone], "verdict", tone), Cell(_claim(verdict), detail=found)]
    if verdict.value is None or verdict.interval is None:
        cells += [Cell("–", "number"), Cell("")]
    else:
        low, high = verdict.interval
        cells += [
            Cell(decimal(verdict.value), "number", detail=interval(low, high)),
            Cell("", picture=_picture(number, verdict, verdict.value, low, high)),
        ]
    needed = f"{sign} {decimal(verdict.threshold, 2)}"
    return [*cells, Cell(needed, "number"), Cell(f"{verdict.samples:,}", "number")]


def _picture(number: int, verdict: Verdict, value: float, low: float | None, high: float | None) -> Markup:
    ends = [value, low, high, verdict.threshold, 0.0]
    known = [each for each in ends if each is not None]
    least, most = min(known), max(known)
    axis = (0.0, 1.0) if least >= 0 and 0.2 < most <= 1 else (least, most + 0.1 * (most - least))
    bounds = (value, axis[0] if low is None else low, axis[1] if high is None else high)
    return interval_plot(f"claim-{number}", verdict.name, None, bounds, axis=axis, threshold=verdict.threshold)


def _claim(verdict: Verdict) -> str:
    name, by, _ = verdict.name.rpartition(", by ")
    return name if by else verdict.name


def _measure(verdict: Verdict) -> str:
    _, by, measure = verdict.name.rpartition(", by ")
    return f"by {measure}" if by else ""


def _all_hold(count: int) -> str:
    return "The claim holds." if count == 1 else f"All {count} claims hold."


def _counted(count: int, thing: str, before: str = "") -> str:
    return f"the one {thing}" if count == 1 else f"{before}{count} {thing}s"


def _listed(names: Sequence[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last
