"""import, export and pairs: data sets in, out, and listed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from workbench.cli.context import Json, path_given, workspace_of
from workbench.console import StatusLine, note, print_json, print_table, show_error
from workbench.errors import WorkbenchError
from workbench.figures import plural
from workbench.text import one_line, quoted

if TYPE_CHECKING:
    from workbench.pairs.importers import Imported
    from workbench.pairs.readers import OnRead
    from workbench.pairs.sources import Source

_IMPORT_EXAMPLES = """\b
Examples:
  workbench import harmless-base.jsonl.gz --name hh
  workbench import answers.csv --map prompt=question --map chosen=good --map rejected=bad
  workbench import trl-lib/ultrafeedback_binarized --limit 2000 --name ultra
  workbench import continuations.jsonl --plain
  workbench import safe-rlhf.jsonl --map label=safer_response_id
  workbench import nectar.parquet --ranking all --dry-run
  workbench import arena.jsonl --dry-run
  workbench import my-folder --split train
\b
Reads JSONL, JSON (lists, {"train": [...]}, columns), CSV, Parquet and Arrow, compressed by gzip, bzip2, xz, zstd or lz4
or not; ZIP archives, folders (save_to_disk's too) and Hugging Face ids. Of a folder every file is read by itself; its
splits are told by its card or by names, tests are held out, and what is left out is said. A row has 16 MiB at most.
\b
The shapes of public data sets are known (docs/data.md lists them): what becomes of which column is said first,
--dry-run stops there, --map overrules it. Columns that are not known are kept; those with text that nothing was made
of are named. Rows that say the same are imported once. Rows that cannot be used are listed with line and reason, and
the others imported.
\b
--map takes prompt, chosen, rejected, what belongs to the prompt (system, history, input), label, and the
workbench's own fields (id, status, split, tags, note, source). label=COLUMN names the column that says row by row
which answer is better; ties are left out, and counted. chosen= and rejected= together: the rows are prompts alone.
\b
A row that ranks or rates several answers (Nectar, UltraFeedback, distilabel) makes one pair, the best over the worst;
with --ranking best-rest the best over each worse one, neighbours: each over the next worse one, all: each over every
worse one. How many pairs each way makes is said. All pairs of a prompt are held out together, or none.
\b
A prompt that is plain text becomes a user turn, and its answers assistant turns, as a chat model is asked: --plain
keeps plain text, which trains without the chat template. Where prompts have a template filled in, they stay plain.
"""
_EXPORT_EXAMPLES = """\b
Examples:
  workbench export hh --to hh.parquet
  workbench export hh --to reviewed.jsonl --accepted-only
  workbench export hh --to LLaMA-Factory/data/hh.jsonl --shape llama-factory
  workbench export hh --to tone.jsonl --filter 'tag:tone -split:holdout len<3'
\b
--filter takes what the search line of the Pairs screen takes (but for findings).
Dropped pairs are left out unless --with-dropped is given. A file that exists is replaced.
\b
In CSV, a text that begins with = + - @, a tab or a line end gets an ' before it, since a spreadsheet would take it for
a formula, and a formula can run programs. Imported here it is the same text again; --raw leaves it as it is.
"""
_HUB_ID = re.compile(r"\w[\w.-]*(/[\w.-]+)?")


def register(app: typer.Typer) -> None:
    """Adds this module's commands to `app`."""
    app.command("import", epilog=_IMPORT_EXAMPLES)(import_)
    app.command(epilog=_EXPORT_EXAMPLES)(export)
    app.command()(pairs)


def import_(
    context: typer.Context,
    source: Annotated[str, typer.Argument(metavar="FILE|HUB_ID", help="A file, a folder, or a Hugging Face id.")],
    name: Annotated[str | None, typer.Option(help="The new data set's name. Default: from the file's name.")] = None,
    map_: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="FIELD=COLUMN", help="Which column a field is in. FIELD= leaves a field out."),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Import at most this many pairs.")] = None,
    append: Annotated[bool, typer.Option("--append", help="Add to the data set of that name.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Replace the data set of that name.")] = False,
    subset: Annotated[str | None, typer.Option(help="Of a data set or folder: which configuration.")] = None,
    split: Annotated[
        str | None, typer.Option(help="Of a data set: which split. Default: train; of a folder: all, tests held out.")
    ] = None,
    plain: Annotated[
        bool | None,
        typer.Option(
            "--plain/--conversational",
            help="Keep plain text, or make user and assistant turns of it. Default: turns.",
            show_default=False,
        ),
    ] = None,
    ranking: Annotated[
        Literal["best-worst", "best-rest", "neighbours", "all"],
        typer.Option(help="Where rows rank several answers: which pairs become of each."),
    ] = "best-worst",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be imported, and write nothing.")] = False,
    json: Json = False,
) -> None:
    """Bring preference pairs into the workspace as a new data set."""
    from workbench.pairs.importers import beginning, import_rows, name_from, nothing_usable, parse_mapping
    from workbench.pairs.store import PairStore, write_pairs

    mapping = parse_mapping(map_ or [])
    name = name_from(source) if name is None else name
    target = workspace_of(context).pairs_file(name)
    if append and replace:
        raise WorkbenchError("--append and --replace exclude each other", "", "Give one of them.")
    if target.exists() and not (append or replace or dry_run):
        raise WorkbenchError(
            f"A data set {name!r} exists already",
            f"{target} would be overwritten.",
            "Choose another name with --name, or give --append or --replace.",
        )
    wanted = None if plain is None else not plain
    store = PairStore(target) if append and target.exists() else None
    with StatusLine(after=1) as line:

        def progress(done: int, total: int) -> None:
            line.show(f"Importing {one_line(source, 40)}: " + (f"{done / total:.0%}" if total else f"{done:,} rows"))

        found = source_of(source, subset, split, progress)
        begun = beginning(found)
        foretold = _foretell(begun.sample(mapping, wanted, ranking))
        imported = import_rows(
            chain(begun.rows, found.rows),
            mapping=mapping,
            limit=limit,
            existing=store.pairs if store else (),
            conversational=wanted,
            pairing=ranking,
        )
    if not imported.pairs and not imported.duplicates:
        raise nothing_usable(source, imported)
    if dry_run:
        pass
    elif store:
        with store:
            store.add(imported.pairs, f"import {source}")
    else:
        write_pairs(target, imported.pairs)
    if json:
        print_json(_report(name, found, imported) | ({"dry_run": True} if dry_run else {}))
    else:
        _tell(name, target, found, imported, dry_run=dry_run, foretold=foretold)


