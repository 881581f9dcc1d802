"""draft: a model's answers to a pair's prompt, ranked into pairs, on the command line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workbench.cli.compare_columns import QuantizationOption, columns_of, scorer_of
from workbench.cli.compare_commands import ModelOption
from workbench.cli.context import AllowPickle, Json, TrustCode, TrustRun, workspace_of
from workbench.console import note, print_json, print_table, say
from workbench.errors import WorkbenchError
from workbench.figures import nats
from workbench.text import one_line
from workbench.trust import Trust

if TYPE_CHECKING:
    from workbench.behaviours.reading import KnownBehaviours
    from workbench.compare.messages import Generate
    from workbench.compare.ranking import BestDraft, PairSide, RankedPairs, Ranking
    from workbench.compare.scorers import Base
    from workbench.pairs.pair import Pair

_EXAMPLES = """\b
Examples:
  workbench draft support p17                          the pair's answers and eight drafts of the base, numbered
  workbench draft support p17 --as rejected            the best draft becomes the pair's rejected answer
  workbench draft support p17 --run support-dpo        drafts of a run
  workbench draft support p17 --rank 1,4               answer 1 is preferred to answer 4
  workbench draft support p17 --rank 5,3,4 --each      a pair for each: 5 over 3, and 5 over 4
  workbench draft support --as rejected                every pair that has no rejected answer gets one
  workbench draft support --as chosen --showing refusing      only drafts that are told to be refusals will do
  workbench draft support --as rejected --filter 'tag:attack'    and those that the filter finds get another
\b
The same seed gives the same drafts under the same numbers, so look first, then rank. Where the better of two answers is
the pair's chosen one, or the worse its rejected one, the pair itself is changed; else a pair is added below it.
The best draft is the one that came most often; where all differ, the one with the highest log-probability a token.
What a limit cut off ends with its last whole sentence. Drafts that break off in their first sentence, repeat
themselves, babble, or refuse as the pair's other answer does are not taken, nor those that do not show what --showing
names. Behaviours are told as in `evaluate`, by [behaviour.NAME] of workbench.toml and those that ship.
Over a data set, what came is saved as it goes. Ctrl+C stops; the same command goes on with the pairs that are left.
`workbench`, then u, takes back what was saved.
"""
_SHOWN = 90


def register(app: typer.Typer) -> None:
    """Adds this module's command to `app`."""
    app.command(epilog=_EXAMPLES)(draft)


