"""Runs the checks over a data set, telling how far they are."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import Any

from workbench.pairs.checks.catalog import CHECKS
from workbench.pairs.checks.characters import encoding, invisible
from workbench.pairs.checks.content import empty, identical, too_similar
from workbench.pairs.checks.contradictions import contradiction, leak
from workbench.pairs.checks.duplicates import duplicate, near_duplicate
from workbench.pairs.checks.findings import SEVERITIES, Finding, Report
from workbench.pairs.checks.length import Lengths, figures, length_bias
from workbench.pairs.checks.refusals import refusal, swap
from workbench.pairs.checks.roles import roles, turn_markers
from workbench.pairs.checks.texts import Texts
from workbench.pairs.checks.tokens import TokenCounts, token_findings
from workbench.pairs.checks.watch import Progress, Watch
from workbench.pairs.pair import Pair

Check = Callable[[Texts, Watch], list[Finding]]

_CHECKS: tuple[tuple[str, Check], ...] = (
    ("empty", empty),
    ("identical", identical),
    ("roles", roles),
    ("turn-marker", turn_markers),
    ("duplicate", duplicate),
    ("contradiction", contradiction),
    ("leak", leak),
    ("invisible", invisible),
    ("encoding", encoding),
    ("too-similar", too_similar),
    ("refusal", refusal),
    ("swap", swap),
)
_ORDER = {name: place for place, name in enumerate(CHECKS)}


def run_checks(
    pairs: Texts | Iterable[Pair],
    *,
    tokens: TokenCounts | None = None,
    max_length: int = 1024,
    leave_out: Collection[str] = (),
    progress: Progress = lambda *_: None,
    found: Callable[[Finding], None] = lambda _: None,
) -> Report:
    """What is wrong with `pairs`: with all of a `Texts`, else with those that are not dropped, for they never train.

    `tokens`, where given, are counts for these pairs: lengths are then told in tokens, and checked against
    `max_length`. `leave_out` names checks that are not wanted. `found` is told each finding as soon as it is there.
    """
    seconds: dict[str, float] = {}
    findings: list[Finding] = []

    def timed(name: str, check: Callable[[Watch], list[Finding]]) -> None:
        if name in leave_out:
            return
        begin = time.perf_counter()
        watch = Watch(name, progress)
        watch.tick(0, 1)
        for finding in check(watch):
            if finding.check not in leave_out:
                findings.append(finding)
                found(finding)
        seconds[name] = time.perf_counter() - begin

    begin = time.perf_counter()
    columns = pairs if isinstance(pairs, Texts) else Texts.of(pairs)
    seconds["reading"] = time.perf_counter() - begin
    lengths: Mapping[str, Any] = {}

    def measure(watch: Watch) -> list[Finding]:
        nonlocal lengths
        measured = tokens.lengths(columns.ids) if tokens else Lengths.in_words(columns, watch)
        lengths = figures(measured)
        return length_bias(columns, measured, lengths)

    timed("length-bias", measure)
    for name, check in _CHECKS:
        timed(name, partial(check, columns))
    if tokens:
        timed("tokens", partial(token_findings, columns, tokens, max_length))
    columns.forget_arrow()
    # Last: it takes longer than all others together.
    timed("near-duplicate", partial(near_duplicate, columns))
    findings.sort(key=lambda each: (SEVERITIES.index(each.severity), _ORDER[each.check]))
    measured = tokens.compact(columns.ids) if tokens else None
    return Report(columns.total, len(columns), tuple(findings), lengths, seconds, measured)
