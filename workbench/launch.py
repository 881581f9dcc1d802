"""From a config to a running worker: takes the rows of the data sets, makes the run's folder and starts it.

Or to what that would take, tried in a process of its own before anything is started.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from workbench import child
from workbench.chat_templates import read_template, template_file, template_names
from workbench.config import RunConfig
from workbench.errors import WorkbenchError
from workbench.figures import plural
from workbench.models import resolve
from workbench.pairs.lines import bad_lines
from workbench.pairs.pair import template_arguments
from workbench.pairs.rewrite import rewritten
from workbench.pairs.rows import Rows
from workbench.pairs.split import held_out, weighted
from workbench.pairs.store import load_rows
from workbench.pairs.strength import MARGIN
from workbench.rewards import HOW, parse_reward
from workbench.runs.cautions import Caution
from workbench.runs.folder import RunFolder, create
from workbench.runs.launchers import with_processes
from workbench.runs.preview import Learned, Preview, RowCounts, Unmeasured, begin, learned_from
from workbench.runs.process import start
from workbench.runs.trusting import require_own
from workbench.user_functions import UserFunction, check_function
from workbench.workspace import Workspace

PAUSE = 1.2
"""Seconds without a change after which a run is tried: that takes seconds of a core to begin with."""


@dataclass(frozen=True, slots=True)
class TakenRows:
    """The rows that a run trains on and holds out, taken from its data sets at one moment, edits included."""

    counts: RowCounts
    template: Mapping[str, Any]
    """What the run gives to chat templates; what a row gives itself comes first."""
    _names: list[str]
    _data_sets: list[Rows]
    _train: list[list[int]]
    _holdout: list[list[int]]

    @property
    def plain(self) -> bool:
        """Whether any of the data sets is of plain text."""
        return any(data_set.conversational is False for data_set in self._data_sets)

    def sources(self) -> dict[str, str]:
        """By data set, the sha256 of its content at that moment: of its file as it is once all edits are saved."""
        return {name: _sha256(data_set) for name, data_set in zip(self._names, self._data_sets, strict=True)}

    def lines(self) -> Iterator[bytes]:
        """The lines of the run's pairs.jsonl, each made when it is asked for: a data set's own, with their `split`, and
        with what the run gives to chat templates: so whoever reads them renders them alike."""
        for side, chosen_rows in (("train", self._train), ("holdout", self._holdout)):
            for data_set, rows in zip(self._data_sets, chosen_rows, strict=True):
                template = self.template if data_set.conversational else {}
                for row in rows:
                    line = _with_split(data_set.line(row), side)
                    yield _with_template(line, template) if template else line


def take_rows(workspace: Workspace, config: RunConfig) -> TakenRows:
    """The rows of the config's data sets, parted. Raises `WorkbenchError` where there is none to train on."""
    data_sets = [load_rows(workspace.existing_pairs_file(name)) for name in config.pairs]
    alone = config.facts.judges_alone
    usable = [data_set.judged if alone else data_set.trainable for data_set in data_sets]
    prompts = (
        (prompt, data_set.label(row, "split") or None)
        for data_set, rows in zip(data_sets, usable, strict=True)
        for row, prompt in zip(rows.tolist(), data_set.prompts(rows), strict=True)
    )
    parted = held_out(prompts, fraction=config.holdout, seed=config.seed)
    held = iter(parted.held)
    train, holdout = [], []
    for rows in usable:
        sides: tuple[list[int], list[int]] = ([], [])
        for row in rows.tolist():
            sides[next(held)].append(row)
        train.append(sides[False])
        holdout.append(sides[True])
    if config.pairs_weights:
        train = [
            weighted(rows, weight, f"{config.seed} {name}")
            for name, weight, rows in zip(config.pairs, config.pairs_weights, train, strict=True)
        ]
    unusable = sum(len(data_set.base.problems) for data_set in data_sets)
    lacking = [data_set.to_draft for data_set in data_sets]
    judged = sum(int(np.isin(data_set.judged, rows).sum()) for data_set, rows in zip(data_sets, lacking, strict=True))
    undrafted = sum(map(len, lacking)) - (judged if alone else 0)
    good, bad = (
        sum(int((data_set.words[side][rows] > 0).sum()) for data_set, rows in zip(data_sets, train, strict=True))
        for side in ("chosen", "rejected")
    )
    counts = RowCounts(
        sum(map(len, train)), sum(map(len, holdout)), unusable, parted.held_prompts, undrafted, good, bad
    )
    if not counts.train:
        held_pairs = f"{counts.holdout} are held out, and the" if counts.holdout else "The"
        names = ", ".join(config.pairs)
        if judged and not alone:
            answers = plural(judged, "answer that is", "answers that are")
            raise WorkbenchError(
                f"{config.method} learns from pairs",
                f"{held_pairs} other rows of {names} have {answers} judged alone, with none to compare.",
                "Train on them with --method kto, or have the other answers drafted: workbench draft.",
            )
        if unusable and not any(len(data_set.order) for data_set in data_sets):
            told = (
                bad_lines(name, each.base.problems, pairs=0) for name, each in zip(config.pairs, data_sets, strict=True)
            )
            raise WorkbenchError("Nothing to train on", next(filter(None, told)), "See: workbench check NAME")
        raise WorkbenchError(
            "Nothing to train on",
            f"{held_pairs} other pairs of {names} are dropped, to be drafted, or none at all.",
            "Accept some pairs, have answers drafted (workbench draft), lower holdout, or name another data set.",
        )
    if config.margin_weight and not any(
        np.isfinite(data_set.margins[rows]).any() for data_set, rows in zip(data_sets, train, strict=True)
    ):
        raise WorkbenchError(
            "No pair has a margin",
            f"margin_weight goes by the columns {MARGIN}, score_chosen and score_rejected and the like; no pair of"
            f" {', '.join(config.pairs)} that trains has them.",
            "Leave margin_weight at 0.",
            fields={"margin_weight": "no pair has a margin"},
        )
    return TakenRows(counts, config.template, config.pairs, data_sets, train, holdout)


