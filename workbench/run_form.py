"""The form that starts a run, without a screen: what is asked, what is wrong with it, and how it is started."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from workbench.config import RunConfig, as_typed, build_config, defaults, fitting_preset, presets_of
from workbench.errors import WorkbenchError
from workbench.launch import launch, prepare, take_rows
from workbench.methods import DEFAULT_METHOD, METHODS, uses
from workbench.pairs.store import load_rows
from workbench.runs.catalog import Catalog, Run, runs_that_reward, runs_to_start_from
from workbench.runs.preview import RowCounts
from workbench.workspace import Workspace

_NAMING = {
    *("model", "method", "adapter", "reward", "report_to", "chat_template"),
    *("launcher", "launcher_config", "launcher_command", "processes"),
}
_OF_MACHINE = ("report_to", "launcher", "processes", "launcher_config", "launcher_command")
"""Settings of the machine: a preset leaves them as they are."""
_OF_ADAPTER = ("lora_r", "lora_alpha", "lora_variant", "target_modules")
"""Settings that a run which goes on from an adapter takes from that."""


@dataclass
class Asked:
    """The fields as they were typed or chosen; runs are named by their ids, empty where none is chosen."""

    pairs: list[str] = field(default_factory=list)
    weights: str = ""
    method: str = DEFAULT_METHOD
    preset: str = fitting_preset(DEFAULT_METHOD, "tiny")
    model: str = "tiny"
    adapter: str = ""
    reward: str = ""
    """The run that is the reward; without one `function` is."""
    function: str = ""
    settings: dict[str, str] = field(default_factory=dict)
    """The settings that the form shows."""


@dataclass(frozen=True, slots=True)
class FormVerdict:
    """What there is to say of the form: something is missing yet, or wrong, or its pairs are being counted, or all is
    right. `fields` says of each wrong setting what is wrong with it."""

    state: Literal["missing", "wrong", "counting", "right"] = "counting"
    title: str = ""
    message: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Counted:
    """What was counted, and for which data sets, weights, share and seed: other settings do not change it."""

    key: tuple[object, ...]
    rows: RowCounts


class RunForm:
    """Owns what is asked of a run that is to be started. Use it within one event loop.

    Whoever changes `asked` calls `check` then. `count` looks for what is named and counts the pairs, which `start`
    does not wait for by itself: `wanted` says that it is to be called once they are counted.
    """

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.sets = workspace.datasets()
        self.asked = Asked(pairs=list(self.sets) if len(self.sets) == 1 else [])
        self.verdict = FormVerdict()
        self.config: RunConfig | None = None
        """What would be started; None where that cannot be said."""
        self.starting = self.wanted = False
        self.starts: Sequence[Run] = ()
        """Runs of the model to go on from."""
        self.rewards: Sequence[Run] = ()
        """Runs of the model to be the reward."""
        self._runs: list[Run] | None = None
        self._counted: _Counted | None = None
        self._prepared: RunConfig | None = None
        """What was found to be there, with all that it names."""
        self._preset_chosen = False
        self._followed = ("", "", "")
        """Method, preset and model that the settings are for."""

    # What is asked

    def counts_of(self, name: str) -> tuple[int, int, int, int]:
        """Pairs of a data set that may train, those dropped, those to be drafted, and lines that are no pairs; blocks.

        Raises `WorkbenchError`.
        """
        rows = load_rows(self.workspace.pairs_file(name))
        trainable, undrafted = len(rows.trainable), len(rows.to_draft)
        return trainable, len(rows.order) - trainable - undrafted, undrafted, len(rows.base.problems)

    async def find_runs(self) -> None:
        """Finds the runs that can be built on with this model. The newest reward model is the reward, where nothing
        else was said."""
        if self._runs is None:
            self._runs = await asyncio.to_thread(Catalog(self.workspace.runs).summaries)
        runs, model = self._runs, self.asked.model
        self.starts, self.rewards = await asyncio.to_thread(
            lambda: (runs_to_start_from(runs, model), runs_that_reward(runs, model))
        )
        models = [run.id for run in self.rewards if run.config is not None and not run.config.facts.answers]
        if models and not self.asked.function and self.asked.reward not in {run.id for run in self.rewards}:
            self.asked.reward = models[0]

    @property
    def presets(self) -> list[str]:
        """The presets of the method."""
        return presets_of(self.asked.method)

    def follow(self) -> dict[str, Any]:
        """The settings that follow where method, preset or model are others than before: none where they stay.

        A method brings the preset that fits it and the model. So does a model, unless a preset was chosen or a setting
        is one's own by now. What is of the machine stays.
        """
        asked, (method, preset, model) = self.asked, self._followed
        fitting = fitting_preset(asked.method, asked.model)
        if asked.method != method:
            self._preset_chosen, asked.preset = False, fitting
        elif asked.preset != preset:
            self._preset_chosen = True
        elif asked.model != model and not self._preset_chosen and not set(self.changed) - set(_OF_MACHINE):
            asked.preset = fitting
        self._followed = asked.method, asked.preset, asked.model
        if (asked.method, asked.preset) == (method, preset):
            return {}
        values = defaults(asked.method, asked.preset)
        return {key: value for key, value in values.items() if key not in _OF_MACHINE or not method}

    @property
    def changed(self) -> list[str]:
        """The settings that are not as the preset has them."""
        values = defaults(self.asked.method, self.asked.preset)
        return [key for key, text in self.asked.settings.items() if text != as_typed(values.get(key))]

    @property
    def goes_on(self) -> bool:
        """Whether the run goes on from another one's adapter."""
        return bool(self.asked.adapter) and uses(self.asked.method, "adapter")

    @property
    def unused(self) -> set[str]:
        """Settings that have no say with what the others say."""
        launcher = self.asked.settings.get("launcher", "none")
        return {
            *(key for key in RunConfig.model_fields if not uses(self.asked.method, key)),
            *(_OF_ADAPTER if self.goes_on else ()),
            *(() if launcher != "none" else ("processes",)),
            *(() if launcher == "accelerate" else ("launcher_config",)),
            *(() if launcher == "command" else ("launcher_command",)),
        }

    @property
    def weights(self) -> list[str]:
        """The weight of each marked data set, as far as they were typed."""
        asked = self.asked
        return [weight.strip() for weight in asked.weights.split(",")] if len(asked.pairs) > 1 and asked.weights else []

    @property
    def values(self) -> dict[str, Any]:
        """The fields as settings."""
        asked = self.asked
        values: dict[str, Any] = {"pairs": asked.pairs, "method": asked.method, "model": asked.model}
        if self.weights:
            values["pairs_weights"] = asked.weights
        if uses(asked.method, "adapter"):
            values["adapter"] = asked.adapter
        if METHODS[asked.method].online:
            values["reward"] = f"run:{asked.reward}" if asked.reward else asked.function
        return values | asked.settings

    # What is wrong

    def check(self) -> None:
        """Makes `config` and `verdict` of what is asked."""
        before, self.config = self.config, None
        values = self.values
        if not self.sets:
            hint = "Bring one in: workbench import FILE --name NAME"
            self.verdict = FormVerdict("wrong", "There is no data set yet", hint)
        elif not values["pairs"]:
            self.verdict = FormVerdict("missing", "Which data sets?", "Mark one or more with space.")
        elif values.get("reward") == "":
            message = "Name a function as FILE.py:FUNCTION, or train a reward model first."
            self.verdict = FormVerdict("missing", "Which reward?", message)
        else:
            try:
                self.config = build_config(values, preset=self.asked.preset)
                self.verdict = FormVerdict("right" if self.rows is not None else "counting")
            except WorkbenchError as error:
                self._refuse(error)
        self.wanted = self.wanted and self.config is not None and self.config == before

    def _refuse(self, error: WorkbenchError) -> None:
        self.config, self.wanted = None, False
        self.verdict = FormVerdict("wrong", error.title, error.message, error.fields)

    @property
    def rows(self) -> RowCounts | None:
        """How many pairs would train and be held out; None until all is counted and there."""
        config, counted = self.config, self._counted
        known = config is not None and counted is not None and counted.key == _key(config) and self._is_there(config)
        return counted.rows if known and counted is not None else None

    def _is_there(self, config: RunConfig) -> bool:
        return self._prepared is not None and _names(self._prepared) == _names(config)

    async def count(self) -> None:
        """Looks for what is named and counts the pairs that would train, as far as that is not known."""
        config = self.config
        if config is None:
            return
        try:
            if not self._is_there(config):
                await asyncio.to_thread(prepare, self.workspace, config)
                self._prepared = config
            if self._counted is None or self._counted.key != _key(config):
                taken = await asyncio.to_thread(take_rows, self.workspace, config)
                self._counted = _Counted(_key(config), taken.counts)
        except WorkbenchError as error:
            if config == self.config:
                self._refuse(error)
        if self.rows is not None:
            self.verdict = FormVerdict("right")

    # Starting

    @property
    def can_start(self) -> bool:
        """Whether `start` may be called."""
        return self.verdict.state == "right" and not self.starting

    async def start(self) -> str:
        """Starts the run; its id. Raises `WorkbenchError`."""
        assert self.config is not None
        self.starting, self.wanted = True, False
        try:
            return (await asyncio.to_thread(launch, self.workspace, self.config)).id
        except BaseException:
            self.starting = False
            raise


def _key(config: RunConfig) -> tuple[object, ...]:
    """What the counts of pairs depend on."""
    return tuple(config.pairs), tuple(config.pairs_weights), config.holdout, config.seed


def _names(config: RunConfig) -> dict[str, object]:
    """The settings that name something, which may not be there."""
    return config.model_dump(include=_NAMING)
