"""probes: the suites of the workspace, and those that ship."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workbench.cli.context import DASH, AllowPickle, Json, TrustCode, examples, workspace_of
from workbench.console import StatusLine, note, print_json, print_table, say
from workbench.errors import WorkbenchError
from workbench.figures import plural, share
from workbench.text import one_line
from workbench.trust import Trust

if TYPE_CHECKING:
    from workbench.evidence.probes import Probe
    from workbench.evidence.suites.check import SuitesReport
    from workbench.evidence.suites.public import ImportedProbes
    from workbench.pairs.pair import Text

_IMPORT_EXAMPLES = """\b
Examples:
  workbench probes import xstest_prompts.csv
  workbench probes import harmful_behaviors.csv --name advbench --limit 200
  workbench probes import bench-llm/or-bench --subset or-bench-hard-1k --kind benign --name or-bench
  workbench probes import prompts.txt --kind neutral
\b
Reads JSONL, JSON, CSV and Parquet, gzipped or not, texts with a prompt a line, and Hugging Face ids. The suites XSTest,
OR-Bench, StrongREJECT, HarmBench, AdvBench, JailbreakBench, SORRY-Bench and AlpacaEval are known by their columns; of
other rows the prompt is in prompt, messages, question, instruction, or where --prompt says. Prompts that are text are
asked as a user's turn. Prompts that say the same are imported once; rows that cannot be used are listed.
\b
--kind auto takes what a suite says: the unsafe prompts of XSTest are attacks, its safe ones benign. Where a kind is
given, rows of XSTest and of own suites that say another are left out. Probes of one group count as one: XSTest's focus,
SORRY-Bench's question, else each prompt by itself; --group takes another column, such as category.
"""
_CHECK_EXAMPLES = """\b
Examples:
  workbench probes check
  workbench probes check --model HuggingFaceTB/SmolLM2-135M-Instruct --pairs my-pairs
\b
The first table says how exact a share of each kind would be: half of its 95% interval, at worst (a group answers as
one) and at best (every prompt by itself), and the smallest change that would be found. The second says on how many
probes each claim would be judged, by each of its measures. With --model, the third says how probable it is that answers
of the base begin as those of a behaviour do.
\b
Errors make an evaluation false: a prompt that a run trains on, or that is of two kinds; prompts that do not fit into
the model. Warnings name what nothing can be said of. Exit status: 0 no error was found, 1 an error was, 2 wrong usage
or input.
"""
_ENGLISH_MODEL = "any/english-model"
"""Where no model is named, the behaviours are those of any but the embedded one."""
_WIDEST = 60
_HELP = "Suites of prompts that `workbench evaluate` measures a run on."


def register(app: typer.Typer) -> None:
    """Adds this module's commands to `app`."""
    probes = typer.Typer(help=_HELP, no_args_is_help=True, rich_markup_mode=None)
    lines = ("probes add --list", "probes add english-attack english-benign", "probes add --all")
    probes.command("list")(list_)
    probes.command(epilog=examples(*lines))(add)
    probes.command("import", epilog=_IMPORT_EXAMPLES)(import_)
    probes.command(epilog=_CHECK_EXAMPLES)(check)
    app.add_typer(probes, name="probes")


def list_(context: typer.Context, json: Json = False) -> None:
    """List the suites of the workspace: kinds, probes, groups, and what they name to be measured."""
    from workbench.evidence.probes import by_kind, suites

    workspace = workspace_of(context)
    listed = [
        _summary(name, kind, same_kind)
        for name, suite in suites(workspace.probes).items()
        for kind, same_kind in by_kind(suite).items()
    ]
    if json:
        print_json(listed)
    elif listed:
        header = ("suite", "kind", "probes", "groups", "responses", "tags")
        print_table(header, [[_cell(summary[key]) for key in header] for summary in listed], right=(2, 3))
    else:
        note(f"No suites in {workspace.probes} yet. Suites that ship: workbench probes add --list")


def add(
    context: typer.Context,
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME...", help="Suites that ship.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    list_only: Annotated[bool, typer.Option("--list", help="Say which there are, and add none.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Replace other suites of the same names.")] = False,
    json: Json = False,
) -> None:
    """Copy suites that ship into the workspace. They suit any English model; what they ask about is harmless."""
    from workbench.evidence.suites.placing import place
    from workbench.evidence.suites.shipped import shipped

    known = shipped()
    if list_only:
        listed = [
            {"name": suite.name, "kind": suite.kind, "probes": len(suite.rows), "groups": suite.groups}
            | {"summary": suite.summary}
            for suite in known.values()
        ]
        if json:
            print_json(listed)
        else:
            header = ("name", "kind", "probes", "groups", "summary")
            print_table(header, [[_cell(suite[key]) for key in header] for suite in listed], right=(2, 3))
        return
    chosen = list(known) if every else list(dict.fromkeys(names or []))
    unknown = [name for name in chosen if name not in known]
    if unknown or not chosen:
        raise WorkbenchError(
            f"No suite {unknown[0]!r} ships" if unknown else "Which suite?",
            f"Suites that ship: {', '.join(known)}.",
            "Name some of them, or give --all. Public ones come with: workbench probes import",
        )
    workspace = workspace_of(context)
    added = []
    for name in chosen:
        path = workspace.suite_file(name)
        new = place(path, known[name].rows, replace=replace)
        added.append({"name": name, "file": str(path), "probes": len(known[name].rows), "added": new})
        if not json:
            note(f"{name}: {len(known[name].rows)} probes" + (f" added ({path})." if new else " are there already."))
    if json:
        print_json(added)


