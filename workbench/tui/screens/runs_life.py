"""The half of the Runs screen that acts on runs: stops and resumes them, moves, names and discards them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from workbench.evidence.background import evaluate, known, write_report
from workbench.runs import labels, lease, process, trash
from workbench.runs.merging import Merging
from workbench.runs.watching import Run
from workbench.tui import figures
from workbench.tui.background import background
from workbench.tui.dialogs.confirm import ConfirmDialog
from workbench.tui.dialogs.label import LabelDialog
from workbench.tui.dialogs.merge import MergeDialog
from workbench.tui.dialogs.read import ReadDialog
from workbench.tui.screens.runs_watch import RunsWatch
from workbench.tui.widgets.run_words import counted, name_of, ordinal, verdicts_in_full

ACTIONS: dict[str, Callable[[Run], bool]] = {
    "stop": lambda run: run.going,
    "kill": lambda run: run.going,
    "pause": lambda run: run.status in ("running", "paused") and not run.stopping,
    "resume": lambda run: run.status in ("stopped", "failed", "lost"),
    "move_in_queue": lambda run: run.status == "queued",
    "delete": lambda run: not run.going,
    "archive": lambda run: not run.going,
    "merge": lambda run: run.folder.adapter.is_dir(),
    "evaluate": lambda run: not run.going and run.folder.adapter.is_dir(),
}
"""What can be done to a run, and when."""


class RunsLife(RunsWatch):
    """Every question is asked before the worker or the folder is touched, and nothing here waits on the UI thread."""

    merging: Merging | None = None
    """The latest merge, which goes on while its dialog is closed."""
    evaluating: str | None = None
    """The name of the run that is being measured."""

    async def _ask(self, question: str, detail: str, *, yes: str, no: str) -> bool:
        return await self.app.push_screen_wait(ConfirmDialog(question, detail, yes=yes, no=no))

    @background("ask", doing="stopping the run", exclusive=True, opens=True)
    async def action_stop(self) -> None:
        """Asks the worker to stop and to save what it has; a second time ends it at once."""
        run = self.current
        if run is None:
            return
        if run.stopping:
            await self._kill(run)
            return
        if run.status == "queued":
            asked = await self._ask(
                f"Take {name_of(run)} out of the queue?",
                "It has not begun. It stays in the list, and r puts it back at the end of the line.",
                yes="Take it out",
                no="Let it wait",
            )
        else:
            grace = run.config.stop_grace if run.config is not None else 0
            asked = await self._ask(
                f"Stop {name_of(run)}?",
                "It finishes the step it is at, saves a checkpoint and the adapter, and ends; r goes on from there. "
                f"If it has not ended within {figures.duration(grace)}, it is killed.",
                yes="Stop and save",
                no="Let it run",
            )
        if asked:
            await asyncio.to_thread(process.request_stop, run.folder)
            self.workbench.tell("Taken out of the queue." if run.status == "queued" else "Stopping after this step …")
            self.look_now(at_list=True)

    @background("ask", doing="killing the run", exclusive=True, opens=True)
    async def action_kill(self) -> None:
        """Ends the worker by force."""
        if self.current is not None:
            await self._kill(self.current)

    async def _kill(self, run: Run) -> None:
        if run.resumes_from is not None or run.state.checkpoints:
            last = max(each.step for each in run.state.checkpoints)
            lost = f"What it learned since its last checkpoint (step {last:,}) is lost."
        else:
            lost = "It has saved no checkpoint yet: all that it learned is lost."
        if await self._ask(f"Kill {name_of(run)} now?", f"{lost} r resumes it.", yes="Kill", no="Let it finish"):
            await asyncio.to_thread(process.kill, run.folder)
            self.look_now(at_list=True)

    @background("ask", doing="pausing the run", exclusive=True)
    async def action_pause(self) -> None:
        """Has the worker wait after this step, or go on."""
        run = self.current
        if run is None:
            return
        if run.folder.pause.exists():
            await asyncio.to_thread(process.request_continue, run.folder)
            self.workbench.tell("Going on.")
        else:
            await asyncio.to_thread(process.request_pause, run.folder)
            self.workbench.tell("Pausing after this step. It keeps its memory; space continues.")
        self.look_now(at_list=True)

    @background("ask", doing="resuming the run", exclusive=True, opens=True)
    async def action_resume(self) -> None:
        """Starts a worker again, from the last complete checkpoint."""
        run = self.view.run_shown
        if run is None or self.current is not run:
            return
        if run.resumes_from is None:
            told = "It has no complete checkpoint: it begins again from the first step."
        else:
            again = run.state.step - run.resumes_from
            told = f"It goes on after step {run.resumes_from:,} with the data order, optimizer and schedule of then."
            told += f" The {again:,} steps after it are made again." if again > 0 else ""
        told += "".join(f"\n{name} {why}: it is skipped." for name, why in run.torn)
        if await self._ask(f"Resume {name_of(run)}?", told, yes="Resume", no="Leave it"):
            await asyncio.to_thread(process.resume, run.folder)
            self.look_now(at_list=True)

    @background("ask", doing="moving the run in the queue", exclusive=True)
    async def action_move_in_queue(self, places: int) -> None:
        """Moves a waiting run earlier or later in the line."""
        run = self.current
        if run is not None:
            place = await asyncio.to_thread(lease.move, run.folder, places)
            self.workbench.tell(f"{name_of(run)} is {ordinal(place)} in line.")
            self.look_now(at_list=True)

    @background("ask", doing="deleting the run", exclusive=True, opens=True)
    async def action_delete(self) -> None:
        """Moves the run's folder to the trash."""
        run = self.current
        if run is None:
            return
        asked = await self._ask(
            f"Delete {name_of(run)}?",
            "Its folder, with adapter, checkpoints, events and log, moves to runs/.trash and can be moved back.",
            yes="Delete",
            no="Keep",
        )
        if asked:
            self.discarded.add(run.id)
            where = await asyncio.to_thread(trash.discard, self.workbench.workspace.runs, run.folder)
            self.workbench.tell(f"Moved to {where.relative_to(self.workbench.workspace.root)}.")
            self.overlaid = [each for each in self.overlaid if each != run.id]
            self.remove_class("-open")
            self.table.focus()
            self.look_now(at_list=True)

    def action_merge(self) -> None:
        """Merges the run's adapter into its base, in a process of its own; while one does, shows how far it is."""
        run = self.current
        going = self.merging is not None and self.merging.running
        if run is None and not going:
            return
        if not going and run is not None:
            self.merging = Merging(run.folder)
        if self.merging is not None:
            self.app.push_screen(MergeDialog(self.merging, self.workbench.workspace))

    @background("ask", doing="naming the run", exclusive=True, opens=True)
    async def action_label(self) -> None:
        """Asks for name, tags and note."""
        run = self.current
        if run is None:
            return
        given = await self.app.push_screen_wait(LabelDialog(run.id, run.labels))
        if given is not None and given != run.labels:
            await asyncio.to_thread(labels.write, run.folder, given)
            self.look_now(at_list=True)

    @background("report", doing="writing the report", exclusive=True)
    async def action_report(self) -> None:
        """Writes the page about the run into its folder."""
        run = self.current
        if run is None:
            return
        self.workbench.tell(f"Writing the report of {name_of(run)} …")
        headline = await write_report(run.folder)
        self.workbench.tell(f"{headline} {run.folder.report.relative_to(self.workbench.workspace.root)}")

    @background("ask", doing="asking about the evaluation", exclusive=True, opens=True)
    async def action_evaluate(self) -> None:
        """Shows the verdicts about the run, measures it, or gives up measuring."""
        run = self.current
        if self.evaluating is not None:
            detail = "What was measured before stays as it is."
            if await self._ask(f"Give up measuring {self.evaluating}?", detail, yes="Give up", no="Go on"):
                self.workers.cancel_group(self, "evaluate")
            return
        if run is None:
            return
        if run.folder.evidence.exists():
            detail = "Its verdicts can be shown as they are, or everything measured again on the suites of now."
            if not await self._ask(f"Measure {name_of(run)} again?", detail, yes="Measure again", no="Show them"):
                found = await asyncio.to_thread(known, run.folder)
                self.app.push_screen(ReadDialog(f"{name_of(run)}: {counted(found)}", verdicts_in_full(found)))
                return
        self._evaluate(run)

    @background("evaluate", doing="evaluating the run", exclusive=True)
    async def _evaluate(self, run: Run) -> None:
        name = self.evaluating = name_of(run)
        try:
            workspace = self.workbench.workspace
            found = await evaluate(workspace, run.folder, lambda text: self.workbench.tell(f"{name}: {text} …"))
        finally:
            self.evaluating = None
        self.app.push_screen(ReadDialog(f"{name}: {counted(found)}", verdicts_in_full(found)))

    @background("ask", doing="archiving the run", exclusive=True)
    async def action_archive(self) -> None:
        """Hides a run from the table, or shows it again."""
        run = self.current
        if run is None:
            return
        archived = not run.labels.archived
        await asyncio.to_thread(labels.write, run.folder, replace(run.labels, archived=archived))
        seen = "" if self.with_archived else " a shows archived runs."
        self.workbench.tell(f"{name_of(run)} is {'archived' if archived else 'back'}.{seen if archived else ''}")
        self.look_now(at_list=True)
