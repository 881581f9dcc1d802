"""merge, serve-command and push: from a run to a model that others load, and how to serve either."""

from __future__ import annotations

import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from workbench.cli.context import (
    RUN,
    Json,
    Run,
    TrustRun,
    Yes,
    ask_about,
    examples,
    folder_of,
    own_folder_of,
    path_given,
    workspace_of,
)
from workbench.console import StatusLine, ask, confirm, note, print_json, say
from workbench.errors import WorkbenchError
from workbench.figures import plural
from workbench.text import one_line, quoted

if TYPE_CHECKING:
    from workbench.runs.folder import RunFolder
    from workbench.runs.merging import Merged

Dtype = Annotated[Literal["bf16", "fp16", "fp32"], typer.Option(help="The width of the merged weights.")]

_LICENSE = re.compile(r"[a-z0-9][a-z0-9.+-]{1,60}")
_SHOWN_ANSWERS = 3
_ANSWER = 100
"""Characters of an answer that are printed; --json has it whole."""


def register(app: typer.Typer) -> None:
    """Adds the commands to `app`."""
    app.command(
        epilog=examples(
            f"merge {RUN} --to ~/models/polite",
            f"merge {RUN} --to ~/models/polite --dtype fp16 --force --json",
            f"merge {RUN} --to ~/models/polite.gguf",
        )
    )(merge)
    app.command("serve-command", epilog=examples(f"serve-command {RUN}", "serve-command ~/models/polite"))(
        serve_command
    )
    app.command(
        epilog=examples(
            f"push {RUN} --to me/polite-lora --private",
            f"push {RUN} --to me/polite --merged",
            "push ~/models/polite --to me/polite --yes --json",
            "push tone --to me/tone-pairs --license cc-by-4.0",
        )
    )(push)