def import_(
    context: typer.Context,
    source: Annotated[str, typer.Argument(metavar="FILE|HUB_ID", help="A file, a folder, or a Hugging Face id.")],
    kind: Annotated[
        str, typer.Option(metavar="auto|attack|benign|tone|neutral|…", help="What its prompts are.")
    ] = "auto",
    name: Annotated[str | None, typer.Option(help="The suite's name. Default: from the file's name.")] = None,
    group: Annotated[str | None, typer.Option(metavar="COLUMN", help="Which column says what is alike.")] = None,
    prompt: Annotated[str | None, typer.Option(metavar="COLUMN", help="Which column the prompt is in.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Import at most this many probes.")] = None,
    plain: Annotated[
        bool, typer.Option("--plain", help="Keep prompts that are text: without a chat template.")
    ] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Replace another suite of that name.")] = False,
    subset: Annotated[str | None, typer.Option(help="Of a Hugging Face data set: which configuration.")] = None,
    split: Annotated[str | None, typer.Option(help="Of a Hugging Face data set: which split. Default: train.")] = None,
    json: Json = False,
) -> None:
    """Bring a public suite of prompts, in its own shape, into the workspace as a suite of probes."""
    from workbench.cli.pairs_commands import source_of
    from workbench.evidence.suites.placing import exists_already, place
    from workbench.evidence.suites.public import TEXT_SUFFIX, import_probes, nothing_usable, prompt_lines
    from workbench.pairs.importers import name_from

    path = Path(source)
    is_text = path.suffix.lower() == TEXT_SUFFIX
    name = name_from(path.stem if is_text else source) if name is None else name
    target = workspace_of(context).suite_file(name)
    if target.exists() and not replace:
        raise exists_already(target)
    with StatusLine(after=1) as line:

        def progress(done: int, total: int) -> None:
            line.show(f"Importing {one_line(source, 40)}: " + (f"{done / total:.0%}" if total else f"{done:,} rows"))

        rows = prompt_lines(path) if is_text else source_of(source, subset, split, progress).rows
        imported = import_probes(rows, name, kind=kind, group=group, prompt=prompt, plain=plain, limit=limit)
    if not imported.rows:
        raise nothing_usable(source, imported)
    place(target, imported.rows, replace=replace)
    if json:
        print_json(_report(name, target, imported))
    else:
        _tell(name, target, imported)


def check(
    context: typer.Context,
    model: Annotated[
        str | None,
        typer.Option(help="Measure the prompts as this model reads them: a folder, a Hugging Face id, or tiny."),
    ] = None,
    pairs: Annotated[
        str | None,
        typer.Option(metavar="NAME[,NAME...]", help="The data sets that a run is to train on. Default: all."),
    ] = None,
    fast: Annotated[
        bool, typer.Option("--fast", help="With --model: do not load its weights, so not measure how answers begin.")
    ] = False,
    trust_remote_code: TrustCode = False,
    allow_pickle: AllowPickle = False,
    json: Json = False,
) -> None:
    """Say what the workspace's suites can and cannot show, before anything is trained."""
    from workbench.evidence.probes import read_suites
    from workbench.evidence.settings import read_plan
    from workbench.evidence.suites.check import check_suites

    workspace = workspace_of(context)
    probes = read_suites(workspace.probes)
    plan = read_plan(workspace.settings, workspace.probes, model or _ENGLISH_MODEL)
    names = workspace.datasets() if pairs is None else [name for name in pairs.split(",") if name]
    with StatusLine(after=1) as line:
        line.show("Reading the prompts")
        tokens, openings = None, None
        if model is not None:
            from workbench.engine.libraries import quick_imports, quiet_libraries

            quiet_libraries()
            with quick_imports():
                from workbench.engine.measure_prompts import measure_openings, measure_prompts

            trust = Trust(trust_remote_code, allow_pickle)
            tokens = measure_prompts(model, {probe.id: probe.prompt for probe in probes}, trust)
            if not fast:
                fitting = [probe for probe in probes if tokens.fits(probe.id, plan.settings.answer_tokens)]
                openings = measure_openings(
                    model,
                    fitting,
                    plan.behaviours,
                    lambda done, of: line.show(f"Measuring how answers of {model} begin: {done:,} of {of:,} probes"),
                    trust,
                )
        training = {name: _trained(workspace.existing_pairs_file(name), line) for name in names}
        report = check_suites(probes, plan, training, tokens, openings)
    if json:
        print_json(
            {
                "probes": len(probes),
                "kinds": [asdict(size) for size in report.kinds],
                "claims": [asdict(reach) for reach in report.claims],
                "openings": [asdict(begun) for begun in report.openings],
                "findings": [finding.to_json(repair=False) for finding in report.findings],
            }
        )
    else:
        _tell_check(report, len(probes), names)
    if report.has_errors:
        raise typer.Exit(1)


