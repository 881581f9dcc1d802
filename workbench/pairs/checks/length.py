"""Length bias: whether a model could win by being long, or by being short."""

from __future__ import annotations

import math
import zlib
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workbench.figures import plural
from workbench.pairs.checks.findings import CheckFinding, Watch
from workbench.pairs.checks.text_columns import TextColumns

EDGES = (1.1, 1.5, 2.0, 4.0)
"""Ratios of the longer to the shorter response at which the bars of the histogram part."""
_FEWEST = 20
_BIASED, _BADLY_BIASED = 0.05, 0.10
_FAR = 1.5
_SHARES = (5, 25, 50, 75, 95)
_Z = 1.959964


@dataclass(frozen=True, slots=True)
class ResponseLengths:
    """The lengths of each pair's responses, in words or tokens."""

    unit: str
    chosen: Sequence[int]
    rejected: Sequence[int]

    @classmethod
    def in_words(cls, columns: TextColumns, watch: Watch) -> ResponseLengths:
        """Lengths as numbers of words."""
        if columns.words is not None:
            return cls("words", *columns.words)
        return cls(
            "words",
            [len(text.split()) for _, text in watch.over(columns.chosen)],
            [len(text.split()) for _, text in watch.over(columns.rejected)],
        )


def figures(lengths: ResponseLengths) -> dict[str, Any]:
    """The distribution of the length differences; shares and effect with 95% intervals.

    `longer_wins` is the accuracy of a rule that prefers the longer response (ties count half), `effect` the mean
    difference in standard deviations (Cohen's d of paired differences; above 0: chosen is longer). `histogram` counts
    pairs by how many times longer one response is than the other.
    """
    import numpy as np

    ours, theirs = np.asarray(lengths.chosen, np.int64), np.asarray(lengths.rejected, np.int64)
    # A pair that the chat template refuses has no tokens.
    there = ours + theirs > 0
    ours, theirs = ours[there], theirs[there]
    count = len(ours)
    if not count:
        return {"pairs": 0, "unit": lengths.unit}
    differences = ours - theirs
    longer, shorter = int((differences > 0).sum()), int((differences < 0).sum())
    mean = float(differences.mean())
    spread = float(differences.std(ddof=1)) if count > 1 else 0.0
    effect = mean / spread if spread else 0.0
    error = math.sqrt(1 / count + effect**2 / (2 * count))
    wins = (longer + (count - longer - shorter) / 2) / count
    return {
        "pairs": count,
        "unit": lengths.unit,
        "longer_chosen": longer,
        "longer_rejected": shorter,
        "same_length": count - longer - shorter,
        "mean_chosen": float(ours.mean()),
        "mean_rejected": float(theirs.mean()),
        "mean_difference": mean,
        "percentiles": {
            str(share): float(value) for share, value in zip(_SHARES, np.percentile(differences, _SHARES), strict=True)
        },
        "longer_wins": wins,
        "longer_wins_interval": list(_wilson(wins, count)),
        "effect": effect,
        "effect_interval": [effect - _Z * error, effect + _Z * error],
        "histogram": _histogram(ours, theirs),
    }


def length_bias(columns: TextColumns, lengths: ResponseLengths, stats: Mapping[str, Any]) -> Iterator[CheckFinding]:
    """A bias where "the longer wins" or "the shorter wins" is right in 55% of the pairs or more, and not by chance.

    Names the pairs of the winning side whose responses differ in length 1.5 times or more.
    """
    if stats["pairs"] < _FEWEST:
        return
    wins, (low, high) = stats["longer_wins"], stats["longer_wins_interval"]
    if abs(wins - 0.5) < _BIASED or low <= 0.5 <= high:
        return
    longer = wins > 0.5
    sides = zip(lengths.chosen, lengths.rejected, strict=True)
    named = [
        index
        for index, (one, other) in enumerate(sides)
        if (one > other) == longer and one != other and max(one, other) >= _FAR * max(min(one, other), 1)
    ]
    rule, score = ("longer", wins) if longer else ("shorter", 1 - wins)
    interval = (low, high) if longer else (1 - high, 1 - low)
    effect = stats["effect"]
    yield CheckFinding(
        "length-bias",
        "warning" if abs(wins - 0.5) >= _BADLY_BIASED else "note",
        columns.named(named),
        f'"The {rule} wins" alone would be right in {score:.1%} of the pairs'
        f" (95%: {interval[0]:.1%} to {interval[1]:.1%}); chosen is {abs(stats['mean_difference']):.1f}"
        f" {lengths.unit} {'longer' if stats['mean_difference'] > 0 else 'shorter'} on average"
        f" (effect {effect:+.2f}). {plural(len(named), 'pair differs', 'pairs differ')} {_FAR}-fold that way.",
        "Balance the lengths by a subset, or add pairs that go the other way;"
        f" judge a run on its length-matched subset, not against 50% but against {score:.0%}.",
        figures=stats,
        to_mend=columns.named(_surplus(columns, lengths)),
    )


def _surplus(columns: TextColumns, lengths: ResponseLengths) -> list[int]:
    """The indices of pairs without which "chosen is so much longer" and "rejected is so much longer" are equally many.

    Within each bar of the histogram the same number stays on both sides: accepted pairs before others, else by a draw
    that depends on the id alone.
    """
    bars: dict[int, list[int]] = {}
    for index, (one, other) in enumerate(zip(lengths.chosen, lengths.rejected, strict=True)):
        bar = bisect_right(EDGES, max(one, other) / max(min(one, other), 1)) + 1
        if one != other:
            bars.setdefault(bar if one > other else -bar, []).append(index)

    def claim(index: int) -> tuple[bool, int]:
        drawn = zlib.crc32(columns.ids[index].encode("utf-8", "surrogatepass"))
        return columns.statuses[index] != "accepted", drawn

    surplus: list[int] = []
    for bar, indices in bars.items():
        surplus += sorted(indices, key=claim)[len(bars.get(-bar, ())) :]
    return sorted(surplus)


def _histogram(ours: Any, theirs: Any) -> list[dict[str, Any]]:
    import numpy as np

    ratios = np.maximum(ours, theirs) / np.maximum(np.minimum(ours, theirs), 1)
    bars = np.searchsorted(EDGES, ratios, side="right") * np.sign(ours - theirs)
    return [{"bar": _name(bar), "pairs": int((bars == bar).sum())} for bar in range(-len(EDGES), len(EDGES) + 1)]


def _name(bar: int) -> str:
    if not bar:
        return f"within {EDGES[0]:g}×"
    return f"{'chosen' if bar > 0 else 'rejected'} {EDGES[abs(bar) - 1]:g}× longer"


def _wilson(share: float, count: int) -> tuple[float, float]:
    """The 95% score interval of a share of `count`."""
    bend = _Z**2 / count
    middle = (share + bend / 2) / (1 + bend)
    half = _Z / (1 + bend) * math.sqrt(share * (1 - share) / count + bend / (4 * count))
    return max(0.0, middle - half), min(1.0, middle + half)
