"""Events as lines, and readers that come while a line is being written."""

import json
import math

from hypothesis import given
from hypothesis import strategies as st

from workbench.runs.events import Checkpoint, Eval, EventReader, Failed, Phase, Step, Warned, decode, encode
from workbench.runs.state import fold
from workbench.runs.writer import EventWriter

metrics = st.dictionaries(st.text(max_size=8), st.floats(), max_size=4)
moments = st.floats(0, 2e9)
counts = st.integers(0, 10**7)
events = st.one_of(
    st.builds(Phase, time=moments, step=counts, name=st.text()),
    st.builds(
        Step,
        time=moments,
        step=counts,
        epoch=moments,
        seconds=moments,
        pairs=counts,
        metrics=metrics,
        pairs_per_second=moments,
        tokens_per_second=moments,
        memory_bytes=counts,
    ),
    st.builds(Eval, time=moments, step=counts, epoch=moments, seconds=moments, pairs=counts, metrics=metrics),
    st.builds(Failed, time=moments, step=counts, title=st.text(), message=st.text(), hint=st.text()),
    st.builds(Checkpoint, time=moments, step=counts, path=st.text()),
    st.builds(Warned, time=moments, step=counts, title=st.text(), message=st.text()),
)


def refuse(name):
    raise AssertionError(f"{name} is not JSON")


def phases(reader):
    return [event.name for event in reader.read() if isinstance(event, Phase)]


@given(events)
def test_an_event_survives_its_line(event):
    line = encode(event)
    assert line.count("\n") == 1
    json.loads(line, parse_constant=refuse)
    again = decode(line)
    assert type(again) is type(event)
    assert repr(again) == repr(event)  # NaN is not equal to itself


def test_numbers_that_are_not_finite_come_back():
    step = Step(
        time=1,
        epoch=0,
        seconds=1,
        pairs=16,
        pairs_per_second=1,
        tokens_per_second=9,
        memory_bytes=1,
        metrics={"a": math.nan, "b": math.inf, "c": -math.inf, "d": 2},
    )
    again = decode(encode(step))
    assert isinstance(again, Step)
    assert math.isnan(again.metrics["a"])
    assert (again.metrics["b"], again.metrics["c"], again.metrics["d"]) == (math.inf, -math.inf, 2.0)


def test_unknown_kinds_versions_and_fields_are_left_aside():
    line = json.loads(encode(Phase(time=1, name="x")))
    assert decode(json.dumps(line | {"new": 1})) == Phase(time=1, name="x")
    assert decode(json.dumps(line | {"kind": "sample"})) is None
    assert decode(json.dumps(line | {"v": 2})) is None
    assert decode('{"kind": "step", "v": 1, "metrics": {"loss": "high"}}') is None
    assert [decode(text) for text in ("", "{", "[]", "null", '"x"', "\x00")] == [None] * 6


def test_a_reader_waits_for_the_end_of_a_line(tmp_path):
    path = tmp_path / "events.jsonl"
    reader = EventReader(path)
    assert list(reader.read()) == []
    first, second = encode(Phase(time=1, name="größer")).encode(), encode(Phase(time=2, name="b")).encode()
    cut = first.index("ö".encode()) + 1
    path.write_bytes(first[:cut])
    assert list(reader.read()) == []
    with path.open("ab") as file:
        file.write(first[cut:] + second[:9])
    assert phases(reader) == ["größer"]
    with path.open("ab") as file:
        file.write(second[9:])
    assert phases(reader) == ["b"]
    assert list(reader.read()) == []


def test_a_writer_cuts_off_the_line_that_a_killed_one_left(tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_text(encode(Phase(time=1, name="a")) + '{"v": 1, "kind": "ste')
    with EventWriter(path) as writer:
        writer.phase("b")
    assert phases(EventReader(path)) == ["a", "b"]


def test_damaged_lines_are_skipped_and_counted(tmp_path):
    path = tmp_path / "events.jsonl"
    good = encode(Phase(time=1, name="a"))
    unknown = ['{"v": 2, "kind": "phase"}', '{"v": 1, "kind": "new"}', "", " "]
    damaged = [
        "{",
        "\0\0",
        "[]",
        "7",
        good[:20],
        '{"v": 1, "kind": "phase"}',
        good.replace(' 1, "step', ' "1", "step').strip(),
    ]
    damaged += [
        '{"v": 1, "kind": ["step"]}',
        '{"v": 1, "kind": "phase", "time": 1, "step": 1.5, "name": ""}',
        "[" * 9999,
    ]
    path.write_text(good + "\n".join([*unknown, *damaged]) + "\n" + good)
    reader = EventReader(path)
    assert len(list(reader.read())) == 2
    assert reader.damaged == len(damaged)
    assert list(reader.read()) == []
    assert reader.damaged == len(damaged)


@given(
    st.recursive(
        st.none() | st.integers() | st.floats() | st.text(max_size=3), lambda inner: st.lists(inner, max_size=2)
    )
)
def test_an_event_with_any_value_in_any_field_is_one_or_none(value):
    for event in (Phase(time=1, name="x"), Failed(time=1, title="t", message="m")):
        line = json.loads(encode(event))
        for name in line:
            again = decode(json.dumps(line | {name: value}))
            assert again is None or fold([again]).last_event is not None


def test_what_no_worker_can_have_written_is_counted(tmp_path):
    path = tmp_path / "events.jsonl"
    good = encode(Phase(time=1, step=1, name="x"))
    bad = [
        good.replace('"time": 1', '"time": 1e300'),
        good.replace('"time": 1', '"time": -5'),
        good.replace('"step": 1', '"step": 1' + "0" * 30),
        good.replace('"step": 1', '"step": -1'),
        good.replace('"step": 1', '"step": 1, "step": 2'),
        '{"v": 1, "kind": ' + "[" * 100_000 + "\n",
        "\n".join(["nonsense", ""]),
    ]
    path.write_bytes("".join([good, *bad]).encode() + b'{"v": 1, "kind": "\xff"}\n')
    reader = EventReader(path)
    assert (len(list(reader.read())), reader.damaged) == (1, len(bad) + 1)


def test_what_is_no_file_has_no_events_and_is_told(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    for path in (tmp_path, tmp_path / "loop"):
        reader = EventReader(path)
        assert (list(reader.read()), list(reader.read()), reader.damaged) == ([], [], 1)
