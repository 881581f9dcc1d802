"""score and generate: what the Compare screen does, on the command line."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workbench.cli.compare_columns import QuantizationOption, columns_of, prompt_of, scorer_of
from workbench.cli.context import AllowPickle, Json, TrustCode, TrustRun, workspace_of
from workbench.console import note, print_json, print_table, say
from workbench.errors import WorkbenchError
from workbench.figures import plural
from workbench.text import cut, one_line, safe
from workbench.trust import Trust
from workbench.workspace import Workspace

if TYPE_CHECKING:
    from workbench.compare.measures import ColumnSummary, ToldAnswer
    from workbench.compare.messages import Column, Generation, OpeningsScored, PairsScored, Prompt, Scored, ScoredPair
    from workbench.compare.scorers import Base

_DATE = re.compile(r"^\d{4}-\d\d-\d\d-\d{4}-")
"""What a run's id begins with."""
_WIDEST_NAME = 24
_EVERY = 5.0
"""Seconds between two lines of progress."""
_WORST = 10
"""Rows that are shown; --json has them all."""

_PROMPT_HELP = 'What the user says; or turns as JSON: [{"role": …, "content": …}, …].'
ModelOption = Annotated[
    str | None,
    typer.Option("--model", help="Base model. Default: that of the runs, else tiny.", show_default=False),
]
RunOption = Annotated[list[str] | None, typer.Option("--run", help="A run to put beside the base; may be given again.")]
SystemOption = Annotated[
    str | None, typer.Option("--system", help="A system message before the prompt, in all columns.")
]
SystemColumnOption = Annotated[
    str | None,
    typer.Option("--system-column", help="A further column: the base after this system message, and what it costs."),
]
PlainOption = Annotated[
    bool | None,
    typer.Option(
        "--plain/--conversational",
        help="Take the prompt as plain text, or as a user turn in the chat template. Default: as the runs were trained;"
        " without a run, a turn.",
        show_default=False,
    ),
]


def register(app: typer.Typer) -> None:
    """Adds the commands to `app`."""
    app.command()(score)
    app.command()(generate)


def score(
    context: typer.Context,
    prompt: Annotated[str | None, typer.Option("--prompt", help=_PROMPT_HELP, show_default=False)] = None,
    response: Annotated[
        str | None, typer.Option("--response", help="The response to score, token by token.", show_default=False)
    ] = None,
    opening: Annotated[
        list[str] | None,
        typer.Option("--opening", help="How an answer may begin; may be given again: how probable is any of these?"),
    ] = None,
    pairs: Annotated[
        str | None,
        typer.Option("--pairs", help="A data set: scores all its pairs instead of one response.", show_default=False),
    ] = None,
    model: ModelOption = None,
    run: RunOption = None,
    quantization: QuantizationOption = None,
    system: SystemOption = None,
    system_column: SystemColumnOption = None,
    top_k: Annotated[
        int, typer.Option("--top-k", min=0, max=1000, help="Likeliest tokens to list at every place (with --json).")
    ] = 5,
    max_length: Annotated[
        int | None,
        typer.Option("--max-length", min=2, help="With --pairs: cut them as in training.", show_default=False),
    ] = None,
    plain: PlainOption = None,
    trust: TrustRun = False,
    trust_remote_code: TrustCode = False,
    allow_pickle: AllowPickle = False,
    as_json: Json = False,
) -> None:
    """The log-probability of every token of a response, base beside runs; or of openings, or of a whole data set."""
    files = Trust(trust_remote_code, allow_pickle)
    if pairs is not None and prompt is None and response is None and not opening:
        base, columns = columns_of(
            workspace_of(context), run or [], model, quantization, system, system_column, trust=trust, files=files
        )
        _score_data_set(workspace_of(context), pairs, base, columns, max_length, as_json=as_json)
        return
    if pairs is not None or prompt is None or (response is None) == (not opening):
        raise WorkbenchError(
            "What is to be scored?",
            "score takes --prompt and --response, --prompt and --opening, or --pairs alone.",
            "workbench score --help has all three.",
        )
    turns = prompt_of(prompt, workspace_of(context), run or [], plain=plain)
    base, columns = columns_of(
        workspace_of(context), run or [], model, quantization, system, system_column, trust=trust, files=files
    )
    from workbench.compare.messages import ScoreOpenings, ScoreResponse

    if response is None:
        openings = ScoreOpenings(prompt=turns, openings=opening or [], columns=columns)
        masses = scorer_of(base).openings(openings)
        if as_json:
            print_json({**asdict(base), "openings": opening, **masses.model_dump(include={"columns"})})
        else:
            _print_openings(opening or [], masses)
        return
    request = ScoreResponse(prompt=turns, response=response, columns=columns, top_k=top_k)
    scored = scorer_of(base).score(request)
    if as_json:
        print_json({**asdict(base), **scored.model_dump(include={"columns"})})
    else:
        _print_scored(scored)


