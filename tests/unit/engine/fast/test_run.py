"""A whole run says which path it took, and why where it was not the fast one."""

import pytest

from tests.unit.engine.training import make, read, work
from workbench.engine.fast.proof import UnsuitableError
from workbench.runs.events import Finished, Started, Warned


def unsuited(_base):
    raise UnsuitableError("its output layer is of a kind of its own")


@pytest.mark.parametrize(
    ("values", "path", "slower_because", "warned"),
    [
        ({}, "one line, an attention a row", [], []),
        ({"fast": False}, "plain TRL", ["fast = false"], []),
        (
            {"holdout": 0.0},
            "plain TRL",
            ["its output layer is of a kind of its own"],
            ["The fast path does not fit the model"],
        ),
    ],
    ids=str,
)
def test_a_run_tells_its_path(values, path, slower_because, warned, tmp_path, monkeypatch):
    if warned:
        monkeypatch.setattr("workbench.engine.fast.proof._check", unsuited)
    folder = make(tmp_path / "runs", max_steps=1, **values)
    assert isinstance(work(folder), Finished)
    (started,) = read(folder, Started)
    assert started.path == path
    assert bool(started.slower_because) == bool(slower_because)
    assert all(reason in started.slower_because for reason in slower_because)
    told = [each for each in read(folder, Warned) if each.title.startswith("The fast path")]
    assert [each.title for each in told] == warned
