"""Every method trains for real on the embedded model, in four bits, and says of itself what is so."""

import json
import math

import pytest
import torch
from safetensors.torch import load_file

from tests.unit.engine.training import ROWS, make, read, row, work
from workbench.engine.methods.losses import LossSettings, Objective, PairLogps
from workbench.engine.model.loading import attach_adapter, load_base
from workbench.errors import WorkbenchError
from workbench.methods import METHODS
from workbench.runs.events import Eval, Finished, Sample, Started, Step
from workbench.runs.pair_scores import read_margins


def trained(path, method, **values):
    if method != "reward":
        values = {"sample_tokens": 4} | values
    folder = make(path, method=method, max_steps=4, eval_steps=4, **values)
    assert isinstance(work(folder), Finished)
    return folder


def weights(folder):
    return load_file(folder.adapter / "adapter_model.safetensors")


@pytest.mark.parametrize("method", ["simpo", "orpo"])
def test_a_method_without_a_reference_makes_no_forward_of_one(tmp_path, method) -> None:
    folder = trained(tmp_path, method)
    (started,) = read(folder, Started)
    assert started.reference.startswith("none")
    steps, evals = read(folder, Step), read(folder, Eval)
    assert steps[-1].metrics["rewards/margins"] > steps[0].metrics["rewards/margins"]
    assert evals[-1].metrics["loss"] < evals[0].metrics["loss"]
    assert evals[-1].metrics["kl"] > 0  # How far it went from the base is told of it all the same.
    assert read(folder, Sample)
    scores = read_margins(folder.path)
    assert {each.ref_chosen for each in scores.values()} == {None}


@pytest.mark.parametrize("method", ["simpo", "orpo"])
def test_what_is_logged_is_the_loss_of_what_is_logged(tmp_path, method) -> None:
    """One pair: its loss and rewards follow from its log-probabilities by the pure functions."""
    rows = [ROWS[0], ROWS[7]]
    folder = make(tmp_path, rows=rows, method=method, max_steps=1, batch_size=1, quantization="none", sample_tokens=0)
    work(folder)
    (step,) = read(folder, Step)
    counts = {side: step.metrics[f"logps/{side}"] / step.metrics[f"rewards/{side}"] * 0.3 for side in SIDES}
    assert all(count == pytest.approx(round(count), abs=1e-3) for count in counts.values())
    logps = PairLogps(
        *(torch.tensor([step.metrics[f"logps/{side}"]]) for side in SIDES),
        *(torch.tensor([round(counts[side])]) for side in SIDES),
    )
    objective = Objective([method], [], LossSettings(beta=0.3), reference=False)
    assert step.metrics["loss"] == pytest.approx(objective.losses(logps).item(), rel=1e-5)
    better, worse = objective.rewards(logps)
    assert step.metrics["rewards/margins"] == pytest.approx((better - worse).item(), rel=1e-5)
    assert read_margins(folder.path)["p0"].margin == pytest.approx((better - worse).item(), rel=1e-5)


SIDES = ("chosen", "rejected")


def test_kto_judges_both_answers_of_a_pair_against_the_reference(tmp_path) -> None:
    folder = trained(tmp_path, "kto", undesirable_weight=2.0)
    steps, evals = read(folder, Step), read(folder, Eval)
    # Before the first update every reward is zero: half of each answer's weight, over as many good ones as bad ones.
    assert steps[0].metrics["loss"] == pytest.approx((1.0 + 2.0) / 4, abs=1e-6)
    assert steps[0].metrics["rewards/margins"] == pytest.approx(0.0, abs=1e-6)
    assert evals[-1].metrics["rewards/margins"] > 0.5
    assert [each.metrics["preference_accuracy"] for each in (evals[0], evals[-1])] == [0.5, 1.0]
    assert "kto/reference_point" in steps[0].metrics
    scores = read_margins(folder.path)
    assert len(scores) == len(ROWS)
    for score in scores.values():
        margin = 0.3 * ((score.chosen - score.ref_chosen) - (score.rejected - score.ref_rejected))
        assert score.margin == pytest.approx(margin, rel=1e-4)
    held = [scores[f"p{number}"].margin for number in (6, 7, 8)]
    assert sum(held) / 3 == pytest.approx(evals[-1].metrics["rewards/margins"], rel=1e-4)


