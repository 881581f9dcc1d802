"""Looking on at a run in lines, as logs and pipes get them. This process plays the worker."""

import os
import threading
import time

import pytest

from tests.unit.runs.test_state import started, step
from workbench.cli import watch as watching
from workbench.cli.watch import watch
from workbench.config import build_config
from workbench.runs.events import Continued, Finished, Killed, Paused, Phase, Queued, Resumed, Stopped, Warned
from workbench.runs.folder import create
from workbench.runs.lease import DeviceTurn
from workbench.runs.process import record
from workbench.runs.writer import EventWriter


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(watching, "_PACE", 0.01)
    return create(tmp_path, build_config({"pairs": ["x"]}), [], {})


def tell(folder, *events):
    with EventWriter(folder.events) as writer:
        for event in events:
            writer.write(event)


def later(folder, *batches):
    def work():
        for batch in batches:
            time.sleep(0.1)
            tell(folder, *batch)

    threading.Thread(target=work).start()


def end(kind, at):
    return kind(time=9, step=at, seconds=1, peak_memory_bytes=1, changed=1)


def test_a_resumed_run_is_told_from_where_it_goes_on(folder, capfd):
    tell(folder, Phase(time=1, name="first worker"), started(total=4), step(1), step(2), end(Stopped, 2))
    record(folder, os.getpid())
    alert = Warned(time=3, step=3, title="It is slow", message="Very.", remedy="Wait.")
    later(
        folder,
        [Queued(time=2, device="CPU")],
        [Phase(time=2, name="second worker"), Resumed(time=2, step=1, checkpoint="checkpoints/checkpoint-1")],
        [step(2), Paused(time=3, step=2), Continued(time=3, step=2), alert, step(3), step(4), end(Finished, 4)],
    )
    with DeviceTurn(folder):
        state = watch(folder)
    assert (state.status, [each.step for each in state.steps]) == ("finished", [1, 2, 3, 4])
    told = capfd.readouterr().err
    assert "first worker" not in told
    words = ["waits for CPU", "number 1", "second worker", "goes on after step 1", "step 2/4", "paused after step 2"]
    words += ["goes on\n", "Warning: It is slow. Very. Wait.", "step 3/4", "step 4/4"]
    places = [told.find(word) for word in words]
    assert -1 not in places
    assert places == sorted(places)


def test_what_an_earlier_worker_said_last_does_not_end_it(folder, monkeypatch):
    """Its successor's first word may come between the look at the events and the look at the process."""
    tell(folder, Phase(time=1, name="first worker"), started(total=4), end(Stopped, 2))
    record(folder, os.getpid())
    words = iter([Queued(time=2, device="CPU"), Phase(time=2, name="second worker"), end(Finished, 4)])

    def alive(_):
        tell(folder, *filter(None, [next(words, None)]))
        return True

    monkeypatch.setattr(watching, "alive", alive)
    assert watch(folder).status == "finished"


def test_it_ends_when_the_worker_is_gone_or_was_killed(folder, capfd):
    tell(folder, Phase(time=1, name="training"))
    assert watch(folder).status == "running"  # no worker is there
    record(folder, os.getpid())
    later(folder, [Killed(time=2, step=0, message="Ended by force at step 0.")])
    assert watch(folder).status == "stopped"
    assert "Ended by force" in capfd.readouterr().err
