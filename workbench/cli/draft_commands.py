"""draft: a model's answers to a pair's prompt, ranked into pairs, on the command line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workbench.cli.compare_columns import QuantizationOption, columns_of, scorer_of
from workbench.cli.compare_commands import ModelOption
from workbench.cli.context import Json, note, print_json, print_table, workspace_of
from workbench.errors import WorkbenchError
from workbench.text import one_line

if TYPE_CHECKING:
    from workbench.compare.ranking import RankedPairs, Ranking
    from workbench.compare.scorers import Base
    from workbench.pairs.pair import Pair

_EXAMPLES = """\b
Examples:
  workbench draft support p17                          the pair's answers and eight drafts of the base, numbered
  workbench draft support p17 --as rejected            the commonest draft becomes the pair's rejected answer
  workbench draft support p17 --run support-dpo        drafts of a run
  workbench draft support p17 --rank 1,4               answer 1 is preferred to answer 4
  workbench draft support p17 --rank 5,3,4 --each      a pair for each: 5 over 3, and 5 over 4
\b
The same seed gives the same drafts under the same numbers, so look first, then rank. Where the better of two answers is
the pair's chosen one, or the worse its rejected one, the pair itself is changed; else a pair is added below it.
`workbench`, then u, takes back what was saved.
"""
_SHOWN = 90


def register(app: typer.Typer) -> None:
    """Adds this module's command to `app`."""
    app.command(epilog=_EXAMPLES)(draft)


def draft(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The data set.")],
    pair: Annotated[str, typer.Argument(metavar="ID", help="The pair's id, or its number in the file.")],
    count: Annotated[int, typer.Option("--n", min=1, max=256, help="How many drafts.")] = 8,
    run: Annotated[
        str | None, typer.Option("--run", help="A run that drafts instead of the base.", show_default=False)
    ] = None,
    model: ModelOption = None,
    quantization: QuantizationOption = None,
    temperature: Annotated[float, typer.Option(min=0, max=10, help="0: the one likeliest draft.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Another seed gives other drafts.")] = 0,
    max_new_tokens: Annotated[int, typer.Option(min=1, max=32768, help="Where a draft is cut.")] = 256,
    side: Annotated[
        str | None,
        typer.Option(
            "--as",
            metavar="chosen|rejected",
            help="Save the commonest draft as this answer of the pair.",
            show_default=False,
        ),
    ] = None,
    rank: Annotated[
        str | None,
        typer.Option("--rank", metavar="N,N,…", help="Save an order: numbers, the best first.", show_default=False),
    ] = None,
    each: Annotated[bool, typer.Option("--each", help="With --rank: a pair for each, the best over it.")] = False,
    as_json: Json = False,
) -> None:
    """A model's own answers to the prompt of a pair, to make pairs that are on-policy."""
    if (side is not None and rank is not None) or side not in (None, "chosen", "rejected"):
        raise WorkbenchError("Save what?", "It is --as chosen, --as rejected or --rank.", "workbench draft --help")
    order = _order(rank) if rank is not None else None
    workspace = workspace_of(context)
    path = workspace.existing_pairs_file(name)
    from workbench.compare.messages import Generate, Generated
    from workbench.compare.ranking import Ranking, question_of, save
    from workbench.pairs.store import PairStore, load_pairs

    before = _pair_named(load_pairs(path)[0], pair, name)
    prompt, template = question_of(before)
    base, columns = columns_of(workspace, [run] if run else [], model, quantization)
    column = columns[-1] if run else columns[0].model_copy(update={"name": base.model})
    request = Generate(
        prompt=prompt,
        columns=[column],
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        seed=seed,
        samples=count if temperature else 1,
        template=template,
    )
    scorer = scorer_of(base)
    from workbench.engine.scoring.generation import generate_steps

    *_, reply = generate_steps(scorer, request)
    assert isinstance(reply, Generated)
    ranking = replace(Ranking.of(before).with_drafts(reply.columns), making="each" if each else "one")
    made = _made(ranking, order, side)
    if made is not None:
        with PairStore(path) as store:
            save(store, before.id, made)
    if as_json:
        print_json(_document(ranking, made, base))
        return
    _print(ranking)
    if made is not None:
        saved = [*([f"{before.id} changed"] if made.edited else []), *(f"{new.id} added" for new in made.new)]
        note(f"Saved in {name}: {', '.join(saved)}.")


def _pair_named(pairs: Sequence[Pair], given: str, name: str) -> Pair:
    """The pair that `given` names: an id, or a number from 1."""
    match = next((pair for pair in pairs if pair.id == given), None)
    if match is None and re.fullmatch(r"[0-9]{1,9}", given) and 1 <= int(given) <= len(pairs):
        match = pairs[int(given) - 1]
    if match is None:
        raise WorkbenchError(
            f"No pair {one_line(given, 40)!r}",
            f"{name} has {len(pairs):,} pairs, and none with that id.",
            "Give an id, or the number that the Pairs screen shows.",
        )
    return match


def _order(text: str) -> tuple[int, ...]:
    """The candidates' places from "1,4,3", the best first."""
    numbers = text.split(",")
    if len(set(numbers)) < max(2, len(numbers)) or not all(
        re.fullmatch("[1-9][0-9]{0,3}", number) for number in numbers
    ):
        raise WorkbenchError(
            "--rank takes two different numbers or more", f"It is {one_line(text, 40)!r}.", "As in --rank 1,4,3"
        )
    return tuple(int(number) - 1 for number in numbers)


def _made(ranking: Ranking, order: tuple[int, ...] | None, side: str | None) -> RankedPairs | None:
    """What is to be saved, None where nothing was asked to be."""
    if order is not None:
        if max(order) >= len(ranking.candidates):
            raise WorkbenchError(
                f"There is no answer {max(order) + 1}",
                f"There are {len(ranking.candidates)} different ones.",
                "Without --rank they are listed.",
            )
        made = replace(ranking, order=order).made()
    elif side is not None:
        number = ranking.likeliest()
        if number is None:
            raise WorkbenchError("No draft", "All of them are empty, or what is chosen already.", "Try another --seed.")
        made = ranking.as_side(number, "chosen" if side == "chosen" else "rejected")
    else:
        return None
    if not made:
        raise WorkbenchError("Nothing to save", "The pair says that already.", "Give another --seed or --rank.")
    return made


def _document(ranking: Ranking, made: RankedPairs | None, base: Base) -> dict[str, Any]:
    return {
        "pair": ranking.pair.id,
        **asdict(base),
        "candidates": [
            {
                "number": number,
                "side": candidate.side,
                "by": candidate.by or None,
                "count": candidate.count,
                "cut": candidate.cut,
                "text": candidate.text,
            }
            for number, candidate in enumerate(ranking.candidates, 1)
        ],
        "edited": made.edited.id if made is not None and made.edited else None,
        "new": [pair.id for pair in made.new] if made is not None else [],
    }


def _print(ranking: Ranking) -> None:
    print(one_line(ranking.pair.last_user_turn, _SHOWN))
    print()
    rows = [
        [
            str(number),
            candidate.side or one_line(candidate.by),
            f"×{candidate.count}" if candidate.side is None else "",
            candidate.text,
        ]
        for number, candidate in enumerate(ranking.candidates, 1)
    ]
    print_table(["", "by", "", "answer"], rows, right=[0])
    cut = sum(candidate.cut for candidate in ranking.candidates)
    if cut:
        note(f"{cut} cut at a limit: trained on, such an answer teaches to stop in mid-sentence.")
