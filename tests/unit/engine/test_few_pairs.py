"""From one pair on, every method plans and trains: batches larger than the data, no held-out pair, one prompt."""

import time
from pathlib import Path

import pytest

from tests.unit.engine.training import make, read, row, work
from workbench.config import build_config
from workbench.engine.model.downloads import load_tokenizer
from workbench.engine.training.data import prepare
from workbench.engine.training.trial import trial
from workbench.methods import uses
from workbench.runs.events import Finished, Started, Step

FUNCTION = "def longest(prompts, completions, **_):\n    return [float(len(str(each))) for each in completions]\n"
ONLINE = {"group_size": 4, "batch_size": 16, "completion_tokens": 6, "max_length": 128}
SMALL = {"batch_size": 16, "lora_r": 4, "learning_rate": 1e-3, "quantization": "none", "sample_tokens": 0}
PAIRWISE = [
    ("dpo", True),
    ("dpo", False),
    ("kto", True),
    *(pytest.param(method, True, marks=pytest.mark.slow) for method in ("simpo", "orpo", "reward")),
    *(pytest.param(method, False, marks=pytest.mark.slow) for method in ("simpo", "orpo")),
]


def rows(train: int, holdout: int) -> list[dict[str, object]]:
    return [row(number, "train" if number < train else "holdout") for number in range(train + holdout)]


def settings(method: str, fast: bool = True) -> dict[str, object]:
    values = SMALL | {"method": method, "fast": fast}
    return {key: value for key, value in values.items() if uses(method, key)}


@pytest.mark.parametrize(("train", "holdout"), [(1, 1), (3, 0), (5, 0), (17, 1)])
def test_a_trial_takes_any_number_of_pairs(tmp_path: Path, train: int, holdout: int) -> None:
    config = build_config({"pairs": ["x"], **settings("dpo"), "gradient_accumulation": 4 if train == 5 else 1})
    tokenizer = load_tokenizer("tiny")
    found = trial(config, tokenizer, prepare(tokenizer, rows(train, holdout), 1024), tmp_path, time.perf_counter())
    assert found.seconds > 0
    assert found.tokens > 0
    assert found.reference_seconds > 0
    assert (found.eval_seconds > 0, found.eval_tokens > 0) == (holdout > 0, holdout > 0)
    assert found.peak_bytes > 10**8


@pytest.mark.parametrize(("method", "fast"), PAIRWISE)
def test_a_trial_of_two_pairs_by_every_method(tmp_path: Path, method: str, fast: bool) -> None:
    config = build_config({"pairs": ["x"], **settings(method, fast)})
    tokenizer = load_tokenizer("tiny")
    found = trial(config, tokenizer, prepare(tokenizer, rows(2, 0), 1024), tmp_path, time.perf_counter())
    assert found.seconds > 0


@pytest.mark.parametrize("count", [1, *(pytest.param(count, marks=pytest.mark.slow) for count in (2, 3, 5))])
@pytest.mark.parametrize(("method", "fast"), PAIRWISE)
def test_every_method_trains_on_a_few_pairs(tmp_path: Path, method: str, fast: bool, count: int) -> None:
    folder = make(tmp_path, rows(count, count % 2), **settings(method, fast), max_steps=0, epochs=2.0)
    end = work(folder)
    assert isinstance(end, Finished)
    assert end.step == 2
    assert end.changed > 0
    assert read(folder, Started)[0].train_pairs == count
    assert [step.pairs for step in read(folder, Step)] == [count, 2 * count]


@pytest.mark.parametrize("count", [1, *(pytest.param(count, marks=pytest.mark.slow) for count in (3, 5))])
@pytest.mark.parametrize("method", ["grpo", "rloo"])
def test_answers_are_sampled_to_every_prompt(tmp_path: Path, method: str, count: int) -> None:
    function = tmp_path / "my_reward.py"
    function.write_text(FUNCTION)
    values = settings(method) | ONLINE | {"reward": f"{function}:longest", "max_steps": 0, "epochs": 1.0}
    folder = make(tmp_path, rows(count, 0), **values)
    end = work(folder)
    assert isinstance(end, Finished)
    # Four prompts a step, four answers a prompt: no step is left out, and none is short of prompts.
    assert end.step == -(-count // 4)
    assert [step.pairs for step in read(folder, Step)] == [16 * step for step in range(1, end.step + 1)]
