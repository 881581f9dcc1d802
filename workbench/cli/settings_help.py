"""`train --help`: every setting and preset below the options, read only when somebody asks for them."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand

from workbench.cli.run_results import examples


class TrainCommand(TyperCommand):
    """A command whose help ends with the settings of a run. Other commands do without their import."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Writes examples, settings and presets below the options."""
        self.epilog = _settings_help()
        super().format_epilog(ctx, formatter)


def _settings_help() -> str:
    from workbench.config import PRESETS, RunConfig
    from workbench.methods import METHODS, users

    lines = [
        examples(
            "train --pairs support-tone --wait",
            "train --pairs hh,support-tone --model meta-llama/Llama-3.1-8B --set beta=0.2 --set epochs=2",
        )
    ]
    lines += ["", "\b", "Methods (--method NAME):"]
    for name, method in METHODS.items():
        lines += [f"  {name}: {method.title}", f"      {method.when}"]
        lines += [f"      Its authors' numbers: {method.rests_on}", f"      Ours: {method.ours}"]
    lines += ["", "\b", "Settings (--set KEY=VALUE):"]
    for name, field in RunConfig.model_fields.items():
        if name == "pairs":
            continue
        default = field.get_default(call_default_factory=True)
        shown = ",".join(str(each) for each in default) if isinstance(default, list) else str(default)
        only = users(name)
        of = f"  ({', '.join(only)})" if len(only) < len(METHODS) else ""
        lines += [f"  {name} = {shown}{of}", f"      {field.description}"]
    lines += ["", "\b", "Presets:"]
    for name, preset in PRESETS.items():
        values = " ".join(f"{key}={value}" for key, value in preset.values.items())
        lines += [f"  {name}", f"      {preset.summary}", *([f"      {values}"] if values else [])]
    return "\n".join(lines)