def merge(
    context: typer.Context,
    run: Run,
    to: Annotated[
        Path, typer.Option("--to", metavar="DIR", parser=path_given, help="A new folder; or a file ending in .gguf.")
    ],
    dtype: Dtype = "bf16",
    form: Annotated[
        Literal["safetensors", "gguf"] | None,
        typer.Option("--format", help="Default: gguf where --to ends in .gguf, else safetensors."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a model that is there already.")] = False,
    trust: TrustRun = False,
    json: Json = False,
) -> None:
    """Merge a run's adapter into its base: a plain checkpoint that transformers and vLLM load.

    The base is loaded anew, not taken from its 4-bit weights, so the merged model is not quite the one that was
    trained. Told at the end, and in the model card: how far the log-probabilities of the run's held-out pairs moved,
    how many changed sides, and greedy answers that are others now; with a warning where that is past the bounds in
    workbench.toml, section [merge]. It takes the size of the merged model in memory and on the disk (for GGUF twice
    that on the disk).
    """
    from workbench.runs.merge_bounds import read_bounds

    form = form or ("gguf" if to.suffix == ".gguf" else "safetensors")
    bounds = read_bounds(workspace_of(context).settings)
    merged = _merge(own_folder_of(context, run, trust=trust), to, dtype=dtype, form=form, force=force, bounds=bounds)
    if json:
        print_json(asdict(merged))
    else:
        _print_merged(merged, run)


def serve_command(
    context: typer.Context,
    what: Annotated[str, typer.Argument(metavar="RUN|DIR", help="A run, or the folder of a merged model.")],
    json: Json = False,
) -> None:
    """Print the vLLM command line that serves a run's adapter on its base, or a merged model."""
    from workbench.runs.serving import serve_adapter, serve_merged

    path = path_given(what).expanduser()
    merged = (path / "config.json").is_file()
    command = serve_merged(path) if merged else serve_adapter(folder_of(context, what))
    if json:
        print_json({"kind": "merged" if merged else "adapter", "command": command})
    else:
        say(command)


def push(
    context: typer.Context,
    what: Annotated[str, typer.Argument(metavar="RUN|DIR|NAME", help="A run, a merged model's folder, or a data set.")],
    to: Annotated[str, typer.Option("--to", metavar="USER/NAME", help="The repository; made where there is none.")],
    private: Annotated[bool, typer.Option("--private", help="Only for yourself and whom you let in.")] = False,
    merged: Annotated[bool, typer.Option("--merged", help="Merge the run first, and send that.")] = False,
    dtype: Dtype = "bf16",
    license_: Annotated[
        str | None, typer.Option("--license", metavar="ID", help="Of a data set: cc-by-4.0, mit, other, … Else asked.")
    ] = None,
    accepted_only: Annotated[
        bool, typer.Option("--accepted-only", help="Of a data set: only pairs that were accepted.")
    ] = False,
    judged: Annotated[
        bool, typer.Option("--judged", help="Of a data set: answers judged alone too, beside its pairs.")
    ] = False,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Upload a run's adapter, a merged model or a data set to the Hugging Face hub, with its card, after asking.

    A data set goes as Parquet, in a train and a test split (what a run holds out), so that load_dataset feeds TRL; its
    card has the license, the counts and what the checks found. Dropped pairs stay here, and statuses and notes. Answers
    judged alone go as TRL's KTO reads them (prompt, completion, label): by themselves, or with --judged beside pairs,
    as the configuration kto, which load_dataset("USER/NAME", "kto") gives.

    Shown before: every file with its size, the repository, and whether everybody will see it. The token is that of
    `hf auth login`, or HF_TOKEN; it is never shown.
    """
    import tempfile

    path = path_given(what).expanduser()
    if path.is_dir():
        if merged:
            raise WorkbenchError("Nothing to merge", f"{path} is a folder.", "--merged is for runs.")
        _push(path, to, private=private, yes=yes, json=json)
        return
    if what in workspace_of(context).datasets():
        if merged:
            raise WorkbenchError("Nothing to merge", f"{what} is a data set.", "--merged is for runs.")
        which = {"accepted_only": accepted_only, "judged": judged}
        _push_data_set(context, what, to, license_, which, private=private, yes=yes, json=json)
        return
    from workbench.runs.merge_bounds import read_bounds
    from workbench.runs.serving import adapter_settings

    folder = folder_of(context, what)
    adapter_settings(folder)  # says so where there is none
    if not merged:
        _push(folder.adapter, to, private=private, yes=yes, json=json)
        return
    ask_about(folder, trust=False)
    with tempfile.TemporaryDirectory(prefix=".push-", dir=workspace_of(context).root) as scratch:
        model = Path(scratch) / folder.id
        merged_model = _merge(folder, model, dtype=dtype, bounds=read_bounds(workspace_of(context).settings))
        for difference in merged_model.differences:
            note(f"\u25b2 Merged, it is not what was trained: {difference}")
        _push(model, to, private=private, yes=yes, json=json)


def _merge(folder: RunFolder, to: Path, **how: Any) -> Merged:
    """Merges with its stages on stderr, a line each, at a terminal with the share that is done."""
    from workbench.engine.libraries import quick_imports, quiet_libraries

    quiet_libraries()
    with quick_imports():
        from workbench.engine.shipping.merge_adapter import merge

    with StatusLine() as line:
        return merge(folder, to, **how, progress=line.stage)


def _push_data_set(
    context: typer.Context, name: str, repo: str, license_id: str | None, which: dict[str, bool], **how: bool
) -> None:
    import tempfile

    from workbench.pairs.checks.run import check_rows
    from workbench.pairs.publishing import publish
    from workbench.pairs.store import load_rows

    if license_id is None:
        if how["yes"] or not sys.stdin.isatty():
            raise WorkbenchError(
                "No license is named", f"Nobody may use {name} without one.", "Name it: --license cc-by-4.0"
            )
        license_id = ask("License (cc-by-4.0, apache-2.0, mit, other, …)")
    if not _LICENSE.fullmatch(license_id):
        raise WorkbenchError("Not a license", f"{license_id!r} is none of the hub's.", "Write it as cc-by-4.0 is.")
    workspace = workspace_of(context)
    rows = load_rows(workspace.existing_pairs_file(name))
    with StatusLine() as line:
        report = check_rows(rows, on_progress=lambda check, share: line.show(f"{check} {share:.0%}"))
    with tempfile.TemporaryDirectory(prefix=".push-", dir=workspace.root) as scratch:
        folder = Path(scratch) / name
        published = publish(folder, repo, rows, report, license_id=license_id, **which)
        note(f"{'; '.join(map(str, published.parts))}; license {license_id}.")
        if published.left_out:
            note(f"Left out: {plural(published.left_out, 'pair')}, dropped, to be drafted or not accepted.")
        if published.left_alone:
            answers = plural(published.left_alone, "of them is an answer", "of them are answers")
            note(f"  {answers} judged alone: --judged sends these too, for KTO.")
        for finding in report.findings:
            if finding.severity == "error":
                note(f"\u25b2 {finding.check}: {one_line(finding.message, 200)}")
        _push(folder, repo, kind="dataset", **how)


def _push(
    folder: Path, repo: str, *, private: bool, yes: bool, json: bool, kind: Literal["model", "dataset"] = "model"
) -> None:
    from workbench.runs.push import prepare, push

    upload = prepare(folder, repo, "private" if private else "public", kind)
    for name, size in upload.files:
        note(f"  {size / 1e6:>10,.2f} MB  {name}")
    seen = upload.there or upload.visibility
    note(f"  {upload.bytes / 1e6:>10,.2f} MB  to {upload.endpoint}/{repo}, as {upload.user}")
    note(f"  The repository {'exists and is' if upload.there else 'will be made,'} {seen}.")
    for remark in upload.remarks:
        note(f"  Note: {remark}")
    if not yes:
        reach = "everybody can then download it" if seen == "public" else "private"
        confirm(f"Upload {len(upload.files)} files to {repo} ({reach})?", abort=True)
    where = push(upload)
    if json:
        document = {"repo": repo, "url": where, "visibility": seen, "bytes": upload.bytes}
        print_json(document | {"files": [name for name, _ in upload.files]})
    else:
        say(where)


def _print_merged(merged: Merged, run: str) -> None:
    say(f"{merged.path}: {merged.parameters:,} parameters in {merged.dtype}, {merged.bytes / 1e9:.2f} GB")
    say("Log-probabilities of held-out responses, merged minus the adapter as it was trained")
    drift = merged.drift
    told = ["not measured: the run held no pairs out"] if drift is None else [*drift.table(), drift.line()]
    for line in told:
        say(f"  {line}")
    if merged.answers:
        say(f"Held-out prompts, answered by the run and by the merged model: {merged.answers.line()}")
        for answer in merged.answers.other[:_SHOWN_ANSWERS]:
            said = (("prompt", answer.prompt), ("base", answer.base), ("run", answer.run), ("merged", answer.merged))
            for name, text in said:
                say(f"  {name:<7} {one_line(text, _ANSWER)}")
    for difference in merged.differences:
        say(f"\u25b2 {difference}")
    if merged.differences:
        say("  The merged model is not the one that was measured. As it was trained, the run is served by")
        say(f"  workbench serve-command {quoted(run)}")
        if merged.form == "safetensors":
            say("  What merging does to the run's claims is measured by")
            say(f"  workbench evaluate {quoted(run)} --merged {quoted(merged.path)}")
    if merged.serve:
        say(f"Serve it: {merged.serve}")
