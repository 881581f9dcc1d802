"""The file of pair scores: the last line of a pair holds, whatever a killed worker left; its size is bounded."""

import json
from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.config import build_config
from workbench.runs import labels
from workbench.runs.folder import create
from workbench.runs.labels import Labels
from workbench.runs.pair_scores import NAME, Score, ScoreWriter, fingerprint, read_margins, runs_with_scores
from workbench.workspace import Workspace

FIRST = Score("a", "0" * 16, "train", 1, -2.0, -3.0, 0.1, -2.5, -2.5)
OTHER = Score("b \ud800\n", "1" * 16, "holdout", 0, -1.0, -1.0, 0.0)

sums = st.floats(-1e6, 0.0)
scores = st.builds(
    Score, st.text(max_size=4), st.just("f" * 16), st.sampled_from(["train", "holdout"]), st.integers(0, 10**6),
    sums, sums, st.floats(-1e6, 1e6), st.none() | sums, st.none() | sums,
)  # fmt: skip


def test_the_latest_score_of_a_pair_holds(tmp_path):
    later = replace(FIRST, step=9, chosen=-1.5)
    with ScoreWriter(tmp_path) as writer:
        writer.write([FIRST, OTHER])
        writer.write([later])
        assert read_margins(tmp_path) == {"a": later, OTHER.id: OTHER}
    assert read_margins(tmp_path / "none") == {}


def test_the_next_worker_goes_on(tmp_path):
    with ScoreWriter(tmp_path) as writer:
        writer.write([FIRST])
    with ScoreWriter(tmp_path) as writer:
        writer.write([OTHER])
    assert read_margins(tmp_path) == {"a": FIRST, OTHER.id: OTHER}


@given(st.lists(scores, min_size=1, max_size=8), st.data())
def test_a_torn_file_loses_only_what_is_torn(tmp_path_factory, found, data):
    folder = tmp_path_factory.mktemp("torn")
    with ScoreWriter(folder) as writer:
        for score in found:
            writer.write([score])
    whole = (folder / NAME).read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    (folder / NAME).write_bytes(whole[:cut])
    left = {score.id: score for score in found[: whole[:cut].count(b"\n")]}
    assert read_margins(folder) == left
    with ScoreWriter(folder) as writer:
        writer.write([FIRST])
    assert read_margins(folder) == left | {"a": FIRST}


@given(st.lists(st.binary(max_size=30) | st.recursive(st.none() | st.floats() | st.text(), st.lists).map(
    lambda value: json.dumps(dict(asdict(FIRST), chosen=value)).encode()), max_size=6))  # fmt: skip
def test_any_file_can_be_read(tmp_path_factory, lines):
    folder = tmp_path_factory.mktemp("any")
    (folder / NAME).write_bytes(b"\n".join(lines) + b"\n" + json.dumps(asdict(FIRST)).encode() + b"\n")
    assert read_margins(folder)["a"] == FIRST


def test_the_file_does_not_grow_with_the_steps(tmp_path):
    with ScoreWriter(tmp_path) as writer:
        for step in range(5000):
            writer.write([replace(FIRST, step=step), replace(OTHER, step=step)])
        lines = (tmp_path / NAME).read_bytes().splitlines()
        assert len(lines) <= 1010
        assert {score.step for score in read_margins(tmp_path).values()} == {4999}


def test_what_is_not_finite_is_left_out(tmp_path):
    with ScoreWriter(tmp_path) as writer:
        writer.write([FIRST])
        writer.write([replace(FIRST, margin=float("nan")), replace(OTHER, chosen=float("-inf"))])
    assert read_margins(tmp_path) == {"a": FIRST}


def test_an_edited_pair_is_told():
    row = {"id": "a", "prompt": "p", "chosen": "c", "rejected": [{"role": "user", "content": "\ud800"}]}
    score = replace(FIRST, text=fingerprint(row))
    assert score.of({**row, "status": "accepted", "note": "fine"})
    assert not score.of({**row, "chosen": "d"})
    assert not score.of({**row, "chosen": row["rejected"], "rejected": row["chosen"]})


def test_runs_with_scores_of_a_data_set(tmp_path):
    workspace = Workspace(tmp_path)
    made = {}
    for name in ("tone", "safety", "none"):
        folder = create(workspace.runs, build_config({"pairs": [name]}), [], {})
        made[name] = folder
        if name != "none":
            with ScoreWriter(folder.path) as writer:
                writer.write([FIRST])
    assert runs_with_scores(workspace, "tone") == [(made["tone"].id, made["tone"].id)]
    labels.write(made["tone"], Labels(name="polite one"))
    assert runs_with_scores(workspace, "tone") == [(made["tone"].id, "polite one")]
    assert runs_with_scores(workspace, "none") == []
    labels.write(made["tone"], Labels(archived=True))
    assert runs_with_scores(workspace, "tone") == []
    (made["safety"].path / "run.toml").write_text("[")
    assert runs_with_scores(workspace, "safety") == []


def test_a_run_deleted_under_its_worker_is_not_made_again(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    with ScoreWriter(folder) as writer:
        writer.write([FIRST])
        (folder / NAME).unlink()
        folder.rmdir()
        for step in range(2000):
            writer.write([replace(FIRST, step=step)])
    assert not folder.exists()


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    with pytest.raises(OSError):  # noqa: PT011 - whichever the system says
        ScoreWriter(tmp_path / "none")