def export(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The data set.")],
    to: Annotated[Path, typer.Option(metavar="FILE", parser=path_given, help="Where to.")],
    form: Annotated[
        str | None, typer.Option("--format", metavar="jsonl|parquet|csv", help="Default: by the file's ending.")
    ] = None,
    accepted_only: Annotated[bool, typer.Option("--accepted-only", help="Only pairs that were accepted.")] = False,
    shape: Annotated[
        Literal["trl", "llama-factory", "axolotl", "openai", "kto"],
        typer.Option(
            help="Who is to read the rows. trl: TRL and the workbench, with all columns; llama-factory:"
            " LLaMA-Factory, with its entry in dataset_info.json; axolotl: Axolotl (chat_template.default); openai:"
            " OpenAI's preference files; kto: TRL's KTO: a row an answer, and answers judged alone too."
        ),
    ] = "trl",
    with_dropped: Annotated[
        bool, typer.Option("--with-dropped", help="Dropped pairs, and those to be drafted, as well.")
    ] = False,
    filter_: Annotated[str, typer.Option("--filter", metavar="QUERY", help="Only what this query finds.")] = "",
    raw: Annotated[
        bool, typer.Option("--raw", help="Of CSV: no ' before what a spreadsheet would take for a formula and run.")
    ] = False,
    json: Json = False,
) -> None:
    """Write a data set's pairs to a file that TRL and others read."""
    from workbench.pairs.exporters import check_place
    from workbench.pairs.lines import bad_lines
    from workbench.pairs.outward import complete, format_for, write
    from workbench.pairs.query import parse
    from workbench.pairs.search import Search
    from workbench.pairs.store import load_rows

    if accepted_only and with_dropped:
        raise WorkbenchError("--accepted-only and --with-dropped exclude each other", "", "Give one of them.")
    workspace = workspace_of(context)
    query = parse(filter_)
    if any(term.kind == "finding" for term in query.terms):
        raise WorkbenchError(
            "Findings are no filter for an export",
            f"--filter {filter_!r} asks for some.",
            "See: workbench check --help",
        )
    rows = load_rows(workspace.existing_pairs_file(name))
    chosen_format = format_for(to, shape, form)
    if raw and chosen_format != "csv":
        raise WorkbenchError(
            "--raw is for CSV", f"{to} would be {chosen_format}, which has no formulas.", "Leave it out."
        )
    check_place(to, workspace.pairs)
    every = [rows.pair(row) for row in Search(rows).find(query).tolist()]
    problems = rows.base.problems
    wanted = ("accepted",) if accepted_only else ("new", "accepted", "flagged", *(["dropped"] if with_dropped else []))
    kept = [pair for pair in every if pair.status in wanted and (with_dropped or complete(pair, shape))]
    if not kept and any(pair.alone is not None and pair.status in wanted for pair in every):
        raise WorkbenchError(
            "Nothing to export",
            f"{name!r} has answers judged alone, and rows for {shape} are pairs.",
            "Rows for KTO take them: --shape kto. Or have the other answers drafted: workbench draft.",
        )
    if not kept:
        status = "accepted" if accepted_only else "left: they are dropped or to be drafted"
        searched = f"{len(every):,} pairs of {name!r}" + (f" that {filter_!r} finds" if query.terms else "")
        raise WorkbenchError(
            "Nothing to export",
            f"None of the {searched} is {status}.",
            bad_lines(name, problems, pairs=len(rows.order)),
        )
    written = write(to, kept, shape, chosen_format, name=name, raw=raw)
    if json:
        document = {"name": name, "file": str(to), "format": chosen_format, "exported": written.pairs}
        if chosen_format == "csv":
            document["guarded"] = written.guarded
        if shape != "trl":
            document |= {
                "shape": shape,
                "not_held": [{"id": each, "reason": reason} for each, reason in written.unheld],
            }
        print_json(document)
        return
    left = len(every) - len(kept)
    why = "by their status, or to be drafted" if any(pair.lacks for pair in every) else "by their status"
    if shape != "kto" and any(pair.alone is not None for pair in every):
        why += " (--shape kto takes answers judged alone)"
    left_out = f" {left:,} left out {why}." if left else ""
    note(f"Exported {plural(written.pairs, 'pair')} of {name} to {to}.{left_out}")
    for line in written.told(name):
        note(line)
    if told := bad_lines(name, problems, pairs=len(rows.order)):
        note(told)