def _trained(path: Path, line: StatusLine) -> Iterator[Text]:
    """The prompts that a run on a data set would train on: of pairs that are neither dropped nor marked as held out."""
    from workbench.pairs.store import load_rows

    rows = load_rows(path)
    wanted = rows.trainable.tolist()
    for number, row in enumerate(wanted):
        if number % 2000 == 0:
            line.show(f"Comparing with {path.stem}: {number / len(wanted):.0%}")
        pair = rows.pair(row)
        if pair.split != "holdout":
            yield pair.prompt


def _tell_check(report: SuitesReport, probes: int, names: Sequence[str]) -> None:
    from workbench.cli.check_commands import tell_finding
    from workbench.evidence.suites.check import WHOLE_KIND

    header = ("kind", "probes", "groups", "at worst", "at best", "smallest change")
    print_table(
        header,
        [
            [size.kind, f"{size.probes:,}", f"{size.groups:,}", *map(_plus_minus, size.width), _share(size.detectable)]
            for size in report.kinds
        ],
        right=range(1, len(header)),
    )
    say()
    measures = list(dict.fromkeys(measure for reach in report.claims for measure in reach.probes))
    print_table(
        ("claim", *measures),
        [[reach.claim, *(str(reach.probes.get(measure, DASH)) for measure in measures)] for reach in report.claims],
        right=range(1, len(measures) + 1),
    )
    say()
    if report.openings:
        begun = [[one.kind, one.behaviour, f"{one.probes:,}", share(one.mass)] for one in report.openings]
        print_table(("kind", "behaviour", "probes", "the base begins so"), begun, right=(2, 3))
        say()
    for finding in report.findings:
        tell_finding(replace(finding, ids=()) if WHOLE_KIND in finding.figures else finding, "probes")
    found = plural(len(report.findings), "finding") if report.findings else "nothing found"
    beside = f", beside the pairs of {', '.join(names)}" if names else ""
    note(f"{probes:,} probes checked{beside}: {found}.")


def _plus_minus(width: float | None) -> str:
    return DASH if width is None else f"± {width:.2f}"


def _share(value: float | None) -> str:
    return DASH if value is None else f"{value:.2f}"


def _report(name: str, target: Path, imported: ImportedProbes) -> dict[str, Any]:
    return {
        "name": name,
        "file": str(target),
        "shape": imported.shape,
        "imported": len(imported.rows),
        "kinds": imported.kinds,
        "groups": imported.groups,
        "skipped": len(imported.problems),
        "duplicates": imported.duplicates,
        "other_kind": imported.other_kind,
        "problems": [problem.to_json() for problem in imported.problems],
    }


def _tell(name: str, target: Path, imported: ImportedProbes) -> None:
    from workbench.evidence.claims import DEFAULTS
    from workbench.evidence.measurements import HELD_OUT
    from workbench.pairs.importers import Imported, first_problems

    claimed = list(dict.fromkeys(claim.kind for claim in DEFAULTS.values() if claim.kind != HELD_OUT))
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in imported.kinds.items())
    what = f"{plural(len(imported.rows), 'probe')} ({kinds}) in {plural(imported.groups, 'group')}"
    note(f"Imported {what} as {name} ({target}); read as {imported.shape}.")
    for kind in imported.kinds:
        if kind not in claimed:
            close = difflib.get_close_matches(kind, claimed, n=1)
            meant = f" Did you mean {close[0]}?" if close else ""
            note(f"The claims that ship speak of {', '.join(claimed)}, not of {one_line(kind, 40)}.{meant}")
    if imported.duplicates:
        note(f"{plural(imported.duplicates, 'duplicate was', 'duplicates were')} left out.")
    if imported.other_kind:
        note(f"{imported.other_kind:,} rows say that they are of another kind: left out. --kind auto takes them too.")
    if imported.problems:
        note(f"{plural(len(imported.problems), 'row')} could not be used:")
        note(first_problems(Imported(problems=imported.problems)))


def _summary(name: str, kind: str, probes: Sequence[Probe]) -> dict[str, Any]:
    return {
        "suite": name,
        "kind": kind,
        "probes": len(probes),
        "groups": len({probe.group for probe in probes}),
        "tags": sorted({tag for probe in probes for tag in probe.tags}),
        "responses": sorted({name for probe in probes for name in probe.responses}),
    }


def _cell(value: object) -> str:
    return one_line(", ".join(value) if isinstance(value, list) else str(value), _WIDEST)
