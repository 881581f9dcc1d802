"""The learning rate, step by step: that of transformers, begun one step on, so that no step is lost at zero."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim.lr_scheduler import LambdaLR
from transformers import get_scheduler

from tests.unit.engine.training import make, read, work
from workbench.engine.methods.trainer_setup import SCHEDULERS, schedule
from workbench.runs.events import Step

PEAK = 2e-3


def rates(made: LambdaLR, steps: int) -> list[float]:
    found = []
    for _ in range(steps):
        found.append(float(made.get_last_lr()[0]))
        made.optimizer.step()
        made.step()
    return found


def optimizer() -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=PEAK)


@given(st.sampled_from(sorted(SCHEDULERS.values())), st.integers(1, 60), st.floats(0, 0.99))
def test_it_is_that_of_transformers_begun_one_step_on(kind: str, steps: int, share: float) -> None:
    warmup = int(share * steps)
    ours = rates(schedule(kind, optimizer(), warmup, steps), steps)
    theirs = rates(get_scheduler(kind, optimizer(), warmup + 1, steps + 1), steps + 1)
    assert theirs[0] == 0
    assert ours == pytest.approx(theirs[1:], abs=1e-12)
    assert all(0 < rate <= PEAK for rate in ours)
    assert ours[warmup] == PEAK


@pytest.mark.parametrize("fast", [True, False])
def test_what_is_logged_is_the_rate_that_the_step_was_made_with(tmp_path, fast) -> None:
    folder = make(
        tmp_path,
        fast=fast,
        scheduler="cosine",
        warmup=0.3,
        max_steps=4,
        holdout=0,
        quantization="none",
        sample_tokens=0,
    )
    work(folder)
    logged = [step.metrics["learning_rate"] for step in read(folder, Step)]
    assert logged == pytest.approx([PEAK / 3, PEAK * 2 / 3, PEAK, PEAK / 2])


def test_the_first_of_few_steps_moves_the_adapter(tmp_path) -> None:
    folder = make(tmp_path, scheduler="cosine", warmup=0.05, max_steps=2, quantization="none", sample_tokens=0)
    work(folder)
    first, second = read(folder, Step)
    assert first.metrics["learning_rate"] == pytest.approx(PEAK / 2)
    assert second.metrics["rewards/margins"] > 0
