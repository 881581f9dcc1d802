"""Checks a data set in a process of its own, so that neither keys nor the memory of the screen feel it."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from workbench import child
from workbench.pairs.checks.findings import Finding, Report, finding_from
from workbench.pairs.checks.token_lengths import TokenLengths
from workbench.pairs.checks.watch import Progress

_EVERY = 0.1
"""Seconds between two words about the progress of one check."""


def check_file(
    path: Path,
    *,
    model: str | None = None,
    max_length: int = 1024,
    leave_out: Collection[str] = (),
    progress: Progress = lambda *_: None,
    cancelled: Callable[[], bool] = lambda: False,
    found: Callable[[Finding], None] = lambda _: None,
) -> Report:
    """What `run_checks` says of a data set as it is on disk, acknowledged edits included; blocks: call it in a thread.

    `progress` and `found` are called from that thread. Raises `child.GivenUpError` within a moment after `cancelled`
    says so, and `WorkbenchError` where the data set or the model cannot be read.
    """
    findings: dict[str, Finding] = {}

    def hear(message: child.Progress | child.Part) -> None:
        if isinstance(message, child.Part):
            finding = finding_from(message.value)
            findings[finding.check] = finding
            found(finding)
        else:
            progress(message.text, message.share or 0.0)

    request = {"path": str(path.resolve()), "model": model, "max_length": max_length, "leave_out": sorted(leave_out)}
    # It has nothing to clean up, and may be deep in a library.
    command, name = child.python(__name__), f"The check of {path.name}"
    report = child.run(command, request, hear, name=name, cancelled=cancelled, grace=0)
    tokens = None if report["tokens"] is None else TokenLengths.from_json(report["tokens"])
    return Report(**{**report, "findings": tuple(findings[name] for name in report["findings"]), "tokens": tokens})


def _check(request: Mapping[str, Any], parent: child.Parent) -> dict[str, Any]:
    """In the child: a `Part` for each finding as soon as it is there; then the report with their names alone."""
    from workbench.pairs.checks.model import count_tokens
    from workbench.pairs.checks.rows import texts_of
    from workbench.pairs.checks.run import run_checks
    from workbench.pairs.store import load_rows

    # Millions of texts and no cycles, for some seconds: looking for cycles costs a fifth of the time.
    gc.disable()
    last = ("", 0.0)

    def progress(check: str, share: float) -> None:
        nonlocal last
        now = time.monotonic()
        if check != last[0] or now - last[1] > _EVERY:
            last = check, now
            parent.progress(check, share)

    rows = load_rows(Path(request["path"]))
    texts = texts_of(rows)
    tokens = None
    if request["model"] is not None:
        wanted = set(texts.ids)
        pairs = [rows.pair(row) for row in rows.order.tolist() if rows.id(row) in wanted]
        tokens = count_tokens(pairs, request["model"], progress=progress)
        del pairs
    report = run_checks(
        texts,
        tokens=tokens,
        max_length=request["max_length"],
        leave_out=request["leave_out"],
        progress=progress,
        found=lambda finding: parent.part(_shallow(finding)),
    )
    lengths = None if report.tokens is None else report.tokens.to_json()
    return {**_shallow(report), "findings": [finding.check for finding in report.findings], "tokens": lengths}


def _shallow(found: Finding | Report) -> dict[str, Any]:
    """What JSON is made of; `asdict` would copy every id."""
    return {field.name: getattr(found, field.name) for field in fields(found)}


if __name__ == "__main__":
    child.serve(_check)
