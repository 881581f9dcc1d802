"""GRPO and RLOO on the embedded model, under each kind of reward."""

import json
from pathlib import Path

import pytest
import torch
from peft import PeftModel

from tests.unit.engine.training import make, read, row, work
from workbench.config import build_config
from workbench.engine.methods.reward_sources import load_reward
from workbench.engine.model.loading import attach_adapter, load_base, load_reward_base
from workbench.errors import WorkbenchError
from workbench.launch import launch
from workbench.rewards import HOW, RunReward, parse_reward
from workbench.runs.events import Eval, Finished, Sample, Started, Step
from workbench.runs.folder import RunFolder
from workbench.user_functions import UserFunction, check_function
from workbench.workspace import Workspace

FUNCTION = '''
import json

def vowels(prompts, completions, chosen, **_):
    """As TRL calls it: a message or a text for each answer."""
    assert len(prompts) == len(completions) == len(chosen)
    assert prompts[0][-1]["role"] == "user"
    return [float(sum(letter in "aeiou" for letter in answer[0]["content"])) for answer in completions]

def merry(prompts, completions, template, **_):
    """Knows what the prompt's template was given."""
    assert len(template) == len(prompts)
    assert {json.dumps(given) for given in template} <= {'{"mood": "merry"}', '{"mood": "glum", "deep": true}', "{}"}
    return [float(given.get("mood") == "merry") for given in template]

def short(prompts, completions, **_):
    return [1.0]

def broken(prompts, completions, **_):
    return [1 / 0 for _ in completions]
'''
SMALL = {"group_size": 4, "batch_size": 8, "completion_tokens": 12, "max_length": 256, "sample_tokens": 4}


@pytest.fixture
def function(tmp_path: Path) -> Path:
    path = tmp_path / "my_reward.py"
    path.write_text(FUNCTION)
    return path


@pytest.mark.parametrize("method", ["grpo", "rloo"])
def test_it_learns_from_its_own_answers_and_tells_rewards(tmp_path, function, method) -> None:
    folder = make(tmp_path, method=method, max_steps=2, eval_steps=2, reward=f"{function}:vowels", **SMALL)
    assert isinstance(work(folder), Finished)
    steps, evals = read(folder, Step), read(folder, Eval)
    assert read(folder, Started)[0].reference.startswith("the base model")
    assert [step.pairs for step in steps] == [8, 16]
    for event in (*steps, *evals):
        assert {"reward", "reward_std", "frac_reward_zero_std", "completions/mean_length"} <= event.metrics.keys()
        assert 0 < event.metrics["completions/mean_length"] <= 12
    assert steps[0].metrics["kl"] == pytest.approx(0.0, abs=1e-5)
    assert steps[-1].metrics["adapter/changed"] == 1.0
    assert steps[-1].metrics["reward"] > 0
    assert steps[-1].tokens_per_second > 0
    assert read(folder, Sample)
    attach_adapter(load_base("tiny", "none"), folder.adapter, "run")


def test_a_function_gets_what_the_chat_template_was_given(tmp_path, function) -> None:
    given = [{"mood": "merry"}, {"mood": "glum", "deep": True}, {}]
    rows = [row(number) | {"chat_template_kwargs": given[number % 3]} for number in range(6)]
    quick = {**SMALL, "sample_tokens": 0, "batch_size": 24, "quantization": "none", "holdout": 0}
    folder = make(tmp_path, rows, method="grpo", max_steps=1, reward=f"{function}:merry", **quick)
    assert isinstance(work(folder), Finished)
    assert read(folder, Step)[0].metrics["reward"] == pytest.approx(2 / 6)


def test_enough_steps_raise_the_reward(tmp_path, function) -> None:
    folder = make(
        tmp_path, method="grpo", max_steps=12, eval_steps=12, reward=f"{function}:vowels", quantization="none",
        learning_rate=2e-2, beta=0.0, **{**SMALL, "group_size": 8, "batch_size": 16, "sample_tokens": 0},
    )  # fmt: skip
    work(folder)
    before, after = (each.metrics["reward"] for each in read(folder, Eval))
    assert after > before + 8


@pytest.mark.parametrize(
    ("method", "left"),
    [("grpo", 2), ("grpo", 0), *(pytest.param("rloo", step, marks=pytest.mark.slow) for step in (2, 0))],
)
def test_an_interrupted_run_goes_on_as_if_it_had_not_been(tmp_path, function, method, left) -> None:
    """From the last checkpoint that is left; or anew, where the evaluation before the first step is not made again."""
    values = SMALL | {"method": method, "reward": f"{function}:vowels", "quantization": "none", "eval_steps": 4}
    values |= {"max_steps": 4, "save_steps": 2, "sample_tokens": 0, "batch_size": 4}
    folder = make(tmp_path, **values)
    work(folder)
    for path in folder.checkpoints.glob("checkpoint-*/*"):
        if int(path.parent.name.partition("-")[2]) > left:
            path.unlink()
    events = [line for line in folder.events.read_text().splitlines() if json.loads(line)["kind"] != "finished"]
    folder.events.write_text("\n".join(events) + "\n")
    work(folder)
    steps = read(folder, Step)
    assert [step.step for step in steps] == [1, 2, 3, 4, *range(left + 1, 5)]
    assert [each.step for each in read(folder, Eval)] == [0, 4, 4]
    for name in ("reward", "reward_std", "grad_norm", "kl"):
        values = [step.metrics[name] for step in steps]
        assert values[4:] == pytest.approx(values[left:4], abs=1e-5), name


