"""A data set that is edited from the screen: a change shows at once, and is written down behind it, in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from workbench.pairs.pair import Pair, Status

if TYPE_CHECKING:
    from workbench.pairs.query import Query
    from workbench.pairs.store import PairStore

_T = TypeVar("_T")
Change = Callable[[Pair], Pair]


class PairEdits:
    """A `PairStore` whose slow half runs in a thread of its own.

    Changed pairs are shown from here until the store has them. The futures fail as the store's methods do; what was
    changed is then gone again. Leaving the program waits for what is still to be saved.
    """

    def __init__(self, store: PairStore) -> None:
        self._store = store
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="pairs")
        self._unsaved: dict[str, Pair] = {}
        self._pending = 0
        self._counted = store.counts()
        self.counts: dict[Status, int] = dict(self._counted)
        """How many pairs have each status, changes that are being saved included."""

    @classmethod
    def open(cls, path: Path) -> PairEdits:
        """Reads the file; slow where it is large. Raises `WorkbenchError`."""
        # Imported here: the first screen is painted before Arrow is there.
        from workbench.pairs.store import PairStore

        return cls(PairStore(path))

    @property
    def name(self) -> str:
        """The name of the data set."""
        return self._store.path.stem

    @property
    def problems(self) -> int:
        """How many lines of the file are no pairs."""
        return len(self._store.problems)

    @property
    def pairs(self) -> Sequence[Pair]:
        """The pairs as they are saved."""
        return self._store.pairs

    def pair(self, position: int) -> Pair:
        """The pair at a place of the file, as it is shown."""
        pair = self._store.pairs[position]
        return self._unsaved.get(pair.id, pair)

    def changed_on_disk(self) -> bool:
        """Whether someone else wrote the file; False while something is being saved here."""
        return not self._pending and self._store.disk_changed()

    def find(self, query: Query) -> list[int]:
        """The places of the pairs that a query finds."""
        import numpy as np

        return np.flatnonzero(np.isin(self._store.rows, self._store.find(query))).tolist()

    def change(self, position: int, change: Change, description: str) -> Future[None]:
        """Changes a pair, which shows at once; done when it is saved."""
        before = self.pair(position)
        after = change(before)
        self._unsaved[before.id] = after
        self.counts[before.status] -= 1
        self.counts[after.status] += 1
        return self._later(lambda: self._update(before.id, change, description))

    def add(self, pair: Pair) -> Future[None]:
        """Adds a pair at the end; done when it is saved and shows."""
        return self._later(lambda: self._store.add([pair], "new pair"))

    def undo(self) -> Future[tuple[str, int | None]]:
        """Takes the latest change back; gives what it was, empty for nothing, and the place of the first pair in it."""
        return self._later(lambda: self._compared(self._store.undo))

    def redo(self) -> Future[tuple[str, int | None]]:
        """Does again what was undone last; gives the same as `undo`."""
        return self._later(lambda: self._compared(self._store.redo))

    def reload(self) -> Future[None]:
        """Reads the file anew."""
        return self._later(self._store.reload)

    def settle(self) -> None:
        """Call in the thread of the screen when a future is done: what shows is then what is saved."""
        self._pending -= 1
        if not self._pending:
            self._unsaved.clear()
            self.counts = dict(self._counted)

    def close(self, *, wait: bool = False) -> None:
        """Ends the thread once everything is saved, and can `wait` for that."""
        self._thread.submit(self._store.close)
        self._thread.shutdown(wait=wait)

    def _update(self, identity: str, change: Change, description: str) -> None:
        self._store.update([identity], change, description)

    def _compared(self, action: Callable[[], str]) -> tuple[str, int | None]:
        description = action()
        row = min(self._store.touched, default=None) if description else None
        if row is None or not len(self._store):
            return description, None
        return description, min(int((self._store.rows < row).sum()), len(self._store) - 1)

    def _later(self, action: Callable[[], _T]) -> Future[_T]:
        self._pending += 1

        def done() -> _T:
            try:
                return action()
            finally:
                # Counted here: it takes a while where pairs are many.
                self._counted = self._store.counts()

        return self._thread.submit(done)
