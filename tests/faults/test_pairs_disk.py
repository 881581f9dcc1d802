"""A disk fills up while pairs are edited: an edit is refused or kept, and nothing that was acknowledged is lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.pairs_session import starting_pairs
from tests.faults.table import FaultTable
from workbench.errors import WorkbenchError
from workbench.pairs.store import PairStore, load_pairs, write_pairs


@pytest.fixture
def disk(make_disk: Callable[[int], Path]) -> Path:
    return make_disk(4)


def fill(disk: Path, leave: int) -> Path:
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            pass
    size = ballast.stat().st_size
    with ballast.open("r+b") as file:
        file.truncate(max(0, size - leave))
    return ballast


@pytest.mark.parametrize("leave", [0, 8 << 10, 64 << 10, 256 << 10])
def test_a_full_disk_loses_no_acknowledged_edit(disk: Path, leave: int, faults: FaultTable) -> None:
    path = disk / "x.jsonl"
    write_pairs(path, starting_pairs(400))
    store = PairStore(path, quiet=0.01)
    store.set_note([0], "before")
    store.file.save()
    ballast = fill(disk, leave)
    acknowledged: dict[int, str] = {0: "before"}
    refused = 0
    for number in range(1, 400):
        try:
            store.set_note([number], f"note {number} " * 50)
            acknowledged[number] = f"note {number} " * 50
        except WorkbenchError as error:
            refused += "Free space" in error.hint
        if refused > 3:
            break
    assert refused
    if store.file.unsaved:
        # The journal has them, the file has no room.
        with pytest.raises(WorkbenchError, match="could not be saved"):
            store.file.save()
    store.file._let_go()
    ballast.unlink()
    with faults.attempt("disk full while pairs are edited") as attempt:
        found, problems = load_pairs(path)
        assert not problems
        notes = {number: pair.note for number, pair in enumerate(found) if pair.note}
        attempt.kept(acknowledged.items(), notes.items())
        assert notes == acknowledged
    with PairStore(path) as again:
        again.set_note([1], "room again")
    assert load_pairs(path)[0][1].note == "room again"


def test_a_data_set_can_be_read_on_a_full_disk(disk: Path) -> None:
    path = disk / "x.jsonl"
    write_pairs(path, starting_pairs(40))
    ballast = fill(disk, 0)
    with PairStore(path) as store:
        assert len(store) == 40
        with pytest.raises(WorkbenchError):
            store.set_status([0], "accepted")
    ballast.unlink()
    with PairStore(path) as store:
        store.set_status([0], "accepted")
    assert load_pairs(path)[0][0].status == "accepted"
