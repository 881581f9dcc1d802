"""score and generate: what the Compare screen does, on the command line."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workbench.cli.context import Json, note, print_json, print_table, workspace_of
from workbench.errors import WorkbenchError
from workbench.text import cut, safe

if TYPE_CHECKING:
    from workbench.compare.columns import Base
    from workbench.compare.messages import Column, Prompt, Scored
    from workbench.config import RunConfig
    from workbench.engine.scorer import Scorer
    from workbench.workspace import Workspace

_DATE = re.compile(r"^\d{4}-\d\d-\d\d-\d{4}-")
"""What a run's id begins with."""
_WIDEST_NAME = 24

PromptOption = Annotated[
    str, typer.Option("--prompt", help='What the user says; or turns as JSON: [{"role": …, "content": …}, …].')
]
ModelOption = Annotated[
    str | None,
    typer.Option("--model", help="Base model. Default: that of the runs, else tiny.", show_default=False),
]
RunOption = Annotated[list[str] | None, typer.Option("--run", help="A run to put beside the base; may be given again.")]
SystemOption = Annotated[
    str | None, typer.Option("--system", help="A system message before the prompt, in all columns.")
]
PlainOption = Annotated[bool, typer.Option("--plain", help="Take the prompt as plain text, without the chat template.")]


def register(app: typer.Typer) -> None:
    """Adds the commands to `app`."""
    app.command()(score)
    app.command()(generate)


def score(
    context: typer.Context,
    prompt: PromptOption,
    response: Annotated[str, typer.Option("--response", help="The response to score, token by token.")],
    model: ModelOption = None,
    run: RunOption = None,
    system: SystemOption = None,
    top_k: Annotated[
        int, typer.Option("--top-k", min=0, max=1000, help="Likeliest tokens to list at every place (with --json).")
    ] = 5,
    plain: PlainOption = False,
    as_json: Json = False,
) -> None:
    """The log-probability of every token of a response, base beside runs."""
    asked = _prompt(prompt, plain=plain)
    base, columns = _columns(workspace_of(context), run or [], model, system)
    from workbench.compare.messages import Score

    request = Score(id=1, prompt=asked, response=response, columns=columns, top_k=top_k)
    scored = _scorer(base).score(request)
    if as_json:
        print_json(scored.model_dump(include={"columns"}))
    else:
        _print_scored(scored)


def generate(
    context: typer.Context,
    prompt: PromptOption,
    model: ModelOption = None,
    run: RunOption = None,
    system: SystemOption = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, max=32768, help="Where a response ends at the latest.")] = 128,
    temperature: Annotated[float, typer.Option(min=0, max=10, help="0 takes the likeliest token always.")] = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="Seeds the sampling, alike in all columns.")] = 0,
    plain: PlainOption = False,
    as_json: Json = False,
) -> None:
    """A response from the base and from each run."""
    asked = _prompt(prompt, plain=plain)
    base, columns = _columns(workspace_of(context), run or [], model, system)
    from workbench.compare.messages import Generate, Piece

    scorer = _scorer(base)
    answers: list[dict[str, Any]] = []
    for column in columns:
        request = Generate(
            id=1, prompt=asked, columns=[column], max_new_tokens=max_new_tokens, temperature=temperature, seed=seed
        )
        if not as_json:
            print(f"{'' if column is columns[0] else chr(10)}{safe(column.name)}:")
        for reply in scorer.generate(request):
            if not isinstance(reply, Piece):
                answers += [each.model_dump() for each in reply.columns]
            elif not as_json:
                print(safe(reply.text), end="", flush=True)
        if not as_json:
            print("" if answers[-1]["ended"] else " …")
    if as_json:
        print_json({"columns": answers})


