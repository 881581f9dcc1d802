"""What the reference gives a pair is computed once, found again by the next run, and never stale."""

import math
from dataclasses import replace

import pytest
import torch

from tests.unit.engine.fast.models import losses, pairs, saved, trainer
from tests.unit.engine.training import make, read, row, work
from workbench.engine.fast.loop import PairLoop
from workbench.engine.fast.reference import References
from workbench.engine.scoring.score_cache import ScoreCache
from workbench.runs.events import Step

ROWS = [row(number) for number in range(8)] + [row(number, "holdout") for number in range(8, 10)]


def counting(asked):
    """A reference that gives the sums of the ids, and notes which pairs it was asked for."""

    def compute(some):
        asked.append(len(some))
        return torch.tensor([[float(sum(each.chosen)) for each in some], [float(sum(each.rejected)) for each in some]])

    return compute


def test_a_pair_is_computed_once_and_its_change_is_another_pair(tmp_path):
    some, asked = pairs(6), []
    with ScoreCache(tmp_path / "scores.sqlite") as cache:
        first = References(counting(asked), 6, cache, "v")
        values = first([4, 1], [some[4], some[1]])
        first([1, 4, 0], [some[1], some[4], some[0]])
        assert asked == [2, 1]
        first.keep()
    with ScoreCache(tmp_path / "scores.sqlite") as cache:
        again = References(counting(asked), 6, cache, "v")
        assert torch.equal(again([4, 1], [some[4], some[1]]), values)
        assert asked == [2, 1]
        for changed in (
            replace(some[0], prompt=[*some[0].prompt, 7]),
            replace(some[0], chosen=[*some[0].chosen[:-1], 7]),
            replace(some[0], rejected=[*some[0].rejected, 7]),
            replace(some[0], prompt=some[0].prompt[:-1], chosen=[some[0].prompt[-1], *some[0].chosen]),
        ):
            asked.clear()
            References(counting(asked), 6, cache, "v")([0], [changed])
            assert asked == [1]
        References(counting(asked), 6, cache, "other weights")([0], [some[0]])
        References(counting(asked), 6, cache, "")([0], [some[0]])
        assert asked == [1, 1, 1]


@pytest.fixture
def computed(monkeypatch):
    """How many pairs the reference was computed for since it was last cleared."""
    found, real = [], PairLoop._compute_reference

    def compute(self, some):
        found.append(len(some))
        return real(self, some)

    monkeypatch.setattr(PairLoop, "_compute_reference", compute)
    return found


def run(tmp_path, rows=ROWS, **values):
    base = {"batch_size": 4, "max_steps": 4, "sample_tokens": 0, "eval_steps": 4, "save_steps": 4}
    folder = make(tmp_path / "runs", rows, **base | values)
    work(folder)
    return [each.metrics["loss"] for each in read(folder, Step)]


def test_the_next_run_on_the_same_pairs_computes_no_reference(tmp_path, computed):
    first = run(tmp_path)
    assert sum(computed) == 10  # two epochs and two evaluations, each pair once
    computed.clear()
    assert run(tmp_path) == pytest.approx(first, abs=1e-4)
    other = run(tmp_path, beta=0.7, learning_rate=1e-4, loss_type=["ipo"], batch_size=2)
    assert other[0] != pytest.approx(first[0], abs=1e-2)
    assert run(tmp_path, batch_size=8)[0] == pytest.approx(math.log(2), abs=1e-4)
    assert computed == []


def test_what_would_be_stale_is_computed_again(tmp_path, computed, monkeypatch):
    run(tmp_path)
    computed.clear()
    changed = [dict(ROWS[0], chosen=[{"role": "assistant", "content": "Another answer."}]), *ROWS[1:]]
    run(tmp_path, changed)
    assert sum(computed) == 1
    computed.clear()
    run(tmp_path, quantization="none")
    assert sum(computed) == 10
    computed.clear()
    load = __import__("workbench.engine.training.job", fromlist=["load_tokenizer"]).load_tokenizer

    def retemplated(*asked, **how):
        tokenizer = load(*asked, **how)
        assert isinstance(tokenizer.chat_template, str)
        tokenizer.chat_template = "x" + tokenizer.chat_template
        return tokenizer

    monkeypatch.setattr("workbench.engine.training.job.load_tokenizer", retemplated)
    run(tmp_path)
    assert sum(computed) == 10


def test_two_runs_share_the_cache(tmp_path):
    some = pairs(6)
    with ScoreCache(tmp_path / "s.sqlite") as one, ScoreCache(tmp_path / "s.sqlite") as two:
        left, right = (References(counting([]), 6, cache, "v") for cache in (one, two))
        for place in range(6):
            (left if place % 2 else right)([place], [some[place]])
            left.keep()
            right.keep()
        computed = []
        References(counting(computed), 6, two, "v")(range(6), some)
        assert computed == []


def test_a_warm_run_has_the_losses_of_a_cold_one(tmp_path):
    cache, found = tmp_path / "s.sqlite", []
    for name in ("cold", "warm"):
        with ScoreCache(cache) as known:
            made = trainer(saved("llama"), pairs(12), tmp_path / name, epochs=2.0)
            made.remember(known, "v")
            found.append(losses(made))
            made.close()
    assert found[1] == pytest.approx(found[0], abs=1e-6)
