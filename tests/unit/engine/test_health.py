"""Each alert, provoked by a real run of the trainer on the embedded model; and good runs, which give none."""

import random
import time

import torch
from datasets import Dataset
from peft import LoraConfig
from trl import GRPOConfig, GRPOTrainer

from workbench.config import build_config
from workbench.engine.fast.loop import PairLoop
from workbench.engine.methods.trl_trainer import Watched
from workbench.engine.model.downloads import load_tokenizer
from workbench.engine.model.loading import load_base
from workbench.engine.training.control import Control
from workbench.engine.training.instruments import Divergence, Movement, Sampler
from workbench.engine.training.job import train
from workbench.engine.training.reporter import Instruments, Reporter
from workbench.engine.training.resume import find_origin
from workbench.engine.training.trainers import build_trainer
from workbench.runs.events import EventReader, Step, Warned
from workbench.runs.folder import create, to_line
from workbench.runs.health import Health
from workbench.runs.writer import EventWriter
from workbench.tiny.starters import build_pairs

STARTERS = build_pairs()


def rows(count, name="support-tone", holdout=0):
    """Starter pairs, the last ones held out."""
    found = [dict(row) for row in STARTERS[name][: count + holdout]]
    for number, row in enumerate(found):
        row["split"] = "train" if number < count else "holdout"
    return found


def said(text):
    return [{"role": "assistant", "content": text}]


def run(path, pairs, **values):
    """The alerts of a run: full learning rate from the first step on, few pairs a step, no answers, no checkpoints."""
    base = {
        "pairs": ["x"], "learning_rate": 1e-3, "scheduler": "constant", "warmup": 0.0, "batch_size": 4, "max_steps": 5,
        "save_steps": 1000, "sample_tokens": 0,
    }  # fmt: skip
    folder = create(path, build_config(base | values), map(to_line, pairs), {"x": "0" * 64})
    with EventWriter(folder.events) as events:
        events.write(train(folder, folder.record().config, events))
    told = [each for each in EventReader(folder.events).read() if isinstance(each, Warned)]
    return {each.code: each for each in told if each.code}


def test_a_healthy_run_gives_no_alert(tmp_path):
    alerts = run(tmp_path, rows(40, holdout=2), max_steps=10, sample_tokens=32, warmup=0.1)
    assert alerts == {}


def test_a_policy_that_is_not_the_reference_at_first(tmp_path, monkeypatch):
    """An adapter that does something before the first update, as one of another run would."""

    def build(*arguments):
        trainer = build_trainer(*arguments)
        for name, parameter in trainer.model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.05)
        return trainer

    monkeypatch.setattr("workbench.engine.training.job.build_trainer", build)
    alerts = run(tmp_path, rows(4), max_steps=1)
    assert list(alerts) == ["first-loss"]
    assert "the loss is 0.6931; it was" in alerts["first-loss"].message


def test_a_learning_rate_too_small_to_learn(tmp_path):
    alerts = run(tmp_path, rows(20), learning_rate=1e-6)
    assert list(alerts) == ["stuck"]
    assert alerts["stuck"].title == "The loss is stuck at 0.6931"
    assert "at a learning rate of 1e-06 the margin is 0.0" in alerts["stuck"].message


def test_a_learning_rate_too_small_to_move_a_weight(tmp_path):
    alerts = run(tmp_path, rows(20), learning_rate=1e-12)
    assert list(alerts) == ["not-moving"]
    assert "0.0% of the entries" in alerts["not-moving"].message
    assert "A learning rate of 1e-12 is too small" in alerts["not-moving"].message


def test_identical_pairs_have_no_gradient(tmp_path):
    alerts = run(tmp_path, [row | {"rejected": row["chosen"]} for row in rows(20)])
    assert list(alerts) == ["not-moving"]
    assert "There is no gradient" in alerts["not-moving"].message
    assert "workbench check" in alerts["not-moving"].remedy


def test_a_learning_rate_that_breaks_the_model(tmp_path):
    alerts = run(tmp_path, rows(32), learning_rate=0.3, batch_size=8)
    assert next(iter(alerts)) == "exploding"
    assert "it began at" in alerts["exploding"].message


def test_a_learning_rate_that_ends_in_no_number(tmp_path):
    alerts = run(tmp_path, rows(20), learning_rate=1.0, lora_alpha=4096, max_grad_norm=1e9, max_steps=6)
    assert "not-finite" in alerts
    assert "is nan since step" in alerts["not-finite"].message


