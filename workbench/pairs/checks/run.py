"""Runs the checks over a data set, telling how far they are."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from workbench.chat_templates import OWN_RENDERING, Rendering
from workbench.pairs.checks.characters import encoding, invisible
from workbench.pairs.checks.columns_of_rows import columns_of
from workbench.pairs.checks.content import empty, identical, too_similar
from workbench.pairs.checks.findings import CheckFinding, ChecksReport, OnProgress, Watch
from workbench.pairs.checks.length import ResponseLengths, figures, length_bias
from workbench.pairs.checks.refusals import refusal, swap
from workbench.pairs.checks.repeats import contradiction, duplicate, leak, near_duplicate, repeated_answer
from workbench.pairs.checks.roles import roles, turn_markers
from workbench.pairs.checks.text_columns import TextColumns
from workbench.pairs.checks.tokens import TokenCounts, count_tokens, token_findings
from workbench.pairs.pair import Pair
from workbench.pairs.rows import Rows
from workbench.trust import UNTRUSTED, Trust

Check = Callable[[TextColumns, Watch], Iterator[CheckFinding]]

_CHECKS: tuple[tuple[str, Check], ...] = (
    ("empty", empty),
    ("identical", identical),
    ("roles", roles),
    ("turn-marker", turn_markers),
    ("duplicate", duplicate),
    ("contradiction", contradiction),
    ("repeated-answer", repeated_answer),
    ("leak", leak),
    ("invisible", invisible),
    ("encoding", encoding),
    ("too-similar", too_similar),
    ("refusal", refusal),
    ("swap", swap),
)


def check_rows(
    rows: Rows,
    *,
    model: str | None = None,
    max_length: int = 1024,
    rendering: Rendering = OWN_RENDERING,
    trust: Trust = UNTRUSTED,
    leave_out: Collection[str] = (),
    on_progress: OnProgress = lambda *_: None,
    on_finding: Callable[[CheckFinding], None] = lambda _: None,
) -> ChecksReport:
    """What is wrong with the pairs of a data set that are not dropped, for those never train.

    With a `model`, its tokens are counted first, of turns in the `rendering` of a run; `trust` says what
    its files may do. The rest is as in `run_checks`.
    Raises `WorkbenchError` where model or chat template cannot be had.
    """
    # Millions of texts and no cycles: looking for some costs a fifth of the time.
    gc.disable()
    try:
        columns, tokens = columns_of(rows), None
        if model is not None:
            pairs = [rows.pair(row) for row in rows.trainable.tolist()]
            tokens = count_tokens(pairs, model, rendering, trust=trust, on_progress=on_progress)
        return run_checks(
            columns,
            tokens=tokens,
            max_length=max_length,
            leave_out=leave_out,
            on_progress=on_progress,
            on_finding=on_finding,
        )
    finally:
        gc.enable()


def run_checks(
    pairs: TextColumns | Iterable[Pair],
    *,
    tokens: TokenCounts | None = None,
    max_length: int = 1024,
    leave_out: Collection[str] = (),
    on_progress: OnProgress = lambda *_: None,
    on_finding: Callable[[CheckFinding], None] = lambda _: None,
) -> ChecksReport:
    """What is wrong with `pairs`: with all of a `TextColumns`, else with those that are not dropped.

    `tokens`, where given, are counts for these pairs: lengths are then told in tokens, and checked against
    `max_length`. `leave_out` names checks that are not wanted. `on_finding` is called with each finding as soon as it
    is there.
    """
    seconds: dict[str, float] = {}
    findings: list[CheckFinding] = []

    def timed(name: str, check: Check) -> None:
        if name in leave_out:
            return
        begin = time.perf_counter()
        watch = Watch(name, on_progress)
        watch.tick(0, 1)
        for finding in check(columns, watch):
            if finding.check not in leave_out:
                findings.append(finding)
                on_finding(finding)
        seconds[name] = time.perf_counter() - begin

    begin = time.perf_counter()
    columns = pairs if isinstance(pairs, TextColumns) else TextColumns.of(pairs)
    seconds["reading"] = time.perf_counter() - begin
    lengths: Mapping[str, Any] = {}

    def measure(columns: TextColumns, watch: Watch) -> Iterator[CheckFinding]:
        nonlocal lengths
        measured = tokens.lengths(columns.ids) if tokens else ResponseLengths.in_words(columns, watch)
        lengths = figures(measured)
        return length_bias(columns, measured, lengths)

    timed("length-bias", measure)
    for name, check in _CHECKS:
        timed(name, check)
    if tokens:
        timed("tokens", partial(token_findings, tokens=tokens, max_length=max_length))
    columns.forget_arrow()
    # Last: it takes longer than all others together.
    timed("near-duplicate", near_duplicate)
    findings.sort(key=lambda finding: finding.gravity)
    measured = tokens.compact(columns.ids) if tokens else None
    return ChecksReport(columns.total, len(columns), tuple(findings), lengths, seconds, measured)