def place_of(workspace: Workspace, config: RunConfig, identity: str) -> str:
    """The file and the line of the pair with an id in the config's data sets; empty where no file has it."""
    for name in config.pairs:
        try:
            rows = load_rows(workspace.existing_pairs_file(name))
        except WorkbenchError:
            continue
        row = rows.row(identity)
        if row is not None and row < len(rows.base.ids):
            return f"pairs/{name}.jsonl, line {row + 1}"
    return ""


def _with_split(line: bytes, side: str) -> bytes:
    """A pair's line with its side, newline included. Most lines have none yet: it goes before the last brace then."""
    line = line.rstrip()
    if b'"split"' in line:
        return rewritten(line, {"split": side}) + b"\n"
    return b'%s, "split": "%s"}\n' % (line[:-1], side.encode())


def _with_template(line: bytes, template: Mapping[str, Any]) -> bytes:
    """A pair's line with further arguments of the chat template, those that it has itself before these."""
    own = template_arguments(json.loads(line))
    own.pop("tools", None)
    return rewritten(line.rstrip(), {"chat_template_kwargs": {**template, **own}}) + b"\n"


def _sha256(data_set: Rows) -> str:
    digest = hashlib.sha256()
    for chunk in data_set.chunks():
        digest.update(chunk)
    return digest.hexdigest()


def _going_on(workspace: Workspace, config: RunConfig) -> tuple[RunConfig, Path]:
    """The config with shape and chat template of the adapter that it goes on from, and the folder of that adapter."""
    other = RunFolder(workspace.run_folder(config.adapter))
    require_own(other)
    other_config = other.record().config
    if not other_config.facts.answers:
        raise WorkbenchError(
            "That is a reward model", f"{other.id} scores answers and gives none.", "Name a run of another method."
        )
    adapter = other.saved_adapter()
    if resolve(other_config.model) != resolve(config.model):
        raise WorkbenchError(
            "The adapter is of another model",
            f"{other.id} trained {other_config.model}, not {config.model}.",
            f"Give the same: --model {other_config.model}",
        )
    shape = {key: getattr(other_config, key) for key in ("lora_r", "lora_alpha", "lora_variant", "target_modules")}
    if other_config.chat_template and not config.chat_template:
        shape["chat_template"] = str(other.chosen_template.resolve())
    return config.model_copy(update={"adapter": other.id, **shape}), adapter


