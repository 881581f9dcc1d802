"""From a config to a running worker: reads the data sets, parts them, makes the run's folder and starts it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from workbench.config import RunConfig
from workbench.errors import WorkbenchError
from workbench.methods import ONLINE, REWARDING
from workbench.models import resolve
from workbench.pairs.pair import to_row
from workbench.pairs.split import Split, split, trainable, weighted
from workbench.pairs.store import load_pairs
from workbench.rewards import FunctionReward, check_function, parse_reward
from workbench.runs.folder import RunFolder, create
from workbench.runs.launchers import settled
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
    of: dict[int, str] = {}
    for name in config.pairs:
        path = workspace.existing_pairs_file(name)
        found, problems = load_pairs(path)
        usable = trainable(found)
        pairs += usable
        of |= dict.fromkeys(map(id, usable), name)
        unusable += len(problems)
        sources[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    parted = split(pairs, fraction=config.holdout, seed=config.seed)
    if config.pairs_weights:
        train = [
            pair
            for name, weight in zip(config.pairs, config.pairs_weights, strict=True)
            for pair in weighted(
                [each for each in parted.train if of[id(each)] == name], weight, f"{config.seed} {name}"
            )
        ]
        parted = replace(parted, train=train)
    if not parted.train:
        held = f"{len(parted.holdout)} are held out, and the" if parted.holdout else "The"
        raise WorkbenchError(
            "Nothing to train on",
            f"{held} other pairs of {', '.join(config.pairs)} are dropped or none at all.",
            "Accept some pairs, lower holdout, or name another data set.",
        )
    return Material(parted, sources, unusable)


def _going_on(workspace: Workspace, config: RunConfig) -> tuple[RunConfig, Path]:
    """The config with the shape of the adapter that it goes on from, and the folder of that adapter."""
    other = RunFolder(workspace.run_folder(config.adapter))
    asked = other.record().config
    if asked.method == "reward":
        raise WorkbenchError(
            "That is a reward model", f"{other.id} scores answers and gives none.", "Name a run of another method."
        )
    if not (other.adapter / "adapter_model.safetensors").is_file():
        raise WorkbenchError(
            "No adapter to go on from", f"{other.id} has saved none.", f"Stop it first: workbench stop {other.id}"
        )
    if resolve(asked.model) != resolve(config.model):
        raise WorkbenchError(
            "The adapter is of another model",
            f"{other.id} trained {asked.model}, not {config.model}.",
            f"Give the same: --model {asked.model}",
        )
    shape = {key: getattr(asked, key) for key in ("lora_r", "lora_alpha", "lora_variant", "target_modules")}
    return config.model_copy(update={"adapter": other.id, **shape}), other.adapter


def _with_reward(workspace: Workspace, config: RunConfig) -> RunConfig:
    """The config with its reward in full, an absolute path or a whole id. Raises `WorkbenchError` where it is unfit."""
    reward = parse_reward(config.reward)
    if isinstance(reward, FunctionReward):
        reward = replace(reward, file=reward.file.resolve())
        check_function(reward)
        return config.model_copy(update={"reward": f"{reward.file}:{reward.function}"})
    other = RunFolder(workspace.run_folder(reward.run))
    asked = other.record().config
    if asked.method not in REWARDING:
        raise WorkbenchError(
            "That run has no reward to give",
            f"{other.id} was trained by {asked.method}, which leaves no reward behind.",
            "Name a run of reward, dpo or kto.",
        )
    if not (other.adapter / "adapter_model.safetensors").is_file():
        raise WorkbenchError("No reward yet", f"{other.id} has saved no adapter.", "Wait for it to finish.")
    if resolve(asked.model) != resolve(config.model):
        raise WorkbenchError(
            "The reward is of another model",
            f"{other.id} trained {asked.model}, not {config.model}: their tokens differ.",
            f"Train a reward on {config.model}, or give --model {asked.model}.",
        )
    return config.model_copy(update={"reward": f"run:{other.id}"})


def prepare(workspace: Workspace, config: RunConfig) -> tuple[RunConfig, Path | None]:
    """The config with all that it names in full, and the folder of the adapter that it goes on from, if any.

    Raises `WorkbenchError` where the model, reward, adapter, launcher or tracker that it names is not there or unfit.
    """
    resolve(config.model)
    if config.method in ONLINE:
        config = _with_reward(workspace, config)
    start_from = None
    if config.adapter:
        config, start_from = _going_on(workspace, config)
    return settled(config), start_from


def launch(workspace: Workspace, config: RunConfig) -> RunFolder:
    """Makes and starts a run. Raises `WorkbenchError` where data, model or disk do not allow it."""
    config, start_from = prepare(workspace, config)
    material = gather(workspace, config)
    rows = [to_row(replace(pair, split="train")) for pair in material.split.train]
    rows += [to_row(replace(pair, split="holdout")) for pair in material.split.holdout]
    folder = create(workspace.runs, config, rows, material.sources, start=start_from)
    start(folder)
    return folder
