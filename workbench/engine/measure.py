"""Tries a run before it starts: counts its tokens, then times real steps on the real device. Nothing is kept.

Started as `python -m workbench.engine.measure [FILE]`; FILE, or standard input, is `{"workspace": DIR, "config": {…}}`.
Prints what it learns as lines of JSON, soonest first: see `workbench.runs.preview`. It downloads nothing, disturbs no
run (while one has the device, nothing is measured), may be killed at any moment, and ends when its parent does.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.child import ENVIRONMENT
from workbench.config import RunConfig, build_config
from workbench.engine.libraries import no_garbage, quick_imports
from workbench.errors import WorkbenchError
from workbench.launch import take_rows
from workbench.methods import ONLINE
from workbench.runs import lease
from workbench.runs.catalog import Catalog
from workbench.runs.folder import RunFolder
from workbench.runs.launchers import settled
from workbench.runs.preview import Counts, Doing, Preview, Told, Trouble, Unmeasured, begin, encode
from workbench.workspace import Workspace

if TYPE_CHECKING:
    from workbench.engine.training.data import Prepared


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints what is learned. Exit status 0, or 2 where there is no such config; a run that cannot train is told of."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        asked = json.loads(Path(arguments[0]).read_text("utf-8") if arguments else sys.stdin.read())
        workspace, config = Workspace.find(Path(asked["workspace"])), build_config(asked["config"])
    except (OSError, ValueError, KeyError, TypeError, WorkbenchError) as error:
        print(f"usage: python -m workbench.engine.measure [FILE]: {error!r}", file=sys.stderr)
        return 2
    _settle()
    try:
        _measure(workspace, config)
    except WorkbenchError as error:
        _tell(Trouble(error.title, error.message, error.hint))
    return 0


def _measure(workspace: Workspace, config: RunConfig) -> None:
    config = settled(config)
    with tempfile.TemporaryDirectory(prefix="workbench-measure-", ignore_cleanup_errors=True) as scratch:
        _measure_in(RunFolder(Path(scratch)), workspace, config)


def _measure_in(scratch: RunFolder, workspace: Workspace, config: RunConfig) -> None:
    rows = take_rows(workspace, config)
    _tell(rows.counts)
    preview = begin(workspace.runs, config)
    if preview.shape is None:
        _tell(_unmeasured(workspace, config, preview.unknown))
        return
    _tell(Doing("counting tokens"))
    began = time.perf_counter()
    # These imports take seconds, and the rows are told by then.
    with no_garbage():
        from workbench.engine.model.sources import load_tokenizer
        from workbench.engine.training.data import prepare

        tokenizer = load_tokenizer(config.model)
    # As lines on disk, as a run has them: what is counted here is not tokenized again there.
    with scratch.pairs.open("wb") as file:
        file.writelines(rows.lines())
    del rows
    prepared = prepare(tokenizer, scratch.rows(), config.room, workspace.tokens)
    counts = _counts(prepared, config)
    _tell(counts)
    reason = _refusal(preview.after(counts))
    if reason:
        _tell(_unmeasured(workspace, config, reason))
        return
    with lease.Turn(scratch) as turn:
        if not turn.poll():
            _tell(_unmeasured(workspace, config, "Another run has the device; measuring would disturb it."))
            return
        _tell(Doing("measuring a step"))
        with quick_imports():
            from workbench.engine.training.trial import OutOfMemoryError, trial

        try:
            _tell(trial(config, tokenizer, prepared, scratch.path, began))
        except OutOfMemoryError as error:
            _tell(Trouble("Out of memory", f"A step of the longest pairs was tried. {error}", "", memory=True))


def _counts(prepared: Prepared, config: RunConfig) -> Counts:
    import numpy as np

    from workbench.engine.training.data import sizes

    found, limit = sizes(prepared.train), config.max_length
    if config.method in ONLINE:  # What the pairs say does not matter, but what the model may say.
        found = np.concatenate([found[:, :1], np.full((len(found), 2), config.completion_tokens)], axis=1)
    sides = np.minimum(found[:, :1] + found[:, 1:], limit)
    return Counts(
        train=len(prepared.train),
        holdout=len(prepared.holdout),
        dropped=prepared.dropped,
        truncated=prepared.truncated,
        identical=prepared.identical,
        mean=float(sides.mean()),
        p95=int(np.sort(sides, axis=None)[int(0.95 * (sides.size - 1))]),
        longest=int(sides.max()),
        responses=int((sides.sum(1) - 2 * found[:, 0]).max()),
        row=int((sides.sum(1) - found[:, 0]).max()),
    )


def _refusal(preview: Preview) -> str:
    """Why no step is tried, in a sentence; empty where one is."""
    if preview.config.method in ONLINE:
        return "How long answers take depends on the answers."
    if preview.fits is False:
        return "It would not fit, so no step was tried."
    return "Another run has the device; measuring would disturb it." if lease.holder() is not None else ""


def _unmeasured(workspace: Workspace, config: RunConfig, reason: str) -> Unmeasured:
    """With the pace of the latest run of the same method, model and length limit, on the same kind of device."""
    same = ("method", "model", "max_length", "quantization", "lora_r", "target_modules", "processes")
    on_cpu = lease.device() == lease.CPU
    for run in Catalog(workspace.runs).summaries():
        started, pace = run.state.started, run.state.pairs_per_second
        if run.config is None or started is None or not pace or started.device.startswith("CPU") != on_cpu:
            continue
        if all(getattr(run.config, key) == getattr(config, key) for key in same):
            return Unmeasured(reason, run.id, pace)
    return Unmeasured(reason)


def _tell(told: Told) -> None:
    sys.stdout.write(encode(told))
    sys.stdout.flush()


def _settle() -> None:
    """Makes this a quiet process that uses no network and does not outlive who asked."""
    for name, value in {**ENVIRONMENT, "HF_HUB_OFFLINE": "1"}.items():
        os.environ.setdefault(name, value)
    logging.disable(logging.WARNING)
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, name="watch-parent", daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
