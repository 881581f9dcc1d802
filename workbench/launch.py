"""From a config to a running worker: reads the data sets, parts them, makes the run's folder and starts it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from workbench.config import RunConfig
from workbench.errors import WorkbenchError
from workbench.models import resolve
from workbench.pairs.pair import to_row
from workbench.pairs.split import Split, split, trainable
from workbench.pairs.store import load_pairs
from workbench.runs.folder import RunFolder, create
from workbench.runs.process import start
from workbench.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Material:
    """What a run would train on. `unusable` counts lines that are no pairs, `sources` has the files' sha256."""

    split: Split
    sources: dict[str, str]
    unusable: int


def gather(workspace: Workspace, config: RunConfig) -> Material:
    """The pairs of the config's data sets, parted. Raises `WorkbenchError` where there is none to train on."""
    pairs, sources, unusable = [], {}, 0
    for name in config.pairs:
        path = workspace.existing_pairs_file(name)
        found, problems = load_pairs(path)
        pairs += trainable(found)
        unusable += len(problems)
        sources[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    parted = split(pairs, fraction=config.holdout, seed=config.seed)
    if not parted.train:
        held = f"{len(parted.holdout)} are held out, and the" if parted.holdout else "The"
        raise WorkbenchError(
            "Nothing to train on",
            f"{held} other pairs of {', '.join(config.pairs)} are dropped or none at all.",
            "Accept some pairs, lower holdout, or name another data set.",
        )
    return Material(parted, sources, unusable)


def launch(workspace: Workspace, config: RunConfig) -> RunFolder:
    """Makes and starts a run. Raises `WorkbenchError` where data, model or disk do not allow it."""
    resolve(config.model)
    material = gather(workspace, config)
    rows = [to_row(replace(pair, split="train")) for pair in material.split.train]
    rows += [to_row(replace(pair, split="holdout")) for pair in material.split.holdout]
    folder = create(workspace.runs, config, rows, material.sources)
    start(folder)
    return folder
