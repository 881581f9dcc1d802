"""The part of the Pairs screen that takes pairs from one file to another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from workbench.pairs.pair import Pair
from workbench.tui.background import background
from workbench.tui.screens.pairs_edit import plural
from workbench.tui.screens.pairs_tools import PairsTools

if TYPE_CHECKING:
    from workbench.pairs.arrow import Ints
    from workbench.pairs.store import PairStore
    from workbench.pairs.transfer import Transferred
    from workbench.tui.dialogs.export_pairs import ExportTo, Which
    from workbench.tui.dialogs.import_pairs import ToImport

_T = TypeVar("_T")


class PairsFiles(PairsTools):
    """Import, export, and other data sets."""

    @background("dialog", doing="importing pairs", opens=True)
    async def action_import(self) -> None:
        """Brings pairs in from a file."""
        from workbench.tui.dialogs.import_pairs import ImportDialog

        workspace = self.workbench.workspace
        answer = await self.app.push_screen_wait(ImportDialog(self._existing, workspace.datasets()))
        if answer is None:
            return
        await asyncio.to_thread(self._import, answer)
        found = answer.found
        words = [f"{plural(len(found.pairs))} imported into {answer.name}"]
        if found.duplicates:
            words.append(f"{found.duplicates:,} were there already")
        if found.problems:
            words.append(f"{len(found.problems):,} rows could not be used (the first: line {found.problems[0].line})")
        self.workbench.tell("; ".join(words) + ".")
        if self.store is not None and self.store.path.stem == answer.name:
            self.changed(other_rows=True)
        else:
            self.open(answer.name)

    def _existing(self, name: str) -> Sequence[Pair]:
        """The pairs of a data set, none where there is none of that name. Raises `WorkbenchError`."""
        from workbench.pairs.store import load_pairs

        if self.store is not None and self.store.path.stem == name:
            return self.store.pairs
        path = self.workbench.workspace.pairs_file(name)
        return load_pairs(path)[0] if path.exists() else ()

    def _import(self, answer: ToImport) -> None:
        from workbench.pairs.transfer import add_to

        path, pairs = self.workbench.workspace.pairs_file(answer.name), answer.found.pairs
        description = f"import {answer.path.name}"
        if self.store is not None and self.store.path == path:
            self.store.add(pairs, description)
        else:
            add_to(path, pairs, description)

    @background("dialog", doing="exporting pairs", opens=True)
    async def action_export(self) -> None:
        """Writes pairs to a file of another kind or place."""
        from workbench.tui.dialogs.export_pairs import ExportDialog

        store, rows = self.store, self.browser.rows
        if store is None or rows is None:
            return
        counts, total = store.counts(), len(store)
        comes_to: dict[Which, int] = {
            "shown": len(rows),
            "undropped": total - counts["dropped"],
            "accepted": counts["accepted"],
            "all": total,
        }
        dialog = ExportDialog(self.workbench.workspace, store.path.stem, comes_to, self.browser.searched_for)
        answer = await self.app.push_screen_wait(dialog)
        if answer is not None:
            written = await asyncio.to_thread(_export, store, rows, answer)
            self.workbench.tell(f"{plural(written)} written to {answer.path}.")

    @background("dialog", doing="changing data sets", opens=True)
    async def action_data_sets(self) -> None:
        """Shows the data sets: opens another, copies or moves pairs, merges, begins a new one."""
        from workbench.tui.dialogs.data_sets import CopyTo, DataSetsDialog, MergeFrom, NewSet, OpenSet

        store, rows = self.store, self.browser.rows
        current = store.path.stem if store is not None else None
        shown = len(rows) if rows is not None and store is not None else 0
        answer = await self.app.push_screen_wait(DataSetsDialog(self.workbench.workspace, current, shown))
        match answer:
            case OpenSet(name) if name != current:
                self.open(name)
            case NewSet(name):
                await asyncio.to_thread(self._path_of, name)
                self.open(name)
            case CopyTo(name, move) if store is not None and rows is not None:
                await self._transfer(store, rows, name, move=move)
            case MergeFrom(name) if store is not None:
                await self._merge(store, name)

    def _path_of(self, name: str) -> Path:
        """The file of a data set, which is begun where there is none."""
        from workbench.pairs.store import write_pairs

        path = self.workbench.workspace.pairs_file(name)
        if not path.exists():
            write_pairs(path, ())
        return path

    async def _transfer(self, store: PairStore, rows: Ints, name: str, *, move: bool) -> None:
        from workbench.pairs import transfer

        into = transfer.move if move else transfer.copy
        done = await asyncio.to_thread(lambda: _with(self._path_of(name), lambda target: into(store, rows, target)))
        self._tell_of(done, f"{'moved' if move else 'copied'} to {name}")
        if move:
            self.changed(other_rows=True)

    async def _merge(self, store: PairStore, name: str) -> None:
        from workbench.pairs import transfer

        path = self.workbench.workspace.existing_pairs_file(name)
        done = await asyncio.to_thread(_with, path, lambda source: transfer.merge([source], store))
        self.changed(other_rows=True)
        self._tell_of(done, f"of {name} merged into {store.path.stem}")

    def _tell_of(self, done: Transferred, what: str) -> None:
        words = [f"{plural(done.added)} {what}"]
        if done.present:
            words.append(f"{done.present:,} were there already")
        if done.renamed:
            words.append(f"{len(done.renamed):,} got another id")
        self.workbench.tell("; ".join(words) + ".")


def _with(path: Path, act: Callable[[PairStore], _T]) -> _T:
    """What `act` returns for the data set in a file, which is open for as long as that takes."""
    from workbench.pairs.store import PairStore

    with PairStore(path) as store:
        return act(store)


def _export(store: PairStore, rows: Ints, answer: ExportTo) -> int:
    """Writes what was asked for; returns how many pairs."""
    from workbench.pairs.exporters import export_pairs

    chosen = rows if answer.which == "shown" else store.rows
    pairs = [store.pair(row) for row in chosen.tolist()]
    if answer.which == "accepted":
        pairs = [pair for pair in pairs if pair.status == "accepted"]
    elif answer.which == "undropped":
        pairs = [pair for pair in pairs if pair.status != "dropped"]
    export_pairs(answer.path, pairs, answer.form)
    return len(pairs)