def draft(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The data set.")],
    pair: Annotated[
        str | None,
        typer.Argument(metavar="ID", help="The pair's id, or its number in the file. Without one: the whole data set."),
    ] = None,
    count: Annotated[int, typer.Option("--n", min=1, max=256, help="How many drafts of a pair.")] = 8,
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
        typer.Option("--as", metavar="chosen|rejected", help="Save the best draft as this answer.", show_default=False),
    ] = None,
    rank: Annotated[
        str | None,
        typer.Option("--rank", metavar="N,N,…", help="Save an order: numbers, the best first.", show_default=False),
    ] = None,
    each: Annotated[bool, typer.Option("--each", help="With --rank: a pair for each, the best over it.")] = False,
    wanted: Annotated[
        str,
        typer.Option(
            "--showing",
            metavar="BEHAVIOUR",
            help="The best draft is one that shows this: refusing, courteous, or one of workbench.toml.",
            show_default=False,
        ),
    ] = "",
    filter_: Annotated[
        str | None,
        typer.Option(
            "--filter",
            metavar="QUERY",
            help="Without an ID: the pairs that this query finds, also those that have the answer.",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Without an ID: at most this many pairs.")] = None,
    again: Annotated[bool, typer.Option("--again", help="With --filter: also pairs it drafted for before.")] = False,
    trust: TrustRun = False,
    trust_remote_code: TrustCode = False,
    allow_pickle: AllowPickle = False,
    as_json: Json = False,
) -> None:
    """A model's own answers to the prompts of pairs, to make pairs that are on-policy."""
    if wanted and rank is not None:
        raise WorkbenchError(
            "--showing is of the best draft", "--rank names answers itself.", "Leave out one of the two."
        )
    if (side is not None and rank is not None) or side not in (None, "chosen", "rejected"):
        raise WorkbenchError("Save what?", "It is --as chosen, --as rejected or --rank.", "workbench draft --help")
    if pair is None and side is None:
        raise WorkbenchError(
            "For which pair, or as which answer?",
            "Drafts of one pair are listed; those of a whole data set are saved as one of its answers.",
            "Give an ID, or --as chosen or --as rejected.",
        )
    if pair is not None and (filter_ is not None or limit is not None or again):
        raise WorkbenchError("--filter, --limit and --again are for a whole data set", "", "Leave out the ID, or them.")
    order = _order(rank) if rank is not None else None
    workspace = workspace_of(context)
    path = workspace.existing_pairs_file(name)
    from workbench.behaviours.behaviour import PROPERTIES
    from workbench.behaviours.reading import behaviours_of
    from workbench.compare.messages import Generate
    from workbench.compare.ranking import Ranking, question_of
    from workbench.pairs.store import load_pairs

    before = _pair_named(load_pairs(path)[0], pair, name) if pair is not None else None
    files = Trust(trust_remote_code, allow_pickle)
    base, columns = columns_of(workspace, [run] if run else [], model, quantization, trust=trust, files=files)
    column = columns[-1] if run else columns[0].model_copy(update={"name": base.model})
    prompt, template = question_of(before) if before is not None else ("", {})
    request = Generate(
        prompt=prompt,
        columns=[column],
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        seed=seed,
        samples=count if temperature else 1,
        likelihood=True,
        template=template,
    )
    known = behaviours_of(workspace, base.model)
    if wanted and wanted not in (names := [*known.by_name, *PROPERTIES]):
        raise WorkbenchError(f"No behaviour named {one_line(wanted, 40)!r}", "", f"Behaviours: {', '.join(names)}.")
    if before is None:
        from workbench.cli.draft_batch import draft_all

        chosen_side: PairSide = "chosen" if side == "chosen" else "rejected"
        draft_all(path, base, request, chosen_side, known, wanted, filter_, limit, again=again, as_json=as_json)
    else:
        ranking = replace(Ranking.of(before), making="each" if each else "one", wanted=wanted)
        _draft_one(path, base, request, ranking, known, order, side, as_json=as_json)


def _draft_one(
    path: Path,
    base: Base,
    request: Generate,
    ranking: Ranking,
    known: KnownBehaviours,
    order: tuple[int, ...] | None,
    side: str | None,
    *,
    as_json: bool,
) -> None:
    """Lists the drafts of one pair, and saves what was asked."""
    from workbench.compare.messages import Generated
    from workbench.compare.ranking import save
    from workbench.pairs.store import PairStore

    scorer = scorer_of(base)
    from workbench.engine.scoring.classifying import shown_behaviours
    from workbench.engine.scoring.generation import generate_steps

    *_, reply = generate_steps(scorer, request)
    assert isinstance(reply, Generated)
    ranking = ranking.with_drafts(reply.columns)
    ranking = ranking.told(shown_behaviours(ranking.untold, known, note))
    made, best = _made(ranking, order, side)
    if made is not None:
        with PairStore(path) as store:
            save(store, ranking.pair.id, made)
    if as_json:
        print_json(_document(ranking, made, best, base))
        return
    _print(ranking)
    if made is not None:
        saved = [*([f"{ranking.pair.id} changed"] if made.edited else []), *(f"{new.id} added" for new in made.new)]
        why = f" Answer {best.number + 1}: {_why(ranking, best)}." if best is not None else ""
        note(f"Saved in {path.stem}: {', '.join(saved)}.{why}")


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


def _made(
    ranking: Ranking, order: tuple[int, ...] | None, side: str | None
) -> tuple[RankedPairs | None, BestDraft | None]:
    """What is to be saved, None where nothing was asked to be; and the draft that it is of, where none was named."""
    best = None
    if order is not None:
        if max(order) >= len(ranking.candidates):
            raise WorkbenchError(
                f"There is no answer {max(order) + 1}",
                f"There are {len(ranking.candidates)} different ones.",
                "Without --rank they are listed.",
            )
        made = replace(ranking, order=order).made()
    elif side is not None:
        which: PairSide = "chosen" if side == "chosen" else "rejected"
        best = ranking.best_draft(which)
        if best is None:
            from workbench.compare.data_set_drafting import why_none

            raise WorkbenchError("No draft will do", f"{why_none(ranking, which)}.", "Try another --seed.")
        made = ranking.as_side(best.number, which)
    else:
        return None, None
    if not made:
        raise WorkbenchError("Nothing to save", "The pair says that already.", "Give another --seed or --rank.")
    return made, best


def _why(ranking: Ranking, best: BestDraft) -> str:
    """How the best draft was told, in words."""
    drafts = [candidate for candidate in ranking.candidates if candidate.side is None]
    candidate = ranking.candidates[best.number]
    if best.by == "commonest":
        return f"the commonest draft ({candidate.count} of {sum(each.count for each in drafts)})"
    return f"the likeliest draft ({nats(candidate.mean or 0.0)} nats a token)"


def _document(ranking: Ranking, made: RankedPairs | None, best: BestDraft | None, base: Base) -> dict[str, Any]:
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
                "mean": candidate.mean,
                "shows": list(candidate.shows or ()),
                "flaw": ranking.flaw(number - 1, "rejected") or None,
                "text": candidate.text,
            }
            for number, candidate in enumerate(ranking.candidates, 1)
        ],
        "taken": None if best is None else {"number": best.number + 1, "as_the": best.by},
        "edited": made.edited.id if made is not None and made.edited else None,
        "new": [pair.id for pair in made.new] if made is not None else [],
    }


def _print(ranking: Ranking) -> None:
    say(one_line(ranking.pair.last_user_turn, _SHOWN))
    say()
    rows = [
        [
            str(number),
            candidate.side or one_line(candidate.by),
            f"×{candidate.count}" if candidate.side is None else "",
            ", ".join(candidate.shows or ()),
            candidate.text,
        ]
        for number, candidate in enumerate(ranking.candidates, 1)
    ]
    print_table(["", "by", "", "shows", "answer"], rows, right=[0])
    cut = sum(candidate.cut for candidate in ranking.candidates)
    if cut:
        note(f"{cut} cut at a limit, to the last whole sentence.")
