"""Every screen and every dialog, over a workspace that gives each of them something to show."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from textual.command import CommandPalette
from textual.content import Content
from textual.pilot import Pilot
from textual.screen import ModalScreen

import workbench.tui.dialogs
from tests.tui.checks_panel import FAULTY
from tests.tui.runs_data import (
    TIME,
    beginning,
    checkpoint,
    displaced,
    make_run,
    samples,
    trained,
    training,
)
from tests.tui.runs_screen import drawn, shows, until
from tests.tui.test_pairs_conflict import CONFLICT
from tests.unit.compare.examples import pair_comparison
from workbench.behaviours.reading import behaviours_of
from workbench.compare.comparison import Comparison
from workbench.compare.scorers import Base
from workbench.compare.tuned_runs import drafters, tuned_runs
from workbench.config import build_config, to_toml
from workbench.errors import WorkbenchError
from workbench.pairs.outward import READERS
from workbench.pairs.pair import Status
from workbench.pairs.session import Which
from workbench.pairs.store import write_pairs
from workbench.runs.catalog import Catalog
from workbench.runs.events import Failed
from workbench.runs.merging import Merging
from workbench.tui.app import WorkbenchApp
from workbench.tui.dialogs.base import Dialog
from workbench.tui.screens.base import WorkbenchScreen
from workbench.tui.widgets.comparison_view import ComparisonView, ViewOptions
from workbench.workspace import Workspace

for _module in pkgutil.iter_modules(workbench.tui.dialogs.__path__, "workbench.tui.dialogs."):
    importlib.import_module(_module.name)

_STATUSES: tuple[Status, ...] = ("new", "accepted", "dropped", "flagged")


def furnished(root: Path) -> Workspace:
    """A workspace with pairs of every status and fault, and runs in every state."""
    pairs = [replace(pair, status=_STATUSES[n % 4], tags=("tone",) * (n % 2)) for n, pair in enumerate(FAULTY)]
    write_pairs(root / "pairs" / "faulty.jsonl", pairs)
    write_pairs(root / "pairs" / "other.jsonl", FAULTY[:3])
    run = make_run(root, "faulty", [*beginning(), *training(0, 41), displaced(), *samples(0, 20, 40)])
    checkpoint(run, 40)
    for age, method in enumerate(("reward", "dpo")):
        trained(root, "faulty", method, age=47 + age)
    failed = Failed(time=TIME + 4, title="Out of memory", message="2.1 GiB more were needed.", hint="Lower batch_size.")
    make_run(root, "faulty", [*beginning()[:1], failed], age=99, log="loading\ntorch.OutOfMemoryError\n")
    return Workspace.find(root)


async def _pairs(pilot: Pilot[None]) -> None:
    await pilot.press("1")
    await shows(pilot, "the model will prefer")


async def _runs(pilot: Pilot[None]) -> None:
    await pilot.press("2")
    await shows(pilot, "41/100")
    await drawn(pilot)


async def _run(pilot: Pilot[None]) -> None:
    await _runs(pilot)
    await pilot.press("enter")
    await pilot.pause()
    await drawn(pilot)


class _ComparisonScreen(WorkbenchScreen):
    """The view of the Compare screen with nobody behind it."""

    MODE = "compare"
    AUTO_FOCUS = ""

    def compose_body(self) -> Any:
        yield ComparisonView()


async def _comparison(pilot: Pilot[None], comparison: Comparison, **look: Any) -> None:
    await pilot.app.push_screen(_ComparisonScreen())
    await pilot.pause()
    pilot.app.screen.query_one(ComparisonView).show(comparison, ViewOptions(**look))
    await pilot.pause()


SCREENS: dict[str, Callable[[Pilot[None]], Any]] = {"pairs": _pairs, "runs": _runs, "one run": _run} | {
    f"comparison {look}": partial(_comparison, comparison=pair_comparison(), **look)
    for look in ({}, {"by_shift": True}, {"bounds": False})
}
"""How to come to each screen from the first one."""


def dialogs(app: WorkbenchApp) -> dict[str, Callable[[], ModalScreen[Any]]]:
    """How to make each dialog, by the name of its class. Raises where a dialog is not known here."""
    from workbench.tui.dialogs import (
        ask,
        bulk,
        checks,
        column,
        conflict,
        data_sets,
        draft,
        edit,
        edit_json,
        evaluate,
        keys,
        merge,
        new_run,
        overlay,
        pair_files,
        save_pair,
        show,
    )

    assert app.data_set is not None
    data_set, workspace = app.data_set, app.workspace
    data_set.checks.start()
    runs = Catalog(workspace.runs).summaries()
    finished = next(run for run in runs if run.state.status == "finished")
    tuned = tuned_runs(runs)
    answers = list(pair_comparison().answers)
    counts: dict[Which, int] = {"shown": 1, "undropped": 2, "accepted": 3, "all": 4}
    texts = Content("\n".join(f"line {number}" for number in range(60)))
    error = WorkbenchError("It did not work", "A message of one line.", "What to do about it.")
    config = build_config({"pairs": ["faulty"]})
    made: list[Callable[[], ModalScreen[Any]]] = [
        lambda: ask.ConfirmDialog("Delete three runs?", "They go to the trash.", yes="Delete", no="Keep"),
        lambda: ask.ChooseDialog("Sort by", [("started", "newest first"), ("margin", ""), ("name", "")], current=1),
        lambda: ask.AskDialog("Note", [("note", "a note", "what you want to remember"), ("other", "", "nothing")]),
        lambda: ask.WriteDialog("Prompt", [("system", "You are kind."), ("user", "Why?")], note="ctrl+s shows it"),
        lambda: ask.TagsDialog(("tone",), ["tone", "card", "order"]),
        lambda: bulk.BulkDialog(12, 14, "status:new", ["tone", "card"]),
        lambda: checks.ChecksDialog(data_set.checks, data_set.name, peek="The prompt of {}".format),
        lambda: column.ColumnDialog(tuned, Base("tiny")),
        lambda: conflict.ConflictDialog(CONFLICT, 2),
        lambda: data_sets.DataSetsDialog(workspace, data_set.name, 3),
        lambda: draft.DraftDialog(
            FAULTY[0], drafters(tuned), app.scorers.of, partial(behaviours_of, workspace), slow=False
        ),
        lambda: edit.EditDialog(FAULTY[0], "Edit the pair"),
        lambda: edit_json.EditJsonDialog(FAULTY[0]),
        lambda: evaluate.EvaluateDialog(finished.folder, None),
        lambda: keys.KeysDialog(app.screen),
        lambda: merge.MergeDialog(Merging(finished.folder), workspace),
        lambda: new_run.NewRunDialog(workspace),
        lambda: overlay.OverlayDialog(runs, []),
        lambda: pair_files.ImportDialog(lambda _: FAULTY[:2], workspace.datasets(), str(workspace.pairs_file("other"))),
        lambda: pair_files.ExportDialog(workspace, data_set.name, dict.fromkeys(READERS, counts), ""),
        lambda: save_pair.SavePairDialog(answers, (1, 0), ["faulty", "other"], "other"),
        lambda: show.ErrorDialog(error),
        lambda: show.ReadDialog("To read", texts),
        lambda: show.TomlDialog("Settings", to_toml(config)),
        lambda: CommandPalette(),
    ]
    named = dict(zip(_names(made), made, strict=True))
    missing = {each.__name__ for each in _subclasses(Dialog)} - set(named)
    assert not missing, f"{missing}: say here how they open, so that they are tried in every size and theme"
    return named


def _names(made: list[Callable[[], ModalScreen[Any]]]) -> list[str]:
    return [next(name for name in each.__code__.co_names if name.endswith(("Dialog", "Palette"))) for each in made]


def _subclasses(kind: type) -> set[type]:
    return {
        each
        for module in pkgutil.iter_modules(workbench.tui.dialogs.__path__, "workbench.tui.dialogs.")
        for _, each in inspect.getmembers(importlib.import_module(module.name), inspect.isclass)
        if issubclass(each, kind) and each is not kind
    }


async def open_dialog(pilot: Pilot[None], make: Callable[[], ModalScreen[Any]]) -> ModalScreen[Any]:
    """Opens one on the screen that is shown, and waits until it stands."""
    dialog = make()
    await pilot.app.push_screen(dialog)
    await until(pilot, lambda: pilot.app.screen is dialog and dialog.is_mounted)
    await pilot.pause()
    return dialog