def generate(
    context: typer.Context,
    prompt: Annotated[str, typer.Option("--prompt", help=_PROMPT_HELP)],
    prefix: Annotated[str, typer.Option("--prefix", help="What the response begins with in any case.")] = "",
    model: ModelOption = None,
    run: RunOption = None,
    quantization: QuantizationOption = None,
    system: SystemOption = None,
    system_column: SystemColumnOption = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, max=32768, help="Where a response ends at the latest.")] = 128,
    temperature: Annotated[float, typer.Option(min=0, max=10, help="0 takes the likeliest token always.")] = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="Seeds the sampling, alike in all columns.")] = 0,
    samples: Annotated[int, typer.Option(min=1, max=256, help="Responses of every column.")] = 1,
    plain: PlainOption = None,
    trust: TrustRun = False,
    trust_remote_code: TrustCode = False,
    allow_pickle: AllowPickle = False,
    as_json: Json = False,
) -> None:
    """Responses from the base and from each run."""
    files = Trust(trust_remote_code, allow_pickle)
    turns = prompt_of(prompt, workspace_of(context), run or [], plain=plain)
    base, columns = columns_of(
        workspace_of(context), run or [], model, quantization, system, system_column, trust=trust, files=files
    )
    from workbench.compare.messages import Generate, Generated, TextChunk

    scorer = scorer_of(base)
    from workbench.engine.scoring.generation import generate_steps

    answers: list[Generation] = []
    for column in columns:
        request = Generate(
            prompt=turns,
            prefix=prefix,
            columns=[column],
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            seed=seed,
            samples=samples,
            likelihood=samples > 1 or as_json,
        )
        streamed = not as_json and samples == 1
        if not as_json:
            say(f"{'' if column is columns[0] else chr(10)}{column.name}:")
        if streamed:
            say(prefix, end="")
        for reply in generate_steps(scorer, request):
            if isinstance(reply, Generated):
                answers += reply.columns
            elif isinstance(reply, TextChunk) and streamed:
                say(reply.text, end="")
        if streamed:
            say("" if answers[-1].ended else " …")
        elif not as_json:
            for answer in answers[-samples:]:
                say(f"  {one_line(prefix + answer.text)}{'' if answer.ended else ' …'}")
    if samples == 1 and not as_json:
        return
    told = _told(workspace_of(context), base.model, turns, prefix, answers)
    if as_json:
        said = [{**answer.model_dump(), "shows": one.shows} for answer, one in zip(answers, told, strict=True)]
        print_json({**asdict(base), "columns": said, "shares": _shares(told)})
    else:
        _print_shares(told)


def _told(
    workspace: Workspace, model: str, prompt: Prompt, prefix: str, answers: Sequence[Generation]
) -> list[ToldAnswer]:
    """Which of the workspace's behaviours every answer shows, what it was made to begin with included."""
    from workbench.behaviours.behaviour import NO_KIND, Answer
    from workbench.behaviours.reading import behaviours_of
    from workbench.compare.measures import ToldAnswer
    from workbench.engine.scoring.classifying import shown_behaviours

    asked = prompt if isinstance(prompt, str) else prompt[-1].content
    said = [
        Answer(NO_KIND, asked, prefix + each.text, not each.ended, each.tokens, each.likelihood) for each in answers
    ]
    shows = shown_behaviours(said, behaviours_of(workspace, model), note)
    return [ToldAnswer(each.name, each.text, shown) for each, shown in zip(answers, shows, strict=True)]


