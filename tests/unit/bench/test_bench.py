"""The benches run to their end and count what they say they count. Of seconds nothing is asserted."""

import json
import subprocess
from dataclasses import asdict

import pytest

from tests.bench import gpu, gpu_side, machine, random_model, stock_trl, tokens, training
from tests.bench.training_table import summary, table
from workbench.engine.training.instruments import PAIRS
from workbench.runs.folder import to_line
from workbench.tiny import WEIGHTS
from workbench.tiny.starters import build_pairs

ROWS = [row for rows in build_pairs().values() for row in rows[:8]]


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"".join(map(to_line, ROWS)))
    return path


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.mark.parametrize("precompute", [pytest.param(False, marks=pytest.mark.slow), True])
def test_stock_trl_trains_every_pair_once(precompute, rows):
    config = {"per_device_train_batch_size": 6, "max_length": 512, "precompute_ref_log_probs": precompute}
    found = stock_trl.main({"rows": str(rows), "model": str(WEIGHTS), "config": config})
    assert found["pairs"] == len(ROWS)
    assert found["loss"] == pytest.approx(0.693, abs=0.01)
    assert (found["reference_seconds"] > 0) == precompute
    assert found["seconds"] > 0


@pytest.mark.slow
def test_the_demo_is_measured_in_a_process_of_its_own(tmp_path):
    assert (
        training.main(["--only", "demo", "--sides", "cold", "--rounds", "1", "--pairs", "20", "--to", str(tmp_path)])
        == 0
    )
    case = machine.read("training", tmp_path)["cases"]["demo"]
    (took,) = case["measurements"]
    assert (took["side"], took["pairs"], case["tokens"]["pairs"], case["batch"]) == ("cold", 20, 20, 16)
    assert 1 < case["tokens"]["ratio"] < 4
    assert took["peak_bytes"] > 10**8
    assert took["whole_seconds"] > took["seconds"] > 0
    assert took["processor_seconds"] > 0
    assert "| workbench |" in (tmp_path / "training.md").read_text()


def test_medians_and_ratios_count_the_pre_pass():
    def took(side, seconds, reference=0.0):
        return {"side": side, "pairs": 100, "seconds": seconds, "reference_seconds": reference, "whole_seconds": 99.0,
                "processor_seconds": 2 * seconds, "load": 0.0,                "peak_bytes": 10**9}  # fmt: skip

    measurements = [
        *(took("stock", seconds) for seconds in (25.0, 20.0, 90.0)),
        took("precomputed", 10.0, 10.0),
        took("cold", 2.5),
        took("warm", 2.0),
    ]
    counted = {"pairs": 100, "unique": 100.0, "padded": 400.0, "ratio": 4.0, "threads": 2}
    case = {"about": "a model", "batch": 8, "max_length": 512, "tokens": counted, "measurements": measurements}
    found = {"machine": machine.machine(), "cases": {"1.3M": case}}
    sides = summary(found)["1.3M"]
    assert [sides[side]["pairs_per_second"] for side in ("stock", "precomputed", "cold", "warm")] == [4, 5, 40, 50]
    assert [sides[side]["times_stock"] for side in ("precomputed", "cold", "warm")] == [1.25, 10, 12.5]
    assert sides["precomputed"]["steps_only"] == 10
    assert sides["cold"]["processor_ms"] == 50
    assert sides["cold"]["processor_times_stock"] == 10
    assert "10.00, reached. Aim ≥ 1.25 × that when warm: 1.25, reached." in table(found)


def test_tokens_are_counted_with_and_without_padding(tmp_path):
    rows = [row | {"split": "train"} for row in ROWS[:2]]
    path = tmp_path / "two.jsonl"
    path.write_bytes(b"".join(map(to_line, rows)))
    found = tokens.count(path, "tiny", 512, 2)
    pairs = [tokens.count(_one(tmp_path, row), "tiny", 512, 1) for row in rows]
    assert found["unique"] == pytest.approx(sum(each["unique"] for each in pairs) / 2)
    # All four rows are as wide as the widest of them.
    assert found["padded"] == max(each["padded"] for each in pairs)


def _one(folder, row):
    path = folder / "one.jsonl"
    path.write_bytes(to_line(row))
    return path


def test_the_random_models_have_the_size_that_they_are_named_for(rows, tmp_path):
    for name, millions in (("1.3M", 0.8), ("5.9M", 4.8)):  # without the vocabulary, which so few rows do not fill
        shape = random_model.SHAPES[name]
        parameters = random_model.make(rows, tmp_path / name, shape, 300)
        assert parameters - 300 * shape["hidden_size"] == pytest.approx(millions * 1e6, rel=0.02)


@pytest.mark.parametrize("ask", gpu.DRY, ids=lambda ask: ask.name)
def test_the_gpu_bench_runs_on_the_cpu_with_a_tiny_shape(ask, rows):
    found = gpu_side.main({**asdict(ask), "rows": str(rows)})
    json.dumps(found)
    if ask.side == "peak":
        assert found["flops"] > 0
        return
    assert found["seconds"] > 0
    pairs = min(len(ROWS), PAIRS) if ask.side == "kl" else ask.pairs * ask.steps
    assert gpu.pace(found) == pairs / found["seconds"]
    if ask.side not in ("score", "kl"):
        # Prompts count once, so a pair has fewer tokens than two rows of the limit.
        assert 0 < found["unique_tokens"] < 2 * ask.max_length * ask.pairs
        assert found["parameters"] == 139_584


def test_the_gpu_bench_measures_ours_in_the_workers_environment_and_stock_trl_in_none(rows, monkeypatch):
    around = []

    def run(command, env, **_):
        around.append(env.get("PYTORCH_ALLOC_CONF"))
        return subprocess.CompletedProcess(command, 0, '{"seconds": 1.0}', "")

    monkeypatch.delenv("PYTORCH_ALLOC_CONF", raising=False)
    monkeypatch.setattr("tests.bench.gpu.subprocess.run", run)
    assert list(gpu.measure(gpu.DRY[1:3], rows, float("inf"), {})) == ["stock-4x2", "workbench-4x4"]
    assert around == [None, "expandable_segments:True"]


def test_what_the_gpu_bench_has_is_not_measured_again(rows, monkeypatch):
    def refused(*_, **__):
        raise AssertionError("measured")

    known = {ask.name: {**asdict(ask), "seconds": 1.0} for ask in gpu.PLAN}
    monkeypatch.setattr("tests.bench.gpu.subprocess.run", refused)
    assert list(gpu.measure(gpu.PLAN, rows, float("inf"), known)) == []
    known["stock-16x16"] = {"side": "stock", "part": 16, "out_of_memory": True}
    del known["stock-32x32"], known["stock-64x64"]  # larger than what did not fit
    assert list(gpu.measure(gpu.PLAN, rows, float("inf"), known)) == []
    del known["stock-16x4"]
    assert list(gpu.measure(gpu.PLAN, rows, 0.0, known)) == []  # no time is left
    with pytest.raises(AssertionError, match="measured"):
        list(gpu.measure(gpu.PLAN, rows, float("inf"), known))