def _with_reward(workspace: Workspace, config: RunConfig) -> RunConfig:
    """The config with its reward in full, an absolute path or a whole id. Raises `WorkbenchError` where it is unfit."""
    reward = parse_reward(config.reward)
    if isinstance(reward, UserFunction):
        reward = replace(reward, file=reward.file.resolve())
        check_function(reward, "reward", HOW)
        return config.model_copy(update={"reward": f"{reward.file}:{reward.function}"})
    other = RunFolder(workspace.run_folder(reward.run))
    require_own(other)
    other_config = other.record().config
    if not other_config.facts.gives_reward:
        raise WorkbenchError(
            "That run has no reward to give",
            f"{other.id} was trained by {other_config.method}, which leaves no reward behind.",
            "Name a run of reward, dpo or kto.",
        )
    other.saved_adapter()
    if resolve(other_config.model) != resolve(config.model):
        raise WorkbenchError(
            "The reward is of another model",
            f"{other.id} trained {other_config.model}, not {config.model}: their tokens differ.",
            f"Train a reward on {config.model}, or give --model {other_config.model}.",
        )
    return config.model_copy(update={"reward": f"run:{other.id}"})


def _with_template_file(config: RunConfig) -> RunConfig:
    """The config with the chat template that it names as a name or an absolute path. Raises `WorkbenchError`."""
    file = template_file(config.chat_template)
    read_template(file)
    if file is None or config.chat_template in template_names():
        return config
    return config.model_copy(update={"chat_template": str(file)})


@contextmanager
def _about(setting: str) -> Iterator[None]:
    """Says of errors which setting is wrong."""
    try:
        yield
    except WorkbenchError as error:
        error.fields = error.fields or {setting: error.message}
        raise


def prepare(workspace: Workspace, config: RunConfig) -> tuple[RunConfig, Path | None]:
    """The config with all that it names in full, and the folder of the adapter that it goes on from, if any.

    Raises `WorkbenchError` where the model, reward, adapter, chat template, launcher or tracker that it names is not
    there or unfit.
    """
    with _about("model"):
        resolve(config.model)
    if config.facts.online:
        with _about("reward"):
            config = _with_reward(workspace, config)
    start_from = None
    if config.adapter:
        with _about("adapter"):
            config, start_from = _going_on(workspace, config)
    with _about("chat_template"):
        config = _with_template_file(config)
    return with_processes(config), start_from


def launch(workspace: Workspace, config: RunConfig, warn: Callable[[Caution], None] = lambda _: None) -> RunFolder:
    """Makes and starts a run; `warn` hears before that what it cannot learn or show.

    Raises `WorkbenchError` where data, model or disk do not allow it.
    """
    config, start_from = prepare(workspace, config)
    taken = take_rows(workspace, config)
    for caution in taken.counts.cautions(config):
        warn(caution)
    folder = create(workspace.runs, config, taken.lines(), taken.sources(), start=start_from)
    start(folder)
    return folder


def try_run(workspace: Workspace, config: RunConfig, hear: Callable[[Learned], None]) -> None:
    """Has a process try what `prepare` gave, and calls `hear` with what it learns, soonest first; blocks.

    Raises `WorkbenchError` where that process breaks.
    """
    child.run(*_trial(workspace, config), lambda message: hear(learned_from(message)), name=_TRIAL)


async def preview_run(workspace: Workspace, config: RunConfig, show: Callable[[Preview], None]) -> None:
    """Calls `show` with what the run will take, as it becomes known: arithmetic at once, then counts, then real steps.

    Cancelled, it ends the process that tries the run. Raises `WorkbenchError` where something that the config names is
    not there.
    """
    config, _ = await asyncio.to_thread(prepare, workspace, config)
    preview = await asyncio.to_thread(begin, workspace.runs, config)
    show(preview)
    await asyncio.sleep(PAUSE)

    def hear(message: child.Progress | child.Part) -> None:
        nonlocal preview
        preview = preview.after(learned_from(message))
        show(preview)

    hear(child.Progress("counting tokens"))
    try:
        await child.run_async(*_trial(workspace, config), hear, name=_TRIAL)
    except WorkbenchError as error:
        show(preview.after(Unmeasured(f"{error.title}; see workbench train --dry-run.")))


_TRIAL = "The trial of the run"


def _trial(workspace: Workspace, config: RunConfig) -> tuple[list[str], dict[str, object]]:
    request: dict[str, object] = {"workspace": str(workspace.root.resolve()), "config": config.model_dump(mode="json")}
    return child.python("workbench.engine.measure"), request
