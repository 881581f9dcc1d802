"""Checks a file in a process of its own: `python -m workbench.pairs.checks.worker`, started by `background`.

Reads one JSON document from stdin, and prints lines of JSON: progress, each finding as it is found, and the report.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

from workbench.errors import WorkbenchError
from workbench.pairs.checks.findings import Finding, Report
from workbench.pairs.checks.model import count_tokens
from workbench.pairs.checks.rows import texts_of
from workbench.pairs.checks.run import run_checks
from workbench.pairs.store import load_rows

_EVERY = 0.1


def main() -> None:
    """Does what stdin asks for; an expected failure is a line of its own."""
    # Millions of texts and no cycles, for some seconds: looking for cycles costs a fifth of the time.
    gc.disable()
    asked = json.load(sys.stdin)
    try:
        _check(Path(asked["path"]), asked["model"], asked["max_length"], asked["leave_out"])
    except WorkbenchError as error:
        _say("error", [error.title, error.message, error.hint])


def _check(path: Path, model: str | None, max_length: int, leave_out: list[str]) -> None:
    last = ("", 0.0)

    def progress(check: str, share: float) -> None:
        nonlocal last
        now = time.monotonic()
        if check != last[0] or now - last[1] > _EVERY:
            last = check, now
            _say("progress", [check, share])

    rows = load_rows(path)
    texts = texts_of(rows)
    tokens = None
    if model is not None:
        wanted = set(texts.ids)
        pairs = [rows.pair(row) for row in rows.order.tolist() if rows.id(row) in wanted]
        tokens = count_tokens(pairs, model, progress=progress)
        del pairs
    report = run_checks(
        texts,
        tokens=tokens,
        max_length=max_length,
        leave_out=leave_out,
        progress=progress,
        found=lambda finding: _say("finding", _shallow(finding)),
    )
    if report.tokens is not None:
        _say("tokens", report.tokens.to_json())
    # The findings were told; their order is by gravity.
    rest = {"findings": [finding.check for finding in report.findings], "tokens": None}
    _say("report", {**_shallow(report), **rest})


def _shallow(told: Finding | Report) -> dict[str, Any]:
    """What JSON is made of; `asdict` would copy every id."""
    return {field.name: getattr(told, field.name) for field in fields(told)}


def _say(kind: str, value: Any) -> None:
    print(json.dumps({kind: value}), flush=True)


if __name__ == "__main__":
    main()
    # Everything is told: taking millions of texts apart would take another half second.
    os._exit(0)
