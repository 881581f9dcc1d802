"""check: what is wrong with a data set, and the repairs that are safe."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workbench.cli.context import AllowPickle, Json, TrustCode, workspace_of
from workbench.console import StatusLine, confirm, note, print_json, say
from workbench.errors import WorkbenchError
from workbench.figures import plural
from workbench.text import one_line, quoted
from workbench.trust import Trust

if TYPE_CHECKING:
    from pathlib import Path

    from workbench.pairs.checks.findings import CheckFinding, ChecksReport
    from workbench.pairs.checks.repairs import Repair

_EXAMPLES = """\b
Examples:
  workbench check hh
  workbench check hh --model tiny --max-length 512
  workbench check hh --model ~/models/base --set chat_template=qwen3 --set template.enable_thinking=false
  workbench check hh --fix duplicate
\b
Errors are pairs that cannot teach what they say, or that make an evaluation false; warnings are likely mistakes.
Refusals and exchanged pairs are found by simple signs: read them. Dropped pairs are left out: they never train.
Exit status: 0 no error was found (warnings may have been), 1 an error was found, 2 wrong usage or input. With --fix:
0 mended, or nothing to mend; 1 not confirmed.
"""
_SHOWN = 5
_BAR = 30


def register(app: typer.Typer) -> None:
    """Adds this module's command to `app`."""
    app.command(epilog=_EXAMPLES)(check)


def check(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The data set.")],
    model: Annotated[
        str | None,
        typer.Option(help="Count tokens as this model would: a folder, a Hugging Face id, or tiny. Default: words."),
    ] = None,
    max_length: Annotated[int, typer.Option(min=1, help="Tokens that a pair may have; with --model.")] = 1024,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Render turns as train does with the same setting: chat_template=FILE, template.NAME=VALUE.",
        ),
    ] = None,
    fast: Annotated[bool, typer.Option("--fast", help="Without near-duplicates, which take longest.")] = False,
    fix: Annotated[
        str | None, typer.Option(metavar="CHECK", help="Mend what this check finds: one step that u undoes.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Mend without asking.")] = False,
    trust_remote_code: TrustCode = False,
    allow_pickle: AllowPickle = False,
    json: Json = False,
) -> None:
    """Say what is wrong with a data set, which pairs those are, and what to do."""
    from workbench.config import rendering
    from workbench.pairs.checks.findings import CHECKS, SLOW
    from workbench.pairs.checks.run import check_rows
    from workbench.pairs.lines import bad_lines
    from workbench.pairs.store import load_rows

    if set_ and model is None:
        raise WorkbenchError("--set needs a model", "Without --model no token is counted.", "Say which: --model M")
    rendered = rendering({}, set_ or [])
    if fix is not None:
        _refuse_unknown(fix, model)
    path = workspace_of(context).existing_pairs_file(name)
    rows = load_rows(path)
    problems = rows.base.problems
    left_out = SLOW if fast else frozenset()
    if fix is not None:
        left_out = frozenset(CHECKS) - {fix, *_FAMILY.get(fix, ())}
    with StatusLine() as line:

        def progress(check: str, share: float) -> None:
            line.show(f"{check} {share:.0%}")

        report = check_rows(
            rows,
            model=model,
            max_length=max_length,
            rendering=rendered,
            trust=Trust(trust_remote_code, allow_pickle),
            leave_out=left_out,
            on_progress=progress,
        )
    if fix is not None:
        _mend(path, report, fix, yes=yes, json=json)
        return
    if json:
        print_json(_document(report, len(problems)))
    else:
        counted = "".join(f" --set {quoted(setting)}" for setting in set_ or [])
        _tell(name, report, f" --model {quoted(model)}{counted}" if model else "")
        if told := bad_lines(name, problems, pairs=report.rows):
            note(told)
    if report.has_errors:
        raise typer.Exit(1)


_FAMILY = {
    "empty-turn": ("empty",),
    "undrafted": ("empty",),
    "balance": ("empty",),
    "identical-words": ("identical",),
    "good-and-bad": ("repeated-answer",),
    "lost-characters": ("encoding",),
    "identical-cut": ("tokens",),
    "plain-text": ("tokens",),
}
"""Checks that find more than one kind of thing go by the name of the first."""


