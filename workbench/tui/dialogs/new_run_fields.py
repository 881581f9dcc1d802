"""The fields of the form that starts a run, and the settings that they amount to."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from textual.app import ComposeResult
from textual.containers import Grid, Horizontal, Vertical
from textual.content import Content
from textual.widgets import Input, Select, Static
from textual.widgets._select import SelectCurrent

from workbench import figures
from workbench.config import PRESETS, RunConfig, as_typed, choices
from workbench.methods import METHODS, uses
from workbench.run_form import Asked, RunForm
from workbench.runs.catalog import Run
from workbench.runs.quantities import quantity
from workbench.text import one_line, safe
from workbench.tui.widgets.fields import CheckList, LineField, PathField

_ESSENTIALS = (
    ("learning_rate", "beta"),
    ("simpo_gamma_ratio",),
    ("desirable_weight", "undesirable_weight"),
    ("margin_weight",),
    ("epochs", "max_steps"),
    ("batch_size", "gradient_accumulation"),
    ("group_size", "completion_tokens"),
    ("max_length", "lora_r"),
    ("loss_type", "loss_weights"),
    ("holdout", "quantization"),
)
_MORE = (
    ("lora_alpha", "lora_variant"),
    ("target_modules", "attention"),
    ("scheduler", "warmup"),
    ("weight_decay", "max_grad_norm"),
    ("seed", "label_smoothing", "temperature"),
    ("eval_steps", "save_steps"),
    ("logging_steps", "keep_checkpoints"),
    ("sample_every", "sample_tokens"),
    ("stop_grace", "fast"),
    ("checkpointing", "optimizer"),
    ("report_to", "launcher"),
    ("processes", "launcher_config"),
    ("launcher_command",),
    ("chat_template",),
    ("template",),
    ("trust_remote_code", "allow_pickle"),
)
"""The settings in rows; each is used by some methods or by all."""
_LABELS = {
    "simpo_gamma_ratio": "gamma / beta",
    "desirable_weight": "good weight",
    "undesirable_weight": "bad weight",
    "margin_weight": "margin weight",
    "gradient_accumulation": "accumulation",
    "completion_tokens": "answer tokens",
    "lora_r": "adapter rank",
    "loss_type": "loss",
    "holdout": "held out",
    "lora_alpha": "adapter alpha",
    "lora_variant": "variant",
    "target_modules": "layers",
    "max_grad_norm": "clip norm",
    "label_smoothing": "smoothing",
    "eval_steps": "eval every",
    "save_steps": "save every",
    "logging_steps": "log every",
    "keep_checkpoints": "checkpoints",
    "sample_every": "sample every",
    "stop_grace": "stop within",
    "fast": "fast path",
    "launcher_config": "its config",
    "launcher_command": "command",
    "trust_remote_code": "runs its code",
    "allow_pickle": "reads pickles",
}
"""Labels of settings whose name, with spaces, is not one already; 13 letters at most."""
_HINTS = {
    "max_steps": "0: no limit",
    "loss_weights": "1 each",
    "report_to": "none",
    "launcher_config": "accelerate's own",
    "launcher_command": "srun -N2 … {command}",
    "chat_template": "the model's own; a file, or one of TRL's: qwen3, llama3 …",
    "template": "enable_thinking=false",
}
"""What an empty line stands for."""
_FILES = ("launcher_config", "chat_template")
_SWITCH = ("true", "false")
_NAME_WIDTH, _ID_WIDTH = 8, 42
_NO_RUN = ""
"""The value of what is no run, in a list of runs."""


class RunFields(Vertical):
    """Data sets, method, preset, model and the method's settings. What changes posts the widgets' own messages."""

    DEFAULT_CSS = """
    RunFields, RunFields #first { height: auto; }
    RunFields .row { height: auto; }
    RunFields .label { width: 15; color: $secondary; }
    RunFields CheckList, RunFields Select, RunFields Input { width: 1fr; }
    RunFields Input { background: $panel; padding: 0 1; }
    RunFields Input:focus { background-tint: $foreground 5%; }
    RunFields .-wrong { color: $error; text-style: underline; }
    RunFields SelectCurrent { background: $panel; padding: 0 1; }
    RunFields SelectCurrent #label { text-wrap: nowrap; text-overflow: ellipsis; }
    RunFields #when, RunFields #summary, RunFields #begins { margin: 0 0 0 15; color: $secondary; height: auto; }
    RunFields .row > .-second { padding-left: 2; width: 16; }
    RunFields #help { color: $secondary; text-overflow: ellipsis; }
    """

    def __init__(self, form: RunForm) -> None:
        super().__init__(id="fields")
        self._form = form
        self._presets: list[str] = form.presets
        self._told_about: str | None = None

    def compose(self) -> ComposeResult:
        """A row each, and the settings in two columns."""
        with Vertical(id="first"):
            with Horizontal(classes="row", id="datasets"):
                yield Static("data sets", classes="label")
                yield CheckList(self._form.sets, self._form.asked.pairs, id="pairs")
            with Horizontal(classes="row", id="row-weights"):
                yield Static("their weights", classes="label")
                hint = "1 each; 0.5 takes half of a set, 2 each pair twice"
                yield LineField(placeholder=hint, id="pairs_weights")
            with Horizontal(classes="row", id="row-method"):
                yield Static("method", classes="label")
                yield MethodChoice(self._form.asked.method, id="method")
                yield Static("preset", classes="label -second")
                yield _choice("preset", ((name, name) for name in self._presets), self._form.asked.preset)
            yield Static("", markup=False, id="when")
            yield Static("", markup=False, id="summary")
            with Horizontal(classes="row"):
                yield Static("model", classes="label")
                model = LineField(
                    self._form.asked.model, placeholder="a folder, a Hugging Face id, or tiny", id="model"
                )
                model.select_on_focus = True
                yield model
            with Horizontal(classes="row", id="row-adapter"):
                yield Static("begin with", classes="label")
                yield RunChoice("a new adapter", id="adapter")
            yield Static("", markup=False, id="begins")
            with Horizontal(classes="row", id="row-reward"):
                yield Static("reward", classes="label")
                yield RunChoice("a function in a Python file …", other_last=True, id="reward")
            with Horizontal(classes="row", id="row-function"):
                yield Static("", classes="label")
                yield PathField(placeholder="FILE.py:FUNCTION, called with prompts and completions", id="function")
            yield SettingGrid(_ESSENTIALS, id="essentials")
        yield SettingGrid(_MORE, id="more")
        yield Static("", markup=False, id="help")

    def read(self) -> None:
        """Tells the form what the fields say."""
        self._form.asked = Asked(
            self.query_one(CheckList).marked,
            self.query_one("#pairs_weights", LineField).content.strip(),
            str(self.query_one("#method", Select).value),
            str(self.query_one("#preset", Select).value),
            self.query_one("#model", LineField).content.strip(),
            self.query_one("#adapter", RunChoice).run,
            self.query_one("#reward", RunChoice).run,
            self.query_one("#function", PathField).content.strip(),
            {key: text for grid in self.query(SettingGrid) for key, text in grid.values.items()},
        )

    def fill(self, settings: Mapping[str, Any]) -> None:
        """Shows the form's preset, and puts these values into the fields."""
        form, method = self._form, METHODS[self._form.asked.method]
        with self.prevent(Select.Changed, Input.Changed):
            if form.presets != self._presets:
                self._presets = form.presets
                self.query_one("#preset", Select).set_options([(name, name) for name in self._presets])
            self.query_one("#preset", Select).value = form.asked.preset
            for grid in self.query(SettingGrid):
                grid.fill(settings)
        self.query_one("#when", Static).update(method.when)
        self.query_one("#summary", Static).update(PRESETS[form.asked.preset].summary)

    def offer(self) -> None:
        """Offers the form's runs to go on from, and to be the reward."""
        adapter, reward = self.query_one("#adapter", RunChoice), self.query_one("#reward", RunChoice)
        with self.prevent(Select.Changed):
            adapter.offer(self._form.starts)
            reward.offer(self._form.rewards)
            if self._form.asked.reward in {run.id for run in self._form.rewards}:
                reward.value = self._form.asked.reward

    def tidy(self) -> None:
        """Leaves only the fields that have a say with what the others say."""
        form, asked, method = self._form, self._form.asked, METHODS[self._form.asked.method]
        for name, there in (
            ("row-weights", len(asked.pairs) > 1),
            ("row-adapter", uses(asked.method, "adapter") and self.query_one("#adapter", RunChoice).offers),
            ("begins", form.goes_on),
            ("row-reward", method.online),
            ("row-function", method.online and not asked.reward),
        ):
            self.query_one(f"#{name}").display = there
        reference = "The reference is then that adapter, frozen" if method.reference else "There is no reference"
        self.query_one("#begins", Static).update(f"{reference}. The adapter keeps its rank.")
        for grid in self.query(SettingGrid):
            grid.show(set(grid.keys) - form.unused)
        self.query_one(CheckList).mark_with(dict(zip(asked.pairs, form.weights, strict=False)))

    def tell_about(self, field: str | None) -> None:
        """Says what a field is about, or what is wrong with it."""
        self._told_about = field
        setting = "reward" if field == "function" else field or ""
        asked, wrong = self._form.asked, self._form.verdict.fields
        if setting in wrong:
            reason = safe(wrong[setting])
            self.query_one("#help", Static).update(Content.assemble(("✘ ", "$error"), reason))
            return
        if field == "method":
            about = f"{METHODS[asked.method].title}: {METHODS[asked.method].rests_on}"
        elif field == "pairs":
            about = "Data sets to train on: space marks."
        elif field == "preset":
            about = PRESETS[asked.preset].summary
        else:
            known = RunConfig.model_fields.get(setting)
            about = known.description or "" if known else ""
        self.query_one("#help", Static).update(about)

    @property
    def changed_more(self) -> int:
        """How many of the settings that are behind the others are not as the preset has them."""
        return len(set(self._form.changed).intersection(self.query_one("#more", SettingGrid).keys))

    def mark_wrong(self) -> None:
        """Underlines the fields that the form's verdict names and no others; each says why while it has the focus."""
        wrong = self._form.verdict.fields
        for grid in self.query(SettingGrid):
            grid.mark_wrong(wrong)
        for setting in ("pairs_weights", "model", "adapter", "reward"):
            self.query_one(f"#{setting}").set_class(setting in wrong, "-wrong")
        self.query_one("#function").set_class("reward" in wrong, "-wrong")
        self.tell_about(self._told_about)


