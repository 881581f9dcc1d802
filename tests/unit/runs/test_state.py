"""The fold from events to a run's state."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.runs.events import (
    Checkpoint,
    Continued,
    Eval,
    Failed,
    Finished,
    Killed,
    Paused,
    Phase,
    Queued,
    Resumed,
    Started,
    Step,
    Stopped,
    Warned,
)
from workbench.runs.state import RunState, fold


def started(time=10.0, total=20):
    return Started(
        time=time, total_steps=total, train_pairs=8, holdout_pairs=2, dropped=0, truncated=0, identical=0,
        trainable_parameters=1, total_parameters=2, reference="base", device="CPU", model_revision="x",
    )  # fmt: skip


def step(number, time=0.0, speed=4.0):
    return Step(
        time=time or 10.0 + number, step=number, epoch=0.1, seconds=2.0 * number, pairs=16 * number,
        metrics={"loss": 0.5}, pairs_per_second=speed, tokens_per_second=speed * 100, memory_bytes=1,
    )  # fmt: skip


def test_a_run_from_start_to_finish():
    events = [
        Phase(time=1, name="loading the model"),
        started(),
        Eval(time=11, epoch=0, seconds=0, pairs=0, metrics={"loss": 0.69}),
        *(step(number) for number in range(1, 21)),
        Warned(time=31, step=20, title="t", message="m"),
        Checkpoint(time=31, step=20, path="checkpoints/checkpoint-20"),
        Finished(time=32, step=20, seconds=31, peak_memory_bytes=5, changed=1.0),
    ]
    state = fold(events)
    assert (state.status, state.step, state.total_steps) == ("finished", 20, 20)
    assert (len(state.steps), len(state.evals), len(state.warnings), len(state.checkpoints)) == (20, 1, 1, 1)
    assert (state.first_event, state.last_event, state.phase) == (1, 32, "loading the model")
    assert state.seconds_left is None


def test_before_the_first_event_a_run_is_queued():
    assert fold([]) == RunState()
    assert fold([]).status == "queued"


@pytest.mark.parametrize(
    ("end", "status"),
    [
        (Stopped(time=1, step=3, seconds=1, peak_memory_bytes=1, changed=0.5), "stopped"),
        (Killed(time=1, step=3, message="m"), "stopped"),
        (Failed(time=1, title="t", message="m"), "failed"),
        (Queued(time=1, device="CPU"), "queued"),
        (Paused(time=1, step=3), "paused"),
        (Continued(time=1, step=3), "running"),
        (Phase(time=1, name="x"), "running"),
    ],
)
def test_the_last_event_decides_the_status(end, status):
    assert fold([started(), end]).status == status


def test_the_time_left_follows_the_pace_of_the_steps():
    state = fold([started(time=100.0, total=20), step(5, time=1e9)])
    assert state.seconds_left == pytest.approx(30.0)
    assert fold([Paused(time=1, step=5)], state).seconds_left == pytest.approx(30.0)


def test_what_is_made_again_after_resuming_is_told_once():
    before = [Phase(time=0, name="a"), started(), *(step(number) for number in range(1, 8))]
    lost = [Checkpoint(time=15, step=4, path="checkpoints/checkpoint-4"), Failed(time=16, title="t", message="m")]
    again = [Resumed(time=20, step=4, checkpoint="checkpoints/checkpoint-4"), *(step(n) for n in range(5, 10))]
    state = fold([*before, *lost, *again])
    assert [each.step for each in state.steps] == list(range(1, 10))
    assert (state.status, state.end, state.step) == ("running", None, 9)
    assert fold(again, fold([*before, *lost])) == state


def test_the_speed_is_that_of_the_latest_ten_steps():
    state = fold([started(), *(step(n, speed=1.0) for n in range(1, 6)), *(step(n, speed=3.0) for n in range(6, 16))])
    assert state.pairs_per_second == 3.0


@given(st.lists(st.integers(0, 40), max_size=12))
def test_folding_in_parts_is_folding_at_once(cuts):
    events = [Phase(time=0, name="a"), started(), *(step(n) for n in range(1, 40))]
    state, place = None, 0
    for cut in sorted(cuts):
        state, place = fold(events[place:cut] if cut > place else [], state), max(place, cut)
    assert fold(events[place:], state) == fold(events)