def _refuse_unknown(fix: str, model: str | None) -> None:
    from workbench.pairs.checks.findings import NEEDS_MODEL
    from workbench.pairs.checks.repairs import REPAIRS

    if fix not in REPAIRS:
        raise WorkbenchError(
            f"Nothing mends {fix!r}",
            "There is a repair for: " + ", ".join(REPAIRS) + ".",
            "What other checks find is for people to decide: see it with workbench check, or on the Pairs screen.",
        )
    if fix in NEEDS_MODEL and model is None:
        raise WorkbenchError(f"{fix} needs a model", "Tokens are a model's.", "Say which: --model M")


def _mend(path: Path, report: ChecksReport, fix: str, *, yes: bool, json: bool) -> None:
    from workbench.pairs.checks.repairs import REPAIRS, repair_for
    from workbench.pairs.store import PairStore

    finding = next((finding for finding in report.findings if finding.check == fix), None)
    repair: Repair | None = repair_for(finding) if finding else None
    if repair is None or not repair.ids:
        note(f"Nothing to mend: {fix} finds nothing in {path.stem}.")
        if json:
            print_json({"check": fix, "changed": 0})
        return
    if not yes:
        if not sys.stdin.isatty():
            raise WorkbenchError(
                f"{len(repair.ids):,} pairs would change", f"{fix}: {REPAIRS[fix]}.", "Confirm with --yes."
            )
        if not confirm(repair.question):
            raise typer.Exit(1)
    with StatusLine() as line, PairStore(path) as store:
        line.show(f"{repair.description} …")
        changed = len(store.update(repair.ids_in(store.rows), repair.change, repair.description))
    note(f"{repair.description[0].upper()}{repair.description[1:]}: {changed:,} pairs of {path.stem} changed.")
    if json:
        print_json({"check": fix, "changed": changed})


def _document(report: ChecksReport, problems: int) -> dict[str, Any]:
    from workbench.pairs.checks.repairs import REPAIRS

    return {
        "rows": report.rows,
        "checked": report.checked,
        "problems": problems,
        "findings": [
            finding.to_json(repair=finding.check in REPAIRS and finding.to_mend != ()) for finding in report.findings
        ],
        "lengths": dict(report.lengths),
    }


def _tell(name: str, report: ChecksReport, counted: str) -> None:
    """`counted`: the options by which tokens were counted."""
    from workbench.pairs.checks.findings import NEEDS_MODEL
    from workbench.pairs.checks.repairs import REPAIRS

    for finding in report.findings:
        tell_finding(finding, "pairs")
        if finding.check in REPAIRS and finding.to_mend != ():
            how = counted if finding.check in NEEDS_MODEL else ""
            again = f"workbench check {quoted(name)}{how} --fix {quoted(finding.check)}"
            say(f"    mend: {again}   ({REPAIRS[finding.check]})")
    if report.lengths.get("pairs"):
        _tell_lengths(report)
    left_out = report.rows - report.checked
    dropped = f" ({left_out:,} that are dropped or to be drafted left out)" if left_out else ""
    kinds = plural(len(report.findings), "finding") if report.findings else "nothing found"
    note(f"{plural(report.checked, 'pair')} of {name} checked{dropped}: {kinds}.")


def tell_finding(finding: CheckFinding, things: str) -> None:
    """A finding on stdout, with the first of the `things` that it names."""
    say(f"{finding.severity:<8} {finding.check}: {one_line(finding.message)}")
    say(f"    {one_line(finding.hint)}")
    shown = ", ".join(one_line(identity, 40) for identity in finding.ids[:_SHOWN])
    if finding.ids:
        more = finding.count - _SHOWN
        say(f"    {things}: {shown}" + (f" and {more:,} more (--json names all)" if more > 0 else ""))


def _tell_lengths(report: ChecksReport) -> None:
    lengths = report.lengths
    low, high = lengths["longer_wins_interval"]
    say(
        f"lengths  chosen {lengths['mean_chosen']:.1f}, rejected {lengths['mean_rejected']:.1f} {lengths['unit']} on "
        f'average; "the longer wins" scores {lengths["longer_wins"]:.1%} (95%: {low:.1%} to {high:.1%})'
    )
    most = max(bar["pairs"] for bar in lengths["histogram"])
    for bar in lengths["histogram"]:
        say(f"    {bar['bar']:<22} {bar['pairs']:>7,}  {'█' * round(_BAR * bar['pairs'] / most)}".rstrip())