def _shares(answers: Sequence[ToldAnswer]) -> dict[str, Any]:
    from workbench.compare.measures import behaviour_shares

    return {
        name: {share.behaviour or "none": share.share for share in shares}
        for name, shares in behaviour_shares(answers).items()
    }


def _print_shares(answers: Sequence[ToldAnswer]) -> None:
    from workbench.compare.measures import behaviour_shares

    shares = behaviour_shares(answers)
    shown = [share.behaviour or "none of these" for share in next(iter(shares.values()))]
    rows = [
        [name, *(f"{share.count} of {share.samples}" for share in column_shares)]
        for name, column_shares in shares.items()
    ]
    say()
    print_table(["", *shown], rows, right=range(1, len(shown) + 1))


def _print_openings(openings: Sequence[str], masses: OpeningsScored) -> None:
    """A row an opening, and one for all of them: the probability in every column, and the change against the base."""
    from workbench.figures import direction, nats_change, probability

    header = ["an answer begins"]
    rows = [[_shown(opening)] for opening in openings] + [["any of these"]]
    for number, column in enumerate(masses.columns):
        header.append("base" if number == 0 else cut(_DATE.sub("", column.name), _WIDEST_NAME))
        header += ["Δ nats"] if number else []
        first = masses.columns[0]
        for row, value, base in zip(rows, [*column.sums, column.mass], [*first.sums, first.mass], strict=True):
            row.append(probability(value))
            if number:
                row.append(f"{direction(value - base)} {nats_change(value - base)}")
    print_table(header, rows, right=range(1, len(header)))
    note("Exact under each column. Of openings that begin alike the shortest counts once in the last row.")


def _print_scored(scored: Scored) -> None:
    """A row a token: its log-probability and rank in every column, and the change against the base."""
    from workbench.compare.measures import deltas, prompt_costs, shifts
    from workbench.figures import direction, nats, nats_change, probability

    base, *others = scored.columns
    header = ["", "token", "base", "rank"]
    rows = [
        [str(number), _shown(token.text), nats(token.logprob), str(token.rank)]
        for number, token in enumerate(base.tokens, 1)
    ]
    foot = [["", "sum", nats(base.sum), ""], ["", "mean", nats(base.mean), ""], ["", "P", probability(base.sum), ""]]
    for column in others:
        header += [cut(_DATE.sub("", column.name), _WIDEST_NAME), "rank", "Δ", ""]
        for row, token, change, shift in zip(rows, column.tokens, deltas(column, base), shifts(column), strict=True):
            word = "" if shift in (None, "unshifted") else shift
            row += [nats(token.logprob), str(token.rank), f"{direction(change)} {nats_change(change)}", word]
        change = column.sum - base.sum
        foot[0] += [nats(column.sum), "", f"{direction(change)} {nats_change(change)}", ""]
        foot[1] += [nats(column.mean), "", "", ""]
        foot[2] += [probability(column.sum), "", "", ""]
    numbers = [index for index, name in enumerate(header) if index != 1 and (name or index == 0)]
    print_table(header, [*rows, [""] * len(header), *foot], right=numbers)
    note("Natural logarithms. rank 1: the likeliest token. P: probability of the whole response, its end included.")
    note("marginal, shifted: what the column would say here is the base's 2nd or 3rd choice, or further down.")
    costs = prompt_costs([column.prompt_tokens for column in scored.columns])
    for column, cost in zip(scored.columns, costs, strict=True):
        if cost.extra:
            note(f"{column.name}: {cost.extra:+,} prompt tokens a request, {cost.per_million:+,} in a million.")


def _shown(text: str) -> str:
    """A token with its spaces and line ends visible."""
    return safe(text.replace("\n", "\u21b5")).replace(" ", "\u00b7")