class SettingGrid(Grid):
    """Rows of settings. Of a row only those that `show` names are there; one that is left alone takes the whole row.

    A field has the setting's name for its id, and posts the messages of its widget.
    """

    DEFAULT_CSS = """
    SettingGrid {
        grid-size: 4; grid-columns: 15 1fr 16 1fr; grid-rows: 1; grid-gutter: 0; height: auto;
    }
    SettingGrid .label.-second { padding-left: 2; width: 16; }
    SettingGrid .-alone { column-span: 3; }
    """

    def __init__(self, rows: Sequence[Sequence[str]], *, id: str) -> None:  # noqa: A002
        super().__init__(id=id)
        self._rows = rows
        self._fields: dict[str, Select[str] | Input] = {}
        self._labels: dict[str, Static] = {}

    def compose(self) -> ComposeResult:
        """Label and field, one setting after the other."""
        for key in self.keys:
            label = Static(_LABELS.get(key, key.replace("_", " ")), markup=False, classes="label", id=f"label-{key}")
            self._labels[key], self._fields[key] = label, self._field(key)
            yield label
            yield self._fields[key]

    @property
    def keys(self) -> list[str]:
        """All settings, shown or not."""
        return [key for row in self._rows for key in row]

    def show(self, wanted: Collection[str]) -> None:
        """Leaves only these settings."""
        for row in self._rows:
            shown = [key for key in row if key in wanted]
            for key in row:
                label, field = self._labels[key], self._fields[key]
                label.display = field.display = key in shown
                # Of three, the second starts another row.
                label.set_class(key in shown and shown.index(key) % 2 == 1, "-second")
                field.set_class(key in shown and shown.index(key) % 2 == 0 and shown[-1] == key, "-alone")

    def fill(self, values: Mapping[str, Any]) -> None:
        """Puts values into the fields that have one."""
        for key in self.keys:
            if key in values:
                self._fields[key].value = as_typed(values[key])

    def focus_first(self) -> None:
        """Puts the cursor into the first of the fields that are shown."""
        next(field for field in self._fields.values() if field.display).focus()

    @property
    def values(self) -> dict[str, str]:
        """The settings that are shown, as they were typed or chosen."""
        return {key: _value(field) for key, field in self._fields.items() if field.display}

    def mark_wrong(self, wrong: Collection[str]) -> None:
        """Underlines these lines and no others."""
        for key in self.keys:
            self._fields[key].set_class(key in wrong, "-wrong")

    def _field(self, key: str) -> Select[str] | Input:
        options = _options(key)
        if options:
            return _choice(key, ((option, option) for option in options), options[0])
        hint = _HINTS.get(key, "")
        field = PathField(placeholder=hint, id=key) if key in _FILES else LineField(placeholder=hint, id=key)
        field.select_on_focus = True
        return field


