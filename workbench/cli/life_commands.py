"""stop, pause, continue, resume, trust, queue, move, label, delete, trash: looking after runs."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workbench.cli.context import (
    RUN,
    RUN_ID,
    Json,
    Run,
    RunToEnd,
    TrustRun,
    Watch,
    Yes,
    ask_about,
    examples,
    folder_of,
    own_folder_of,
    workspace_of,
)
from workbench.cli.run_results import accompany, result
from workbench.console import confirm, note, print_json, print_table, say
from workbench.errors import WorkbenchError
from workbench.text import quoted

if TYPE_CHECKING:
    from workbench.runs.folder import RunFolder

Wait = Annotated[bool, typer.Option("--wait", help="Come back when it has ended.")]


def register(app: typer.Typer) -> None:
    """Adds this module's commands to `app`."""
    app.command(epilog=examples(f"stop {RUN_ID}", f"stop {RUN_ID} --wait", f"stop {RUN_ID} --now"))(stop)
    app.command(epilog=examples(f"pause {RUN}"))(pause)
    app.command("continue", epilog=examples(f"continue {RUN}"))(continue_)
    app.command(epilog=examples(f"resume {RUN}", f"resume {RUN} --wait --json"))(resume)
    app.command("trust", epilog=examples(f"trust {RUN}", f"trust {RUN} --yes"))(trust_run)
    app.command(epilog=examples("queue", "queue --json"))(queue)
    app.command(epilog=examples(f"move {RUN} --first", f"move {RUN} --down"))(move)
    app.command(
        epilog=examples(
            f"label {RUN} --name 'beta 0.3' --tag keep --note 'Polite, but too long.'",
            f"label {RUN_ID} --untag keep --archive",
            f"label {RUN}",
        )
    )(label)
    app.command(epilog=examples(f"delete {RUN_ID}", f"trash --restore {RUN_ID}"))(delete)
    app.command(epilog=examples("trash", f"trash --restore {RUN_ID}", "trash --empty"))(trash)


def stop(
    context: typer.Context,
    run: RunToEnd,
    now: Annotated[
        bool, typer.Option("--now", help="End it by force, losing the steps since the last checkpoint.")
    ] = False,
    wait: Wait = False,
    json: Json = False,
) -> None:
    """Ask a run to end after the step it is at, with a checkpoint and the adapter saved.

    A run that waits for its turn leaves the queue. One that has not ended when its setting stop_grace is over is ended
    by force. Either can be resumed.
    """
    from workbench.runs.process import kill, request_stop, seconds_to_kill, status

    folder = folder_of(context, run, to_end=True)
    note(f"Stopping {folder.id}")
    if now:
        kill(folder)
        note(f"{folder.id} was ended by force. To go on from its last checkpoint: workbench resume {quoted(folder.id)}")
    else:
        waiting = status(folder, folder.state()) == "queued"
        request_stop(folder)
        left = seconds_to_kill(folder)
        note(
            f"{folder.id} leaves the queue."
            if waiting
            else f"{folder.id} stops after the step it is at. It has {left or 0:.0f} s for that."
        )
    lost = _wait_for_end(folder) if wait else False
    if json:
        _print_result(folder)
    if lost:
        raise typer.Exit(1)


def pause(context: typer.Context, run: Run, json: Json = False) -> None:
    """Let a run wait after the step it is at, until `continue`. It keeps its memory and its turn on the device."""
    from workbench.runs.process import request_pause

    folder = folder_of(context, run)
    request_pause(folder)
    note(f"{folder.id} waits after the step it is at. To go on: workbench continue {quoted(folder.id)}")
    if json:
        _print_result(folder)


def continue_(context: typer.Context, run: Run, json: Json = False) -> None:
    """Let a paused run go on. For one that has stopped or failed, see `resume`."""
    from workbench.runs.process import request_continue

    folder = folder_of(context, run)
    request_continue(folder)
    note(f"{folder.id} goes on.")
    if json:
        _print_result(folder)


def resume(
    context: typer.Context,
    run: Run,
    wait: Watch = False,
    trust: TrustRun = False,
    json: Json = False,
) -> None:
    """Go on with a run that was stopped, failed or was lost, from its last complete checkpoint.

    Data order, optimizer, scheduler and random numbers go on where they were, as if nothing had happened.
    """
    from workbench.runs.checkpoints import complete, torn
    from workbench.runs.process import resume as start_again

    folder = own_folder_of(context, run, trust=trust)
    start_again(folder)
    for path, wrong in torn(folder):
        note(f"{path.name} is skipped: it {wrong}.")
    whole = complete(folder)
    note(
        f"{folder.id} goes on from {whole[-1].name}." if whole else f"{folder.id} starts again: nothing was saved yet."
    )
    accompany(folder, wait=wait, json=json)


def trust_run(context: typer.Context, run: Run, yes: Yes = False) -> None:
    """Take a run that was not made here for your own, after a look at what it names.

    A run is signed by the key of the user who made it. One that came from elsewhere, or whose run.toml was changed,
    may name commands and Python to run, so nothing starts it, measures it, merges it or compares with it before.
    """
    folder = folder_of(context, run)
    if folder.own:
        note(f"{folder.id} was made here.")
        return
    ask_about(folder, trust=yes)
    note(f"{folder.id} is trusted as it is now.")


