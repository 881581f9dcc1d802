"""`train --help`: methods, settings and presets below the options, read only when somebody asks for them.

With `--method NAME` beside it, it is about that method alone: its settings, as they are without further ado.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from typer.core import TyperCommand

from workbench.cli.context import examples

_ASKED = "workbench.method"
_OPTION = "--method"


class TrainCommand(TyperCommand):
    """A command whose help ends with the settings of a run. Other commands do without their import."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Notes the method: `--help` is obeyed before the other options are read."""
        ctx.meta[_ASKED] = _method_in(args)
        return super().parse_args(ctx, args)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Writes examples, settings and presets below the options."""
        from workbench.methods import METHODS

        method = ctx.meta.get(_ASKED)
        width = formatter.width - 2
        self.epilog = "\n".join(_about(method, width) if method in METHODS else _overview(width))
        super().format_epilog(ctx, formatter)


def _method_in(args: Sequence[str]) -> str | None:
    for number, word in enumerate(args):
        if word == _OPTION:
            return args[number + 1] if number + 1 < len(args) else None
        if word.startswith(f"{_OPTION}="):
            return word.partition("=")[2]
    return None


def _overview(width: int) -> list[str]:
    """All methods in short, and the settings in groups of those that use them."""
    from workbench.config import PRESETS, RunConfig
    from workbench.methods import METHODS, users

    lines = [
        examples(
            "train --pairs support-tone --wait",
            "train --pairs hh,support-tone --model org/name --set beta=0.2",
            "train --pairs hh --method grpo --set reward=run:1506-hh-reward",
            "train --method simpo --help",
        )
    ]
    lines += _head(f"Methods ({_OPTION} NAME), and when to choose which:")
    lines += [f"  {name:<8}{method.when}" for name, method in METHODS.items()]
    lines += ["", f"  One of them in full: workbench train {_OPTION} NAME --help"]
    groups: dict[tuple[str, ...], list[str]] = {tuple(METHODS): []}
    for key in RunConfig.model_fields:
        if key != "pairs":
            groups.setdefault(users(key), []).append(key)
    plain = {key: field.get_default(call_default_factory=True) for key, field in RunConfig.model_fields.items()}
    for used_by, keys in groups.items():
        lines += _head(f"Settings (--set KEY=VALUE) of {_names(used_by)}:")
        lines += _settings(keys, plain, width)
    lines += _head("Presets (--preset NAME):")
    for name, preset in PRESETS.items():
        if name in METHODS:
            continue
        lines += _wrapped(f"{name}, for {_names(preset.methods)}: {preset.summary}", 2, width)
        lines += _values(preset.values, width)
    own = ", ".join(name for name in PRESETS if name in METHODS)
    return [*lines, *_wrapped(f"{own}: the method as its authors advise.", 2, width)]


def _about(method: str, width: int) -> list[str]:
    """One method: when to choose it, what its numbers rest on, its settings and presets."""
    from workbench.config import PRESETS, RunConfig, presets_of
    from workbench.methods import METHODS, users, uses

    about = METHODS[method]
    needs = " --set reward=run:RUN" if uses(method, "reward") else ""
    lines = [examples(f"train --pairs support-tone {_OPTION} {method}{needs} --wait")]
    lines += _head(f"{method}: {about.title}")
    lines += _wrapped(about.when, 2, width)
    lines += [
        *_wrapped(f"Its authors' numbers: {about.rests_on}", 2, width),
        *_wrapped(f"Ours: {about.ours}", 2, width),
    ]
    values = {key: field.get_default(call_default_factory=True) for key, field in RunConfig.model_fields.items()}
    values |= about.values
    used = [key for key in RunConfig.model_fields if uses(method, key) and key not in ("pairs", "method")]
    own = [key for key in used if len(users(key)) < len(METHODS)]
    lines += _head(f"Settings (--set KEY=VALUE) of {method} that not all methods have:")
    lines += _settings(own, values, width)
    lines += _head("Settings of every method, as they are here:")
    lines += _settings([key for key in used if key not in own], values, width)
    lines += _head(f"Presets (--preset NAME) for {method}:")
    for name in presets_of(method):
        preset = PRESETS[name]
        lines += _wrapped(f"{name}: {preset.summary}", 2, width)
        lines += _values({key: value for key, value in preset.values.items() if key != "method"}, width)
    return lines


def _head(text: str) -> list[str]:
    return ["", "\b", text]


def _names(methods: Sequence[str]) -> str:
    """The methods in words, by what is left out where that is shorter."""
    from workbench.methods import METHODS

    missing = [name for name in METHODS if name not in methods]
    if not missing:
        return "every method"
    if len(missing) == 1:
        return f"every method but {missing[0]}"
    return " and ".join(filter(None, (", ".join(methods[:-1]), methods[-1])))


def _settings(keys: Iterable[str], values: Mapping[str, Any], width: int) -> list[str]:
    from workbench.config import RunConfig

    lines = []
    for key in keys:
        lines += _wrapped(f"{key} = {_typed(values[key])}", 2, width)
        lines += _wrapped(RunConfig.model_fields[key].description or "", 6, width)
    return lines


def _values(values: Mapping[str, Any], width: int) -> list[str]:
    return _wrapped(" ".join(f"{key}={_typed(value)}" for key, value in values.items()), 6, width)


def _typed(value: object) -> str:
    """A value as `--set` takes it."""
    if isinstance(value, list):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _wrapped(text: str, indent: int, width: int) -> list[str]:
    space = " " * indent
    return textwrap.wrap(text, width, initial_indent=space, subsequent_indent=space, break_on_hyphens=False)