def _value(field: Select[str] | Input) -> str:
    return field.content.strip() if isinstance(field, LineField) else str(field.value)


def _choice(name: str, options: Iterator[tuple[str, str]], value: str) -> Select[str]:
    """A list of (what is shown, value) to choose from; what is shown may be untrusted but is on one line."""
    plain = [(Content(shown), value) for shown, value in options]
    return Select(plain, value=value, allow_blank=False, compact=True, id=name)


def _options(key: str) -> tuple[str, ...]:
    return _SWITCH if RunConfig.model_fields[key].annotation is bool else choices(key)


class MethodChoice(Select[str]):
    """The methods by their names; open, with a line each. The list is wider than the field."""

    DEFAULT_CSS = """
    MethodChoice > SelectOverlay { width: 70; constrain: inside inside; }
    """

    def __init__(self, method: str, *, id: str) -> None:  # noqa: A002
        lines = [
            (Content.assemble(f"{name:<{_NAME_WIDTH}}", (method.when, "$secondary")), name)
            for name, method in METHODS.items()
        ]
        super().__init__(lines, value=method, allow_blank=False, compact=True, id=id)

    def on_select_changed(self) -> None:
        """Of the chosen one the name is enough: its line stands below."""
        self.query_one(SelectCurrent).update(Content(str(self.value)))


