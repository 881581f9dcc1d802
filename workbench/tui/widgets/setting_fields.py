"""The fields of the form that starts a run: settings in two columns, methods and runs to choose from."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from textual.app import ComposeResult
from textual.containers import Grid
from textual.content import Content
from textual.widgets import Input, Select, Static
from textual.widgets._select import SelectCurrent

from workbench.config import RunConfig, choices
from workbench.methods import METHODS
from workbench.runs.catalog import Run
from workbench.runs.quantities import quantity
from workbench.text import one_line
from workbench.tui import figures
from workbench.tui.widgets.fields import LineField
from workbench.tui.widgets.path_field import PathField

_FILES = ("launcher_config",)
_SWITCH = ("true", "false")


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

    def __init__(
        self,
        rows: Sequence[Sequence[str]],
        labels: Mapping[str, str],
        hints: Mapping[str, str],
        *,
        id: str,  # noqa: A002
    ) -> None:
        """`labels` has 13 letters at most for each setting, `hints` what an empty line stands for."""
        super().__init__(id=id)
        self._rows, self._labels, self._hints = rows, labels, hints

    def compose(self) -> ComposeResult:
        """Label and field, one setting after the other."""
        for key in self.keys:
            yield Static(self._labels[key], markup=False, classes="label", id=f"label-{key}")
            yield self._field(key)

    @property
    def keys(self) -> list[str]:
        """All settings, shown or not."""
        return [key for row in self._rows for key in row]

    def show(self, wanted: Collection[str]) -> None:
        """Leaves only these settings."""
        for row in self._rows:
            shown = [key for key in row if key in wanted]
            for key in row:
                label, field = self.query_one(f"#label-{key}"), self.query_one(f"#{key}")
                label.display = field.display = key in shown
                # Of three, the second starts another row.
                label.set_class(key in shown and shown.index(key) % 2 == 1, "-second")
                field.set_class(key in shown and shown.index(key) % 2 == 0 and shown[-1] == key, "-alone")

    def fill(self, values: Mapping[str, Any]) -> None:
        """Puts values into the fields that have one."""
        for key in self.keys:
            if key in values:
                field, typed = self.query_one(f"#{key}"), as_typed(values[key])
                if isinstance(field, Select | Input):
                    field.value = typed

    def focus_first(self) -> None:
        """Puts the cursor into the first of the fields that are shown."""
        next(field for key in self.keys if (field := self.query_one(f"#{key}")).display).focus()

    @property
    def values(self) -> dict[str, str]:
        """The settings that are shown, as they were typed or chosen."""
        return {key: self._value(key) for key in self.keys if self.query_one(f"#{key}").display}

    def mark_wrong(self, wrong: Collection[str]) -> None:
        """Underlines these lines and no others."""
        for key in self.keys:
            self.query_one(f"#{key}").set_class(key in wrong, "-wrong")

    def _field(self, key: str) -> Select[str] | Input:
        options = _options(key)
        if options:
            return choice(key, ((option, option) for option in options), options[0])
        hint = self._hints.get(key, "")
        field = PathField(placeholder=hint, id=key) if key in _FILES else LineField(placeholder=hint, id=key)
        field.select_on_focus = True
        return field

    def _value(self, key: str) -> str:
        field = self.query_one(f"#{key}")
        if isinstance(field, LineField):
            return field.content.strip()
        return str(self.query_one(f"#{key}", Select).value)


def choice(name: str, options: Iterator[tuple[str, str]], value: str) -> Select[str]:
    """A list of (what is shown, value) to choose from; what is shown may be untrusted but is on one line."""
    plain = [(Content(shown), value) for shown, value in options]
    return Select(plain, value=value, allow_blank=False, compact=True, id=name)


def as_typed(value: object) -> str:
    """A setting as one would type it."""
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _options(key: str) -> tuple[str, ...]:
    return _SWITCH if RunConfig.model_fields[key].annotation is bool else choices(key)


_NAME = 8


class MethodChoice(Select[str]):
    """The methods by their names; open, with a line each. The list is wider than the field."""

    DEFAULT_CSS = """
    MethodChoice > SelectOverlay { width: 70; constrain: inside inside; }
    """

    def __init__(self, method: str, *, id: str) -> None:  # noqa: A002
        lines = [
            (Content.assemble(f"{name:<{_NAME}}", (method.when, "$secondary")), name)
            for name, method in METHODS.items()
        ]
        super().__init__(lines, value=method, allow_blank=False, compact=True, id=id)

    def on_select_changed(self) -> None:
        """Of the chosen one the name is enough: its line stands below."""
        self.query_one(SelectCurrent).update(Content(str(self.value)))


_ID = 42
OTHER = ""
"""The value of what is no run."""


class RunChoice(Select[str]):
    """Runs by their ids, what they are beside them, and one thing that is no run. Ids may be untrusted."""

    def __init__(self, other: str, *, other_last: bool = False, id: str) -> None:  # noqa: A002
        """`other` is what is no run, offered before the runs or `other_last` behind them."""
        self._other, self._last = (Content(other), OTHER), other_last
        self._ids: list[str] = []
        super().__init__([self._other], value=OTHER, allow_blank=False, compact=True, id=id)

    def offer(self, runs: Sequence[Run]) -> None:
        """These are the runs to choose from. The one that was chosen stays so, if it is among them."""
        chosen, ids = self.run, [run.id for run in runs]
        if ids == self._ids:
            return
        self._ids = ids
        options = [(_run_line(run), run.id) for run in runs]
        self.set_options([*options, self._other] if self._last else [self._other, *options])
        self.value = chosen if chosen in ids else OTHER

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
    parts = [f"{figures.share(accuracy)} right"] if accuracy is not None else []
    if run.status != "finished":
        parts.append(f"{run.status} at {run.state.step:,}")
    return Content.assemble(one_line(run.id, _ID), "  ", (" · ".join(parts), "$secondary"))
