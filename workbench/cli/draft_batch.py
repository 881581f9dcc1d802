"""draft over a whole data set: samples, saves as it goes, tells how far it is and what came of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from workbench.cli.compare_columns import scorer_of
from workbench.console import StatusLine, note, print_json
from workbench.errors import WorkbenchError
from workbench.figures import plural, rough

if TYPE_CHECKING:
    from workbench.behaviours.reading import KnownBehaviours
    from workbench.compare.data_set_drafting import DataSetDrafting
    from workbench.compare.messages import Generate
    from workbench.compare.ranking import PairSide
    from workbench.compare.scorers import Base
    from workbench.engine.scoring.scorer import Scorer
    from workbench.pairs.pair import Pair

_ROWS_AT_ONCE = 64
"""Drafts that are sampled together."""
_SAVED_EVERY = 20.0
"""Seconds between two steps of undo of a batch."""
_LEFT_SHOWN = 5


def draft_all(
    path: Path,
    base: Base,
    request: Generate,
    side: PairSide,
    known: KnownBehaviours,
    wanted: str,
    filter_: str | None,
    limit: int | None,
    *,
    again: bool,
    as_json: bool,
) -> None:
    """Drafts for the pairs that lack an answer, or that a query finds, and saves the best of each as it goes."""
    from workbench.compare.data_set_drafting import DataSetDrafting, to_draft
    from workbench.pairs.query import parse
    from workbench.pairs.store import PairStore

    query = parse(filter_ or "")
    if any(term.kind == "finding" for term in query.terms):
        raise WorkbenchError("Findings are no filter here", f"--filter {filter_!r} asks for some.", "Filter by tags.")
    by = request.columns[0].name
    with PairStore(path) as store:
        if store.file.read_only:
            raise WorkbenchError(f"{path.stem} cannot be edited", f"{store.file.read_only}.", "Close it there first.")
        lacking = to_draft(store.rows, store.find(query), side, by, replacing=filter_ is not None, again=again)
        todo, drafting, stopped = lacking.rows[:limit], DataSetDrafting(store, side), False
        if todo:
            scorer = scorer_of(base)
            try:
                _sample_all(scorer, request, [store.rows.pair(row) for row in todo], known, wanted, drafting)
            except KeyboardInterrupt:
                stopped = True
            finally:
                drafting.save()
    document = {
        "name": path.stem,
        **asdict(base),
        "side": side,
        "by": by,
        "pairs": len(todo),
        "drafted": drafting.drafted.total(),
        "commonest": drafting.drafted["commonest"],
        "likeliest": drafting.drafted["likeliest"],
        "cut": drafting.cut,
        "drafted_before": lacking.drafted_before,
        "left": [{"id": identity, "reason": reason} for identity, reason in drafting.left.items()],
        "stopped": stopped,
    }
    if as_json:
        print_json(document)
    else:
        _tell_all(document, filter_)
    if stopped:
        raise typer.Exit(130)


def _sample_all(
    scorer: Scorer,
    request: Generate,
    pairs: Sequence[Pair],
    known: KnownBehaviours,
    wanted: str,
    drafting: DataSetDrafting,
) -> None:
    """Answers the prompts of `pairs`, some at a time, telling how far it is."""
    from workbench.compare.ranking import Ranking, question_of
    from workbench.engine.model.inference import fitting_threads
    from workbench.engine.scoring.classifying import shown_behaviours
    from workbench.engine.scoring.generation import answers_to

    models: dict[str, Any] = {}
    at_once = max(1, _ROWS_AT_ONCE // request.samples)
    began = saved = time.monotonic()
    tokens = 0
    with StatusLine() as line, fitting_threads(scorer.adapters.model):
        for start in range(0, len(pairs), at_once):
            asked, questions = [], []
            for pair in pairs[start : start + at_once]:
                try:
                    question = question_of(pair)
                    prompt, _ = scorer.prefix_ids(question[0], "", question[1], request.columns[0])
                    scorer.check_room(len(prompt) + 1, "The prompt")
                except WorkbenchError as error:
                    drafting.left[pair.id] = f"{error.title}: {error.message}"
                    continue
                asked.append(pair)
                questions.append(question)

            def heard(count: int, done: int = start) -> None:
                nonlocal tokens
                tokens += count
                seconds = time.monotonic() - began
                left = f" · about {rough(seconds * (len(pairs) - done) / done)} left" if done else ""
                line.show(f"Drafting {done:,} of {len(pairs):,} pairs · {tokens:,} tokens{left} · ctrl+c stops")

            if asked:
                answers = answers_to(scorer, request, questions, heard)
                rankings = [
                    replace(Ranking.of(pair), wanted=wanted).with_drafts(drafts)
                    for pair, drafts in zip(asked, answers, strict=True)
                ]
                told = [answer for ranking in rankings for answer in ranking.untold]
                shows = iter(shown_behaviours(told, known, models=models))
                for ranking in rankings:
                    drafting.take(ranking.told([next(shows) for _ in ranking.untold]))
            if time.monotonic() - saved > _SAVED_EVERY:
                drafting.save()
                saved = time.monotonic()


def _tell_all(found: dict[str, Any], filter_: str | None) -> None:
    side, name = found["side"], found["name"]
    if not found["pairs"]:
        before = found["drafted_before"]
        if before:
            many = plural(before, "pair has", "pairs have")
            note(f"Nothing to draft: {many} drafts of {found['by']}; --again drafts others.")
        elif filter_ is None:
            note(f"Nothing to draft: every pair of {name} has a {side} answer. --filter QUERY drafts others.")
        else:
            note(f"Nothing to draft: {filter_!r} finds no pair of {name}.")
        return
    how = [f"{found[way]:,} the {way}" for way in ("commonest", "likeliest") if found[way]]
    note(
        f"{plural(found['drafted'], 'pair')} of {name} {'has' if found['drafted'] == 1 else 'have'} a {side} answer"
        f" drafted by {found['by']}{': ' if how else ''}{', '.join(how)} of the drafts."
    )
    if found["cut"]:
        note(f"{plural(found['cut'], 'draft')} cut at a limit, to the last whole sentence.")
    left = found["left"]
    if left:
        note(f"{plural(len(left), 'pair')} left as before: no draft will do. Another --seed may give others.")
        for each in left[:_LEFT_SHOWN]:
            note(f"  {each['id']}: {each['reason']}")
        if len(left) > _LEFT_SHOWN:
            note(f"  and {len(left) - _LEFT_SHOWN:,} more (--json lists them all)")
    if found["stopped"]:
        note("Stopped. The same command goes on with the pairs that are left.")