class RunChoice(Select[str]):
    """Runs by their ids, what they are beside them, and one thing that is no run. Ids may be untrusted."""

    def __init__(self, other: str, *, other_last: bool = False, id: str) -> None:  # noqa: A002
        """`other` is what is no run, offered before the runs or `other_last` behind them."""
        self._other, self._last = (Content(other), _NO_RUN), other_last
        self._ids: list[str] = []
        super().__init__([self._other], value=_NO_RUN, allow_blank=False, compact=True, id=id)

    def offer(self, runs: Sequence[Run]) -> None:
        """These are the runs to choose from. The one that was chosen stays so, if it is among them."""
        chosen, ids = self.run, [run.id for run in runs]
        if ids == self._ids:
            return
        self._ids = ids
        options = [(_run_line(run), run.id) for run in runs]
        self.set_options([*options, self._other] if self._last else [self._other, *options])
        self.value = chosen if chosen in ids else _NO_RUN

    @property
    def offers(self) -> bool:
        """Whether there is a run to choose."""
        return bool(self._ids)

    @property
    def run(self) -> str:
        """The id of the run; empty where none is chosen."""
        return str(self.value)


def _run_line(run: Run) -> Content:
    """A run in a line: its id, how often it was right on held-out pairs, and how far it went if not to the end."""
    accuracy = quantity(run.state.evals[-1].metrics, "accuracy") if run.state.evals else None
    parts = [f"{figures.percent(accuracy)} right"] if accuracy is not None else []
    if run.status != "finished":
        parts.append(f"{run.status} at {run.state.step:,}")
    return Content.assemble(one_line(run.id, _ID_WIDTH), "  ", (" · ".join(parts), "$secondary"))