@pytest.mark.parametrize("quantization", ["nf4", "none"])
def test_a_reward_model_learns_to_rank_and_answers_nothing(tmp_path, quantization) -> None:
    folder = trained(tmp_path, "reward", quantization=quantization)
    steps, evals = read(folder, Step), read(folder, Eval)
    assert (evals[-1].metrics["accuracy"], evals[-1].metrics["preference_accuracy"]) == (1.0, 1.0)
    assert evals[-1].metrics["margin"] > evals[0].metrics["margin"] + 0.3
    assert not {"kl", "rewards/margins", "logps/chosen"} & (steps[-1].metrics.keys() | evals[-1].metrics.keys())
    assert not read(folder, Sample)
    assert any(name.endswith("score.weight") for name in weights(folder))
    assert all(each.dtype == torch.float32 for each in weights(folder).values())
    with pytest.raises(WorkbenchError, match="reward model"):
        attach_adapter(load_base("tiny", "none"), folder.adapter, "run")


def test_a_reward_models_scores_are_to_differ_by_the_margins_of_the_pairs(tmp_path) -> None:
    """TRL's loss with a margin (arXiv 2307.09288, eq. 2), for one pair: -log sigmoid(difference - margin)."""
    rows = [row(0) | {"score_chosen": 9, "score_rejected": 5.5}, row(6, "holdout") | {"margin": -1.25}]
    for weight in (0.0, 0.5):
        folder = make(
            tmp_path / str(weight), rows=rows, method="reward", margin_weight=weight, max_steps=1, quantization="none"
        )
        work(folder)
        for event, margin in ((read(folder, Step)[0], 3.5), (read(folder, Eval)[-1], -1.25)):
            difference = torch.tensor(event.metrics["margin"] - weight * margin)
            expected = -torch.nn.functional.logsigmoid(difference).item()
            assert event.metrics["loss"] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    "method", ["simpo", "kto", *(pytest.param(each, marks=pytest.mark.slow) for each in ("orpo", "reward"))]
)
def test_after_an_interruption_the_losses_are_those_of_an_uninterrupted_run(tmp_path, method) -> None:
    values = {"method": method, "max_steps": 4, "save_steps": 2, "batch_size": 2, "quantization": "none", "holdout": 0}
    values |= {"rows": [row(number) for number in range(6)]}
    whole = make(tmp_path / "whole", **values)
    work(whole)
    cut = make(tmp_path / "cut", **values)
    work(cut)
    # As a worker leaves it that was killed after its first checkpoint.
    for path in cut.checkpoints.glob("checkpoint-4/*"):
        path.unlink()
    events = [line for line in cut.events.read_text().splitlines() if json.loads(line)["kind"] != "finished"]
    cut.events.write_text("\n".join(events) + "\n")
    work(cut)
    losses = [[step.metrics["loss"] for step in read(folder, Step)] for folder in (whole, cut)]
    assert len(losses[1]) == 6
    assert losses[1][4:] == pytest.approx(losses[0][2:], abs=1e-6)
    for name, tensor in weights(whole).items():
        assert torch.allclose(weights(cut)[name], tensor, atol=1e-6), name


@pytest.mark.parametrize("method", ["orpo", "reward"])
def test_the_adapters_card_says_what_the_method_made(tmp_path, method) -> None:
    folder = make(tmp_path, method=method, max_steps=1, quantization="none", rows=ROWS[:4])
    work(folder)
    card = (folder.adapter / "README.md").read_text()
    assert f"Method: {METHODS[method].title}." in card
    assert "loss_type" not in card
    assert math.isfinite(read(folder, Step)[-1].metrics["grad_norm"])