def _prompt(text: str, *, plain: bool) -> Prompt:
    """A user turn of `text`, or the turns that it is the JSON of; with `plain`, the text itself."""
    from pydantic import TypeAdapter, ValidationError

    from workbench.compare.messages import Turn

    if plain:
        return text
    if text.lstrip().startswith("[{"):
        try:
            return TypeAdapter(list[Turn]).validate_python(json.loads(text))
        except json.JSONDecodeError:
            pass  # a text that happens to begin so
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise WorkbenchError(
                "Not a conversation",
                f"--prompt is JSON, but at {place}: {first['msg']}.",
                'Give turns as [{"role": "user", "content": "…"}, …], or add --plain.',
            ) from None
    return [Turn(role="user", content=text)]


def _columns(
    workspace: Workspace, runs: Sequence[str], model: str | None, system: str | None
) -> tuple[Base, list[Column]]:
    """The base that the runs share, and a column for it and for each of them. Raises `WorkbenchError`."""
    from workbench.compare.columns import Base
    from workbench.compare.messages import Column
    from workbench.runs.folder import RunFolder

    folders = list(dict.fromkeys(workspace.run_folder(run) for run in runs))
    configs = {folder.name: RunFolder(folder).record().config for folder in folders}
    columns = [Column(name="base", system=system)]
    columns += [Column(name=folder.name, adapter=str(RunFolder(folder).adapter), system=system) for folder in folders]
    if not configs:
        return Base(model or "tiny"), columns
    base = _shared_base(configs, model)
    return base, columns


def _shared_base(configs: dict[str, RunConfig], model: str | None) -> Base:
    from workbench.compare.columns import Base

    bases = {run: Base(model or config.model, config.quantization) for run, config in configs.items()}
    if len(set(bases.values())) > 1:
        raise WorkbenchError(
            "The runs have different bases",
            "\n".join(f"{run}: {base.model}, quantization {base.quantization}" for run, base in bases.items()),
            "Compare runs over one base model, held in one way: beside each other, other numbers mean nothing.",
        )
    return next(iter(bases.values()))


def _scorer(base: Base) -> Scorer:
    """The scorer of `base`, loaded with a word on stderr: it takes seconds, for large models minutes."""
    note(f"Loading {base.model} ({base.quantization}) …")
    from workbench.engine.scorer_quiet import quiet_libraries

    quiet_libraries()
    from workbench.engine.scorer import Scorer

    return Scorer(base.model, base.quantization)


def _print_scored(scored: Scored) -> None:
    """A row a token: its log-probability and rank in every column, and the change against the base."""
    from workbench.compare.figures import direction, nats, probability, signed
    from workbench.compare.tokens import deltas, shifts

    base, *others = scored.columns
    header = ["", "token", "base", "rank"]
    rows = [
        [str(place), _shown(token.text), nats(token.logprob), str(token.rank)]
        for place, token in enumerate(base.tokens, 1)
    ]
    foot = [["", "sum", nats(base.sum), ""], ["", "mean", nats(base.mean), ""], ["", "P", probability(base.sum), ""]]
    for column in others:
        header += [cut(_DATE.sub("", column.name), _WIDEST_NAME), "rank", "Δ", ""]
        for row, token, change, shift in zip(
            rows, column.tokens, deltas(column, base), shifts(column, base), strict=True
        ):
            word = "" if shift == "unshifted" else shift
            row += [nats(token.logprob), str(token.rank), f"{direction(change)} {signed(change)}", word]
        change = column.sum - base.sum
        foot[0] += [nats(column.sum), "", f"{direction(change)} {signed(change)}", ""]
        foot[1] += [nats(column.mean), "", "", ""]
        foot[2] += [probability(column.sum), "", "", ""]
    numbers = [index for index, name in enumerate(header) if index != 1 and (name or index == 0)]
    print_table(header, [*rows, [""] * len(header), *foot], right=numbers)
    note("Natural logarithms. rank 1: the likeliest token. P: probability of the whole response, its end included.")


def _shown(text: str) -> str:
    """A token with its spaces and line ends visible."""
    return safe(text.replace("\n", "\u21b5")).replace(" ", "\u00b7")