def _score_data_set(
    workspace: Workspace, name: str, base: Base, columns: Sequence[Column], max_length: int | None, *, as_json: bool
) -> None:
    """Prints what the columns make of the data set `name`, worst pairs of the last column first.

    Raises `WorkbenchError` where the data set or a model cannot be read.
    """
    from workbench.compare.measures import summarize, worst_first
    from workbench.compare.messages import ScorePairs

    path = workspace.existing_pairs_file(name)
    request = ScorePairs(path=str(path), columns=list(columns), max_length=max_length, cache=str(workspace.scores))
    rows, end = _pairs_scored(base, request)
    rows = worst_first(rows, len(columns) - 1)
    summaries = [summarize(rows, column) for column in range(len(columns))]
    if as_json:
        print_json(
            {
                "pairs": name,
                **asdict(base),
                "columns": [
                    {"name": column.name, **asdict(summary)} for column, summary in zip(columns, summaries, strict=True)
                ],
                "problems": [{"id": row.pair, "reason": row.problem} for row in rows if row.problem],
                "rows": [_pair_document(row, columns) for row in rows if not row.problem],
            }
        )
        return
    _print_data_set(columns, summaries, rows)
    note(f"{plural(end.total, 'pair')}, {plural(end.computed, 'response')} scored, {end.cached:,} known from before.")
    if end.problems:
        reason = next(row.problem for row in rows if row.problem)
        note(f"{end.problems:,} without numbers, the first of them: {reason}")


def _pairs_scored(base: Base, request: Any) -> tuple[list[ScoredPair], PairsScored]:
    scorer = scorer_of(base)
    from workbench.compare.messages import PairBatch
    from workbench.engine.model.inference import fitting_threads
    from workbench.engine.scoring.data_set_scores import score_pairs

    rows: list[ScoredPair] = []
    last_told = time.monotonic()
    with fitting_threads(scorer.adapters.model):
        for reply in score_pairs(scorer, request):
            if isinstance(reply, PairBatch):
                rows += reply.rows
                if time.monotonic() - last_told > _EVERY:
                    last_told = time.monotonic()
                    note(f"Scored {reply.done:,} of {reply.total:,} pairs …")
            elif reply is not None:
                end = reply
    return rows, end


def _pair_document(row: ScoredPair, columns: Sequence[Column]) -> dict[str, Any]:
    from workbench.compare.measures import margin_shift, pair_margin

    return {
        "id": row.pair,
        "columns": [
            {
                "name": column.name,
                "chosen": row.chosen[number].sum,
                "rejected": row.rejected[number].sum,
                "chosen_tokens": row.chosen[number].tokens,
                "rejected_tokens": row.rejected[number].tokens,
                "margin": pair_margin(row, number),
                "shift": margin_shift(row, number),
                "cut": row.chosen[number].cut or row.rejected[number].cut,
            }
            for number, column in enumerate(columns)
        ],
    }


def _print_data_set(columns: Sequence[Column], summaries: Sequence[ColumnSummary], rows: Sequence[ScoredPair]) -> None:
    from workbench.compare.measures import margin_shift, pair_margin
    from workbench.figures import nats, nats_change

    table = []
    for column, summary in zip(columns, summaries, strict=True):
        shares = ["" if value is None else f"{value:.1%}" for value in (summary.ranking, summary.accuracy)]
        means = ["" if value is None else nats(value) for value in (summary.margin, summary.chosen, summary.rejected)]
        table.append([column.name, *shares, *means, "" if summary.shift is None else nats_change(summary.shift)])
    header = ["", "ranking", "accuracy", "margin", "chosen", "rejected", "shift"]
    print_table(header, table, right=range(1, len(header)))
    worst = [row for row in rows if not row.problem][:_WORST]
    if worst:
        say()
        last = len(columns) - 1
        print_table(
            ["worst pairs", "margin", "chosen", "rejected", *(["shift"] if last else [])],
            [
                [
                    row.pair,
                    nats(pair_margin(row, last)),
                    nats(row.chosen[last].sum),
                    nats(row.rejected[last].sum),
                    *([nats_change(margin_shift(row, last))] if last else []),
                ]
                for row in worst
            ],
            right=range(1, 5),
        )
    note(f"Means over pairs, in nats. The worst pairs are those of {columns[-1].name}; --json has all.")