def pairs(context: typer.Context, json: Json = False) -> None:
    """List the data sets of the workspace."""
    from workbench.pairs.pair import STATUSES

    workspace = workspace_of(context)
    summaries: list[dict[str, Any]] = []
    failed = False
    for name in workspace.datasets():
        try:
            summaries.append(_summary(name, workspace.pairs_file(name)))
        except WorkbenchError as error:
            # One that cannot be read hides no other.
            failed = True
            show_error(error)
    for name in workspace.misnamed():
        note(f"\u25b2 {name}.jsonl is no data set: names have letters, digits, '.', '_' and '-'. Rename the file.")
    if json:
        print_json(summaries)
    elif summaries:
        header = ("name", "kind", "pairs", *STATUSES, "undrafted", "bad lines")
        cells = [
            [f"{summary[key]:,}" if isinstance(summary[key], int) else summary[key] for key in _KEYS]
            for summary in summaries
        ]
        print_table(header, cells, right=range(2, len(header)))
    elif not failed:
        note(f"No data sets in {workspace.pairs} yet. Bring one in: workbench import FILE")
    if failed:
        raise typer.Exit(1)


_KEYS = ("name", "kind", "pairs", "new", "accepted", "dropped", "flagged", "undrafted", "problems")


def _summary(name: str, path: Path) -> dict[str, Any]:
    from workbench.pairs.pair import STATUSES
    from workbench.pairs.store import load_pairs

    every, problems = load_pairs(path)
    counts = Counter(pair.status for pair in every)
    kind = "empty" if not every else "conversational" if every[0].conversational else "standard"
    by_status: dict[str, Any] = {status: counts[status] for status in STATUSES}
    undrafted = sum(bool(pair.lacks) for pair in every)
    counted = {"pairs": len(every), **by_status, "undrafted": undrafted, "problems": len(problems)}
    return {"name": name, "kind": kind, **counted}


