"""What score, generate and draft are asked about: a prompt, the columns beside each other, the scorer of their base."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import astuple, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from workbench.cli.context import ask_about
from workbench.console import note
from workbench.errors import WorkbenchError
from workbench.pairs.pair import turn_from
from workbench.trust import UNTRUSTED, Trust
from workbench.workspace import Workspace

if TYPE_CHECKING:
    from workbench.compare.messages import Column, Prompt
    from workbench.compare.scorers import Base
    from workbench.config import Quantization, RunConfig
    from workbench.engine.scoring.scorer import Scorer

QuantizationOption = Annotated[
    Literal["nf4", "int8", "none"] | None,
    typer.Option(
        "--quantization",
        help="How the base's weights are held while it answers. Default: as the runs were trained, else nf4.",
        show_default=False,
    ),
]


def prompt_of(text: str, workspace: Workspace, runs: Sequence[str], *, plain: bool | None) -> Prompt:
    """A user turn of `text`, or the turns that it is the JSON of; with `plain`, the text itself.

    Where `plain` is None, it is taken as `runs` were trained: as plain text where the pairs of all of them are that,
    with a word on stderr. Raises `WorkbenchError` for JSON that is no turns.
    """
    from pydantic import TypeAdapter, ValidationError

    from workbench.compare.messages import Turn
    from workbench.runs.folder import RunFolder

    if plain:
        return text
    if text.lstrip().startswith("[{"):
        try:
            return TypeAdapter(list[Turn]).validate_python(list(map(_turn, json.loads(text))))
        except json.JSONDecodeError:
            pass  # a text that happens to begin so
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise WorkbenchError(
                "Not a conversation",
                f"--prompt is JSON, but at {where}: {first['msg']}.",
                'Give turns as [{"role": "user", "content": "…"}, …], or add --plain.',
            ) from None
        except ValueError as error:
            raise WorkbenchError(
                "Not a conversation", f"--prompt is JSON, but one of its turns {error}.", "Correct it, or add --plain."
            ) from None
    if plain is None and runs and all(RunFolder(workspace.run_folder(run)).plain for run in runs):
        note(
            "The prompt is taken as plain text, as the pairs that were trained on. --conversational makes a turn of it."
        )
        return text
    return [Turn(role="user", content=text)]


def _turn(value: Any) -> Any:
    """A turn that has more than a role and a text as such; any other value as it is."""
    from workbench.compare.messages import Turn

    more = isinstance(value, dict) and value.keys() - {"role", "content"}
    return Turn.of(turn_from(value)) if more else value


def columns_of(
    workspace: Workspace,
    runs: Sequence[str],
    model: str | None,
    quantization: Quantization | None = None,
    system: str | None = None,
    system_column: str | None = None,
    *,
    trust: bool = False,
    files: Trust = UNTRUSTED,
) -> tuple[Base, list[Column]]:
    """The base that the runs share, and a column for it and for each of them.

    The base is held as the runs were trained, or with `quantization` so. `system` goes before the prompt in all
    columns, `system_column` in one of its own. Runs that were not made here are asked about, unless `trust`. `files`:
    what a model's files may do, besides what the runs were trained with.

    Raises `WorkbenchError`.
    """
    from workbench.compare.messages import Column
    from workbench.compare.scorers import Base
    from workbench.compare.tuned_runs import settings_told, with_unique_name
    from workbench.runs.folder import RunFolder

    folders = list(dict.fromkeys(workspace.run_folder(run) for run in runs))
    for folder in folders:
        ask_about(RunFolder(folder), trust=trust)
    configs = {folder.name: RunFolder(folder).record().config for folder in folders}
    written = {folder.name: RunFolder(folder).template() for folder in folders}
    templates = [config.template for config in configs.values()]
    # The base is asked as the runs were trained, where they were all trained alike.
    shared = templates[0] if templates and all(template == templates[0] for template in templates) else {}
    columns = [Column(name="base", system=system, template=shared)]
    columns += [
        Column(name=folder.name, adapter=str(RunFolder(folder).adapter), system=system, template=template)
        for folder, template in zip(folders, templates, strict=True)
    ]
    if system_column:
        both = f"{system}\n\n{system_column}" if system else system_column
        columns.append(with_unique_name(columns[0].model_copy(update={"system": both}), columns))
    if told := settings_told(columns[0], columns):
        columns = [
            column.model_copy(update={"name": f"{column.name}, {told}"}) if column.adapter is None else column
            for column in columns
        ]
        note("The runs give different settings to the chat template: the base is asked without any.")
    if not configs:
        return Base(model or "tiny", quantization or "nf4", "", *astuple(files)), columns
    base = _shared_base(configs, written, model, quantization, files)
    return base, columns


def _shared_base(
    configs: dict[str, RunConfig],
    written: dict[str, str],
    model: str | None,
    quantization: Quantization | None,
    files: Trust,
) -> Base:
    """The base of all runs, whose chosen chat templates are `written`. Raises `WorkbenchError` for several."""
    from workbench.compare.scorers import Base

    # What the runs were trained with holds for their own model alone.
    trusts = [files] if model else [files, *(config.trust for config in configs.values())]
    code, pickle = (any(trusted) for trusted in zip(*map(astuple, trusts), strict=True))
    bases = {
        run: Base(model or config.model, quantization or config.quantization, written[run], code, pickle)
        for run, config in configs.items()
    }
    base, *others = dict.fromkeys(bases.values())
    if others and all(replace(other, chat_template=base.chat_template) == base for other in others):
        raise WorkbenchError(
            "The runs were trained in different chat templates",
            "\n".join(f"{run}: {config.chat_template or 'the one of its model'}" for run, config in configs.items()),
            "Name runs of one template: beside each other, other numbers mean nothing.",
        )
    if others:
        same_model = all(other.model == base.model for other in others)
        raise WorkbenchError(
            "The runs were trained on differently held weights" if same_model else "The runs have different bases",
            "\n".join(f"{run}: {held.model}, quantization {held.quantization}" for run, held in bases.items()),
            "Their numbers can be compared once one base answers for all: add --quantization nf4, int8 or none."
            if same_model
            else "Name runs over one base model: beside each other, other numbers mean nothing.",
        )
    others_held = sorted({config.quantization for config in configs.values()} - {base.quantization})
    if others_held:
        note(f"Trained on weights held as {', '.join(others_held)}; measured here on {base.quantization}.")
    return base


def scorer_of(base: Base) -> Scorer:
    """The scorer of `base`, loaded with a word on stderr: it takes seconds, for large models minutes."""
    note(f"Loading {base.model} ({base.quantization}) …")
    from workbench.engine.libraries import quick_imports, quiet_libraries

    quiet_libraries()
    with quick_imports():
        from workbench.engine.scoring.scorer import Scorer

    from workbench.runs.beside_run import cpu_instead

    device = None
    if slower_because := cpu_instead(base.model, base.quantization):
        note(f"On the CPU, which is slower: {slower_because}.")
        device = "cpu"
    return Scorer(base.model, base.quantization, device, chat_template=base.chat_template, trust=base.trust)