def queue(context: typer.Context, json: Json = False) -> None:
    """List the runs that wait for a device of this machine, in order, and the run that trains on it."""
    from workbench.runs.lease import queues

    all_queues = queues()
    if json:
        print_json(
            [
                {
                    "device": line.device,
                    "running": _named(line.holder) if line.holder else None,
                    "waiting": [_named(path) | {"place": place} for place, path in enumerate(line.waiting, 1)],
                }
                for line in all_queues
            ]
        )
        return
    if not all_queues:
        note("No run trains or waits on this machine.")
        return
    here = workspace_of(context).runs
    rows = []
    for line in all_queues:
        rows += [[line.device, "running", _shown(line.holder, here)]] if line.holder else []
        rows += [[line.device, f"next {place}", _shown(path, here)] for place, path in enumerate(line.waiting, 1)]
    print_table(["device", "turn", "run"], rows)


def move(
    context: typer.Context,
    run: Run,
    first: Annotated[bool, typer.Option("--first", help="Before all others that wait.")] = False,
    up: Annotated[bool, typer.Option("--up", help="One place earlier.")] = False,
    down: Annotated[bool, typer.Option("--down", help="One place later.")] = False,
    json: Json = False,
) -> None:
    """Give a run that waits for its turn another place in the queue. Exactly one of the options is needed."""
    from workbench.runs.lease import move as move_by

    if first + up + down != 1:
        raise WorkbenchError("Where to?", "One of --first, --up and --down is needed.", "See: workbench move --help")
    folder = folder_of(context, run)
    place = move_by(folder, -sys.maxsize if first else -1 if up else 1)
    note(f"{folder.id} is number {place} in the queue.")
    if json:
        print_json({"id": folder.id, "place": place})


def label(
    context: typer.Context,
    run: Run,
    name: Annotated[str | None, typer.Option(metavar="TEXT", help="What to call it; '' for nothing.")] = None,
    text: Annotated[str | None, typer.Option("--note", metavar="TEXT", help="A note; '' for none.")] = None,
    tag: Annotated[list[str] | None, typer.Option(metavar="T", help="Add a tag; may be given many times.")] = None,
    untag: Annotated[list[str] | None, typer.Option(metavar="T", help="Take a tag away.")] = None,
    archive: Annotated[bool | None, typer.Option("--archive/--no-archive", help="Leave it out of lists.")] = None,
    json: Json = False,
) -> None:
    """Name a run, tag it, keep a note with it, or archive it. Without options, show its labels."""
    from workbench.runs.labels import read, write

    folder = folder_of(context, run, to_end=bool(archive))
    if archive:
        note(f"Archiving {folder.id}")
    before = read(folder)
    tags = [tag for tag in (*before.tags, *(tag or [])) if tag not in (untag or [])]
    after = replace(
        before,
        name=before.name if name is None else name,
        note=before.note if text is None else text,
        tags=tuple(tags),
        archived=before.archived if archive is None else archive,
    )
    if after != before:
        after = write(folder, after)
    if json:
        print_json({"id": folder.id, **asdict(after)})
        return
    say(f"{folder.id}: {after.name or 'no name'}{' (archived)' if after.archived else ''}")
    if after.tags:
        say("  " + " ".join(f"#{tag}" for tag in after.tags))
    if after.note:
        say("  " + after.note.replace("\n", "\n  "))


def delete(context: typer.Context, run: RunToEnd, yes: Yes = False) -> None:
    """Move a run with its adapter and checkpoints to the trash. A running one is refused."""
    from workbench.runs.process import alive
    from workbench.runs.trash import discard

    folder = folder_of(context, run, to_end=True)
    note(f"Deleting {folder.id}")
    if not yes and not alive(folder):
        confirm(f"Move {folder.id} with its adapter and checkpoints to the trash?", abort=True)
    path = discard(workspace_of(context).runs, folder)
    note(f"Moved {folder.id} to the trash. To bring it back: workbench trash --restore {quoted(path.name)}")


def trash(
    context: typer.Context,
    restore: Annotated[str | None, typer.Option(metavar="RUN", help="Bring a run back.")] = None,
    empty: Annotated[bool, typer.Option("--empty", help="Delete for good what lies there.")] = False,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """List the deleted runs, bring one back, or delete them for good."""
    from workbench.runs import trash as bin_

    runs = workspace_of(context).runs
    deleted = [run.id for run in bin_.discarded(runs)]
    if restore is not None:
        if restore not in deleted:
            known = ", ".join(deleted) or "nothing"
            raise WorkbenchError(f"No deleted run {restore!r}", f"In the trash: {known}.", "List it: workbench trash")
        note(f"{bin_.restore(runs / bin_.TRASH / restore).id} is back.")
    if empty:
        if deleted and not yes:
            confirm(f"Delete {len(deleted)} runs for good? This cannot be undone.", abort=True)
        note(f"{bin_.empty(runs)} runs deleted.")
    left = [run.id for run in bin_.discarded(runs)]
    if json:
        print_json(left)
    elif left and restore is None:
        say("\n".join(left))
    elif restore is None and not empty:
        note("Nothing lies in the trash.")


def _wait_for_end(folder: RunFolder) -> bool:
    """Waits until the worker is gone. Returns whether it went without a last word, which is told."""
    from workbench.runs.process import alive, cause_of_loss, status

    while alive(folder):
        time.sleep(0.2)
    if status(folder, folder.state()) != "lost":
        return False
    note(cause_of_loss(folder))
    return True


def _print_result(folder: RunFolder) -> None:
    from workbench.runs.process import status

    state = folder.state()
    print_json(result(folder, state, status(folder, state)))


def _named(path: Path) -> dict[str, str | int]:
    return {"id": path.name, "path": str(path)}


def _shown(path: Path, runs: Path) -> str:
    """A run of this workspace by its id, one of another by its folder."""
    return path.name if path.parent == runs else str(path)
