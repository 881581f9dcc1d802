"""Tries a run before it starts: counts its tokens, then times real steps on the real device. Nothing is kept.

A process that `workbench.launch` starts. It tells what it learns, soonest first: see `workbench.runs.preview`. It
downloads nothing, disturbs no run (while one has the device, nothing is measured), and may be killed at any moment.
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.chat_templates import read_template, template_file
from workbench.child import Parent, serve
from workbench.config import RunConfig, build_config
from workbench.engine.libraries import no_garbage, quick_imports
from workbench.errors import WorkbenchError
from workbench.launch import place_of, take_rows
from workbench.runs import lease
from workbench.runs.catalog import Catalog
from workbench.runs.folder import RunFolder
from workbench.runs.launchers import with_processes
from workbench.runs.machine import LoadWatch
from workbench.runs.preview import Counts, Learned, Preview, Trouble, Unmeasured, begin, to_part
from workbench.workspace import Workspace

if TYPE_CHECKING:
    from workbench.engine.training.data import Prepared


LOOKED_AT = 200
"""Pairs whose rendering is compared with what they say; `workbench check --model` looks at all."""


def work(request: Mapping[str, Any], parent: Parent) -> None:
    """Tells what it learns; that the run cannot train, too."""
    logging.disable(logging.WARNING)
    try:
        workspace, config = Workspace.find(Path(request["workspace"])), with_processes(build_config(request["config"]))
        with tempfile.TemporaryDirectory(prefix="workbench-measure-", ignore_cleanup_errors=True) as scratch:
            _measure(workspace, config, RunFolder(Path(scratch)), parent)
    except WorkbenchError as error:
        parent.part(to_part(Trouble(error.title, error.message, error.hint)))


def _measure(workspace: Workspace, config: RunConfig, scratch: RunFolder, parent: Parent) -> None:
    watched = LoadWatch()

    def tell(learned: Learned) -> None:
        parent.part(to_part(learned))

    rows = take_rows(workspace, config)
    tell(rows.counts)
    preview = begin(workspace.runs, config)
    if preview.shape is None:
        tell(_unmeasured(workspace, config, preview.unknown))
        return
    parent.progress("counting tokens")
    began = time.perf_counter()
    # These imports take seconds, and the rows are told by then.
    with no_garbage():
        from workbench.engine.model.downloads import embedding_rows, load_tokenizer
        from workbench.engine.model.left_out import summary, uses_fallback
        from workbench.engine.model.token_ids import trains_raw
        from workbench.engine.training.data import prepare

        tokenizer = load_tokenizer(config.model, read_template(template_file(config.chat_template)), config.trust)
    # As lines on disk, as a run has them: what is counted here is not tokenized again there.
    with scratch.pairs.open("wb") as file:
        file.writelines(rows.lines())
    plain = rows.plain
    del rows
    prepared = prepare(
        tokenizer,
        scratch.rows(),
        config.room,
        workspace.tokens,
        vocabulary=embedding_rows(config.model, config.trust),
        place_of=partial(place_of, workspace, config),
    )
    raw = sum(trains_raw(tokenizer, row["prompt"]) for row in scratch.rows()) if plain else 0
    looked_at = min(LOOKED_AT, len(scratch.rows()))
    pairs, lost = summary(tokenizer, scratch.rows().spread(looked_at))
    counts = replace(
        _counts(prepared, config),
        raw=raw,
        looked_at=looked_at,
        losing=pairs,
        left_out=lost,
        fallback=uses_fallback(tokenizer) and not plain,
    )
    tell(counts)
    reason = _refusal(preview.after(counts))
    if reason:
        tell(_unmeasured(workspace, config, reason))
        return
    with lease.DeviceTurn(scratch) as turn:
        if not turn.poll():
            tell(_unmeasured(workspace, config, "Another run has the device; measuring would disturb it."))
            return
        parent.progress("loading the libraries")
        with quick_imports():
            from workbench.engine.training.trial import OutOfMemoryError, trial

        try:
            measured = trial(config, tokenizer, prepared, scratch.path, began, parent.progress)
            tell(replace(measured, load=watched.others(), cores=watched.cores))
        except OutOfMemoryError as error:
            tell(Trouble("Out of memory", f"A step of the longest pairs was tried. {error}", "", memory=True))


def _counts(prepared: Prepared, config: RunConfig) -> Counts:
    import numpy as np

    from workbench.engine.training.data import row_tokens, sizes

    lengths, limit = sizes(prepared.train), config.max_length
    if config.facts.online:  # What the pairs say does not matter, but what the model may say.
        lengths = np.concatenate([lengths[:, :1], np.full((len(lengths), 2), config.completion_tokens)], axis=1)
    sides = np.minimum(lengths[:, :1] + lengths[:, 1:], limit)
    return Counts(
        train=len(prepared.train),
        holdout=len(prepared.holdout),
        dropped=prepared.dropped,
        truncated=prepared.truncated,
        identical=prepared.identical,
        mean=float(sides.mean()),
        p95=int(np.sort(sides, axis=None)[int(0.95 * (sides.size - 1))]),
        longest=int(sides.max()),
        responses=int((sides.sum(1) - 2 * lengths[:, 0]).max()),
        row=int((sides.sum(1) - lengths[:, 0]).max()),
        tokens=int((sides.sum(1) - lengths[:, 0]).sum()),
        holdout_tokens=int(row_tokens(prepared.holdout, limit).sum()),
    )


def _refusal(preview: Preview) -> str:
    """Why no step is tried, in a sentence; empty where one is."""
    if preview.config.facts.online:
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


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    serve(work)