def test_chosen_that_gives_itself_away(tmp_path):
    yes, no = said("Yes, I can help you with that."), said("Easy. Read the terms next time.")
    pairs = [row | {"chosen": yes, "rejected": no} for row in rows(64)]
    alerts = run(tmp_path, pairs, learning_rate=3e-3, batch_size=16, max_steps=4)
    assert list(alerts) == ["too-easy"]
    assert "every one of the last 32 pairs" in alerts["too-easy"].message


def test_both_answers_fall(tmp_path):
    alerts = run(tmp_path, rows(40), learning_rate=1e-2, batch_size=8)
    assert "displacement" in alerts
    assert "(training pairs)" in alerts["displacement"].message
    assert "--preset gentle" in alerts["displacement"].remedy


def test_labels_that_mean_nothing_are_learned_by_heart(tmp_path):
    flips = random.Random(1)
    noise = [
        row | ({"chosen": row["rejected"], "rejected": row["chosen"]} if flips.random() < 0.5 else {})
        for row in rows(8, holdout=8)
    ]
    alerts = run(tmp_path, noise, learning_rate=3e-3, batch_size=8, max_steps=12, eval_steps=3)
    assert "overfitting" in alerts
    assert "while that of the training pairs" in alerts["overfitting"].message


def test_answers_that_grow_with_the_chosen_ones(tmp_path):
    pairs = rows(16, "verbose", holdout=2)
    alerts = run(tmp_path, pairs, learning_rate=1e-2, loss_type=["sft"], max_steps=6, eval_steps=2, sample_tokens=64)
    assert "longer" in alerts
    assert "tokens long on average" in alerts["longer"].message


def test_a_machine_that_slows_down(tmp_path, monkeypatch):
    """A burden on the training steps themselves, six times what the first ones took."""
    real, took = PairLoop.forward_backward, []

    def burdened(self, *arguments, **named):
        began = time.perf_counter()
        real(self, *arguments, **named)
        if len(took) >= 7:
            time.sleep(6 * max(took[:7]))
        took.append(time.perf_counter() - began)

    monkeypatch.setattr(PairLoop, "forward_backward", burdened)
    alerts = run(tmp_path, rows(10), batch_size=1, max_steps=10)
    assert list(alerts) == ["slow"]
    assert "the median before was" in alerts["slow"].message


class Rewarded(GRPOTrainer):
    """TRL's trainer with what the reporter asks of a trainer of this house."""

    def __init__(self, **arguments):
        self.pairs_done = self.tokens_done = 0
        self.total_steps = 3
        super().__init__(**arguments)


def test_rewards_without_spread(tmp_path):
    """TRL's own GRPO under a constant reward: its logs go through the reporter as a DPO run's do."""
    folder = create(tmp_path, build_config({"pairs": ["x"]}), map(to_line, rows(4)), {"x": "0" * 64})
    with EventWriter(folder.events) as events:
        reporter = Reporter(folder, events, Health(None), Control(folder), find_origin(folder, events))
        model, tokenizer = load_base("tiny", "none", device="cpu"), load_tokenizer("tiny")
        trainer = Rewarded(
            model=model,
            args=GRPOConfig(
                output_dir=str(tmp_path / "out"), max_steps=3, per_device_train_batch_size=4, num_generations=2,
                max_completion_length=8, logging_steps=1, report_to="none", use_cpu=True, bf16=False,
                gradient_checkpointing=False, save_strategy="no", disable_tqdm=True,
            ),
            train_dataset=Dataset.from_list([{"prompt": row["prompt"]} for row in rows(4)]),
            reward_funcs=lambda completions, **_: [1.0] * len(completions),
            processing_class=tokenizer,
            peft_config=LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"),
            callbacks=[Watched(reporter)],
        )  # fmt: skip
        sampler = Sampler(tokenizer, model, [], 0)
        reporter.instruments = Instruments(trainer, Movement(trainer.model), Divergence([], 64), sampler, 0)
        trainer.train()
    told = [each for each in EventReader(folder.events).read() if isinstance(each, Step | Warned)]
    assert [each.metrics["frac_reward_zero_std"] for each in told[:3]] == [1.0, 1.0, 1.0]
    (alert,) = told[3:]
    assert (alert.code, alert.step) == ("no-spread", 3)
    assert "in 100% of the groups all answers got the same reward (mean reward 1" in alert.message
