"""An editing session is killed at random moments: every edit that it acknowledged is there, and the file parses."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.pairs_session import Model, edit, starting_pairs
from tests.faults.table import FaultTable, seeded, times
from workbench.pairs.store import PairStore, load_pairs, write_pairs

KILLS = times(220)


def kill_often(folder: Path, kills: int, seed: int, faults: FaultTable) -> Iterator[int]:
    """Kills a session again and again; gives how many edits had been acknowledged each time."""
    path, acknowledged = folder / "x.jsonl", folder / "acknowledged"
    write_pairs(path, starting_pairs())
    rng, model, done = seeded(seed), Model(starting_pairs()), 0
    for _ in range(kills):
        acknowledged.write_bytes(b"")
        command = [sys.executable, "-m", "tests.faults.pairs_session", str(path), str(done), str(acknowledged)]
        with faults.attempt("editing session killed") as attempt:
            process = subprocess.Popen(command, stderr=subprocess.PIPE)
            if rng.random() < 0.8:
                # Most of them in the middle of editing: importing takes longer than a few hundred edits.
                while not acknowledged.stat().st_size and process.poll() is None:
                    time.sleep(0.002)
                time.sleep(rng.uniform(0.0, 0.2))
            else:
                time.sleep(rng.uniform(0.0, 0.5))
            process.send_signal(signal.SIGKILL)
            complaint = process.communicate()[1].decode()
            assert process.returncode == -signal.SIGKILL, complaint

            told = acknowledged.stat().st_size
            for number in range(done, done + told):
                edit(model, number)
            done += told
            for line in path.read_bytes().splitlines():
                json.loads(line)
            found, problems = load_pairs(path)
            assert not problems
            if found != model.pairs:
                # It was written down, and killed before it could say so.
                edit(model, done)
                done += 1
            assert found == model.pairs or told
            attempt.kept(range(told), range(told) if found == model.pairs else ())
        yield told
    with PairStore(path) as store:
        assert list(store.pairs) == model.pairs
        while store.file.turn("undo")[0]:
            model.undo()
            assert list(store.pairs) == model.pairs
        assert model.at == 0


@pytest.mark.timeout(1800)
def test_no_acknowledged_edit_is_lost_in_any_of_many_kills(tmp_path: Path, faults: FaultTable) -> None:
    told = list(kill_often(tmp_path, KILLS, 4, faults))
    print(f"{KILLS} kills, {sum(told)} edits acknowledged, {sum(not each for each in told)} kills before the first")
    assert sum(told) > KILLS