def test_a_runs_reward_is_its_score_or_its_implicit_reward(tmp_path) -> None:
    quick = {"quantization": "none", "max_steps": 2, "eval_steps": 2}
    scorer = make(tmp_path, method="reward", **quick)
    policy = make(tmp_path, method="dpo", sample_tokens=0, **quick)
    for folder in (scorer, policy):
        work(folder)
    prompts, answers = [[5, 6, 7], [8, 9, 10, 11, 12]], [[20, 21, 22, 23], [30, 31]]
    found = {}
    for folder in (scorer, policy):
        config = build_config({"pairs": ["x"], "method": "grpo", "reward": f"run:{folder.id}"})
        found[folder.id] = load_reward(config, tmp_path, 0)(prompt_ids=prompts, completion_ids=answers)

    head = load_reward_base("tiny", "none")
    head.config.pad_token_id = 0
    model = PeftModel.from_pretrained(head, str(scorer.adapter)).eval()
    with torch.no_grad():
        scores = [
            model(torch.tensor([prompt + answer])).logits.item()
            for prompt, answer in zip(prompts, answers, strict=True)
        ]
    assert found[scorer.id] == pytest.approx(scores, abs=1e-5)

    sums = []
    for adapter in (policy.adapter, None):
        model = load_base("tiny", "none")
        model = attach_adapter(model, adapter, "run") if adapter else model
        for prompt, answer in zip(prompts, answers, strict=True):
            with torch.no_grad():
                logps = model(torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
            sums.append(logps.gather(-1, torch.tensor(answer)[:, None]).sum().item())
    implicit = [0.3 * (sums[place] - sums[place + 2]) for place in (0, 1)]
    assert found[policy.id] == pytest.approx(implicit, abs=1e-5)
    assert max(map(abs, implicit)) > 1e-3


@pytest.mark.parametrize(("name", "told"), [("short", "1 numbers for 8"), ("broken", "ZeroDivisionError")])
def test_a_function_that_fails_ends_the_run_with_its_reason(tmp_path, function, name, told) -> None:
    folder = make(tmp_path, method="grpo", max_steps=1, reward=f"{function}:{name}", quantization="none", **SMALL)
    with pytest.raises(WorkbenchError, match="The reward function failed") as caught:
        work(folder)
    assert told in str(caught.value)


def test_what_reward_names() -> None:
    assert parse_reward("run:abc") == RunReward("abc")
    assert parse_reward("some/file.py:score") == UserFunction(Path("some/file.py"), "score")
    for wrong in ("run:", "abc", "file.py", "file.txt:score", "file.py:not a name"):
        with pytest.raises(WorkbenchError, match="no reward"):
            parse_reward(wrong)


def test_a_reward_is_checked_before_the_run_starts(tmp_path, function, monkeypatch) -> None:
    monkeypatch.setattr("workbench.launch.start", lambda _: None)
    (tmp_path / "pairs").mkdir()
    row = {"id": "a", "prompt": "Why?", "chosen": "So.", "rejected": "No."}
    (tmp_path / "pairs" / "x.jsonl").write_text(json.dumps(row) + "\n")
    workspace = Workspace.find(tmp_path)

    def asked(reward: str, **values) -> RunFolder:
        given = {"pairs": ["x"], "method": "grpo", "reward": reward, "holdout": 0, **values}
        return launch(workspace, build_config(given))

    monkeypatch.chdir(tmp_path)
    assert asked("my_reward.py:vowels").record().config.reward == f"{function}:vowels"
    for wrong, told in (
        ("my_reward.py:absent", "It has vowels, merry, short, broken"),
        ("nothing.py:vowels", "cannot be read"),
        ("run:nobody", "No run"),
        ("nonsense", "no reward"),
    ):
        with pytest.raises(WorkbenchError) as caught:
            asked(wrong)
        assert told in str(caught.value)
    (tmp_path / "bad.py").write_text("def f(:\n")
    with pytest.raises(WorkbenchError, match="not Python"):
        check_function(UserFunction(tmp_path / "bad.py", "f"), "reward", HOW)
    simpo = launch(workspace, build_config({"pairs": ["x"], "method": "simpo", "holdout": 0}))
    with pytest.raises(WorkbenchError, match="no reward to give"):
        asked(f"run:{simpo.id}")
    dpo = launch(workspace, build_config({"pairs": ["x"], "holdout": 0}))
    with pytest.raises(WorkbenchError, match="has no adapter yet"):
        asked(f"run:{dpo.id}")