def source_of(source: str, subset: str | None, split: str | None, progress: OnRead) -> Source:
    """The rows of a file, a folder or a Hugging Face data set. Raises `WorkbenchError` where there is none of these."""
    from workbench.pairs.readers import SUFFIXES
    from workbench.pairs.sources import ARCHIVE, Source, open_source
    from workbench.pairs.unpacking import ENDINGS

    path = path_given(source)
    if path.exists():
        return open_source(path, subset=subset, split=split, progress=progress)
    if path.suffix.lower() in (*SUFFIXES, *ENDINGS, ARCHIVE) or not _HUB_ID.fullmatch(source):
        raise WorkbenchError("No such file", f"There is no file {source}.", "Check the path.")
    from workbench.engine.hub import read_hub

    return Source(read_hub(source, subset=subset, split=split, progress=progress))


def _report(name: str, source: Source, imported: Imported) -> dict[str, Any]:
    return {
        "name": name,
        "kind": _kind(imported),
        "imported": len(imported.pairs),
        "converted": imported.converted,
        "undrafted": imported.undrafted,
        "judged": imported.judged,
        "read_as": [{"words": words, "pairs": pairs} for words, pairs in imported.read_as],
        "unused": list(imported.unused),
        "rankings": {
            "rows": imported.rankings,
            "pairing": imported.pairing,
            "pairs": dict(imported.of_rankings),
        },
        "ties": imported.ties,
        "skipped": len(imported.problems),
        "duplicates": imported.duplicates,
        "problems": [problem.to_json() for problem in imported.problems],
        "files": list(source.files),
        "held_out_files": list(source.held_out),
        "left_out": [{"file": left.file, "reason": left.reason} for left in source.left_out],
    }


def _kind(imported: Imported) -> str:
    return "conversational" if imported.conversational else "standard"


_JUDGED = {True: "good", False: "bad"}


def _foretell(sample: Imported) -> list[str]:
    """Says what is made of the columns, and of the first row, before anything is written; returns what it said."""
    from workbench.pairs.importers import in_words, ranking_choice
    from workbench.pairs.pair import plain
    from workbench.pairs.readable import readable

    said = [*in_words(sample), *ranking_choice(sample)]
    for words in said:
        note(words)
    if sample.pairs:
        first = next((pair for pair in sample.pairs if not pair.lacks), sample.pairs[0])
        asked = one_line(readable(first.prompt, folded=True), 60)
        chosen, rejected = (
            repr(one_line(readable(text, folded=True), 60))
            if plain(text).strip()
            else "an answer that is to be drafted"
            for text in (first.chosen, first.rejected)
        )
        if sample.judged and first.alone is not None:
            note(f"First: asked {asked!r}, {chosen if first.alone else rejected} is judged {_JUDGED[first.alone]}.")
        else:
            note(f"First: asked {asked!r}, the model will prefer {chosen} over {rejected}.")
    return said


def _tell(
    name: str, target: Path, source: Source, imported: Imported, *, dry_run: bool, foretold: Sequence[str]
) -> None:
    from workbench.pairs.importers import first_problems, in_words, ranking_choice

    count = plural(len(imported.pairs), f"{_kind(imported)} pair")
    if dry_run:
        note(f"Would import {count} as {name}. Nothing is written.")
    else:
        note(f"Imported {count} as {name} ({target}).")
    for remark in source.remarks():
        note(one_line(remark, 400))
    for words in (*in_words(imported), *ranking_choice(imported)):
        if words not in foretold:
            note(words)
    if imported.converted:
        note(
            f"{plural(imported.converted, 'pair was', 'pairs were')} plain text: now a user turn and an assistant turn,"
            " as a chat model is asked. --plain keeps plain text."
        )
    elif imported.templated:
        note("Its prompts have a chat template filled in, so they stay plain text. --conversational makes turns of it.")
    if imported.judged:
        note(
            f"{plural(imported.judged, 'answer is', 'answers are')} judged good or bad alone: --method kto trains on"
            f" such; workbench draft {quoted(name)} --as rejected (or chosen) makes pairs of them."
        )
    if lacking := imported.undrafted - imported.judged:
        lacks = plural(lacking, "pair lacks", "pairs lack")
        note(
            f"{lacks} an answer and cannot train before it is there:"
            f" workbench draft {quoted(name)} --as rejected (or chosen)"
            " has it drafted; where a column has it: --map rejected=COLUMN."
        )
    if imported.duplicates:
        note(f"{imported.duplicates:,} duplicates were left out.")
    if imported.problems:
        note(f"{plural(len(imported.problems), 'row')} could not be used:")
        note(first_problems(imported))
