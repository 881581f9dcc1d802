"""The real trainer on the embedded model: what it logs, what it changes, how it stops and how it fails."""

import math
import shutil
from dataclasses import dataclass

import pytest
import torch
from peft import PeftModel
from transformers import AutoConfig, AutoModelForCausalLM, Qwen3Config, Qwen3MoeConfig

from tests.unit.engine.fast.models import saved
from tests.unit.engine.training import BETA, ROWS, make, plain_logps, read, row, work
from workbench.engine import train as worker
from workbench.engine.model.downloads import load_tokenizer
from workbench.engine.model.loading import left_whole, load_base
from workbench.engine.training.data import prepare
from workbench.engine.training.trainers import build_trainer
from workbench.errors import WorkbenchError
from workbench.runs.events import Checkpoint, Eval, Failed, Finished, Phase, Started, Step, Stopped, Warned
from workbench.runs.folder import RunFolder
from workbench.runs.quantities import quantity
from workbench.runs.writer import EventWriter


@dataclass
class Done:
    folder: RunFolder
    end: Finished

    def of(self, kind):
        return read(self.folder, kind)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A run of two steps, each over all training pairs, with a checkpoint after each."""
    folder = make(tmp_path_factory.mktemp("runs"), save_steps=1, eval_steps=1, gradient_accumulation=3)
    return Done(folder, work(folder))


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer("tiny")


def test_the_first_loss_is_ln_2(done):
    first = done.of(Step)[0]
    assert first.step == 1
    assert first.metrics["loss"] == pytest.approx(math.log(2), abs=1e-4)
    assert first.metrics["rewards/chosen"] == first.metrics["rewards/rejected"] == 0.0
    assert done.of(Warned) == []


def test_the_second_loss_is_that_of_the_formula(done, tokenizer):
    """-log σ(β·((π_c − ref_c) − (π_r − ref_r))), by hand, with the adapter that the first step left."""
    base = load_base("tiny", "nf4", device="cpu")
    reference = [[plain_logps(base, tokenizer, each, side) for side in ("chosen", "rejected")] for each in ROWS[:6]]
    policy = PeftModel.from_pretrained(base, done.folder.checkpoints / "checkpoint-1").eval()
    margins = []
    for each, (chosen, rejected) in zip(ROWS, reference, strict=False):
        better = plain_logps(policy, tokenizer, each, "chosen") - chosen
        worse = plain_logps(policy, tokenizer, each, "rejected") - rejected
        margins.append(BETA * (better - worse))
    loss = sum(math.log1p(math.exp(-margin)) for margin in margins) / len(margins)
    second = done.of(Step)[1].metrics
    assert abs(loss - math.log(2)) > 0.02
    assert second["loss"] == pytest.approx(loss, abs=1e-4)
    assert second["rewards/margins"] == pytest.approx(sum(margins) / len(margins), abs=1e-4)


@pytest.mark.parametrize(("which", "adapter"), [(0, None), (-1, "adapter")])
def test_evaluations_are_means_over_the_held_out_pairs(which, adapter, done, tokenizer):
    """Three pairs in batches of two: a mean of batches would be another number."""
    model = load_base("tiny", "nf4", device="cpu")
    if adapter:
        model = PeftModel.from_pretrained(model, done.folder.path / adapter).eval()
    found = done.of(Eval)[which]
    for side in ("chosen", "rejected"):
        mean = sum(plain_logps(model, tokenizer, each, side) for each in ROWS[6:]) / 3
        assert found.metrics[f"logps/{side}"] == pytest.approx(mean, rel=1e-4)


def test_the_events_tell_the_whole_run(done):
    (started,) = done.of(Started)
    assert (started.total_steps, started.train_pairs, started.holdout_pairs) == (2, 6, 3)
    assert started.trainable_parameters < started.total_parameters / 10
    assert started.model_revision.startswith("sha256:")
    assert "adapter switched off" in started.reference
    assert [each.step for each in done.of(Step)] == [1, 2]
    assert [each.step for each in done.of(Eval)] == [0, 1, 2]
    assert [each.path for each in done.of(Checkpoint)] == ["checkpoints/checkpoint-1", "checkpoints/checkpoint-2"]
    wanted = {"loss", "grad_norm", "learning_rate", "rewards/chosen", "rewards/rejected", "rewards/margins"}
    wanted |= {"rewards/accuracies", "preference_accuracy", "logps/chosen", "logps/rejected"}
    assert wanted <= set(done.of(Step)[0].metrics)
    assert (wanted - {"grad_norm", "learning_rate"}) <= set(done.of(Eval)[0].metrics)
    assert all(each.pairs_per_second > 0 for each in done.of(Step))
    assert isinstance(done.end, Finished)
    assert done.end.peak_memory_bytes > 10**8
    assert done.folder.state().status == "finished"


@pytest.mark.parametrize("fast", [True, False])
def test_a_tie_counts_half_and_trls_number_stays_trls(tmp_path, fast):
    """Before the first update every pair is one."""
    folder = make(tmp_path, fast=fast, quantization="none", sample_tokens=0)
    work(folder)
    before, *_, after = read(folder, Eval)
    names = ("preference_accuracy", "rewards/accuracies")
    assert [before.metrics[name] for name in names] == [0.5, 0.0]
    assert [after.metrics[name] for name in names] == [1.0, 1.0]
    assert quantity(before.metrics, "accuracy") == 0.5


def test_the_adapter_is_saved_whole(done):
    assert done.end.changed > 0.99
    names = {path.name for path in done.folder.adapter.iterdir()}
    assert {"adapter_model.safetensors", "adapter_config.json", "tokenizer.json", "README.md"} <= names
    card = (done.folder.adapter / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: peft\n")
    assert "6 pairs trained, 3 held out" in card
    assert "| rewards/margins | 0.0000 |" in card
    assert not (done.folder.path / "adapter.tmp").exists()


def test_adapters_are_float32_in_the_optimizer_from_exact_values(tmp_path, tokenizer):
    """TRL leaves the adapters of quantized models in bfloat16, where small updates are lost."""
    folder = make(tmp_path)
    prepared = prepare(tokenizer, ROWS, 1024)
    made = {}
    for quantization in ("nf4", "none"):
        model = load_base("tiny", quantization, device="cpu")
        config = folder.record().config.model_copy(update={"fast": False})
        made[quantization] = build_trainer(config, model, tokenizer, prepared, folder.checkpoints)
    trainer = made["nf4"]
    parameters, other = ([each for each in model.model.parameters() if each.requires_grad] for model in made.values())
    assert {each.dtype for each in parameters} == {torch.float32}
    held = [each for group in trainer.create_optimizer().param_groups for each in group["params"]]
    assert {id(each) for each in held} == {id(each) for each in parameters}
    drawn = torch.cat([each.flatten() for each in parameters])
    assert (drawn.bfloat16().float() != drawn).float().mean() > 0.4  # A is exact; B, the other half, is zero
    torch.testing.assert_close(drawn, torch.cat([each.flatten() for each in other]))


@pytest.mark.parametrize(
    ("values", "pairs"),
    [
        ({"max_steps": 0, "epochs": 2.0, "batch_size": 4}, 9),
        ({"max_steps": 0, "epochs": 1.5, "batch_size": 4, "gradient_accumulation": 2}, 9),
        ({"max_steps": 0, "epochs": 1.0, "batch_size": 4, "gradient_accumulation": 4}, 9),
        ({"max_steps": 7, "epochs": 1.0, "batch_size": 4}, 5),
    ],
)
def test_steps_are_planned_as_the_trainer_counts_them(values, pairs, tmp_path, tokenizer):
    config = make(tmp_path, fast=False, **values).record().config
    prepared = prepare(tokenizer, [row(number) for number in range(pairs)], 1024)
    trainer = build_trainer(config, load_base("tiny", "none", device="cpu"), tokenizer, prepared, tmp_path)
    trainer.args.max_steps = values["max_steps"] or -1
    loader = trainer.get_train_dataloader()
    total = trainer.set_initial_training_values(trainer.args, loader)[-1]
    assert config.total_steps(pairs) == total


class StopsAfterFirstStep(EventWriter):
    """Asks for a stop as someone at another terminal would, at a moment that the test knows."""

    def __init__(self, path):
        super().__init__(path)
        self.stop = path.parent / "stop"

    def write(self, event):
        super().write(event)
        if isinstance(event, Step):
            self.stop.touch()


class StopsInEvaluation(StopsAfterFirstStep):
    def write(self, event):
        EventWriter.write(self, event)
        if isinstance(event, Step) and event.step == 2:
            self.stop.touch()


class StopsWhileLoading(StopsAfterFirstStep):
    def write(self, event):
        EventWriter.write(self, event)
        if isinstance(event, Phase) and event.name == "tokenizing the pairs":
            self.stop.touch()


@pytest.mark.parametrize(("writer", "values", "step"), [
    (StopsAfterFirstStep, {"holdout": 0.0}, 2),
    (StopsInEvaluation, {"eval_steps": 2}, 2),
])  # fmt: skip
def test_a_stop_saves_a_checkpoint_and_the_adapter(writer, values, step, tmp_path):
    folder = make(tmp_path, max_steps=50, **values)
    end = work(folder, writer)
    assert isinstance(end, Stopped)
    assert end.step == step
    assert end.changed > 0.9
    assert (folder.adapter / "adapter_model.safetensors").is_file()
    checkpoint = folder.checkpoints / f"checkpoint-{step}"
    assert {"optimizer.pt", "scheduler.pt", "rng_state.pth"} <= {path.name for path in checkpoint.iterdir()}
    assert [each.path for each in read(folder, Checkpoint)] == [f"checkpoints/checkpoint-{step}"]
    assert read(folder, Step)[-1].step == step


def test_a_stop_before_the_first_step_trains_nothing(tmp_path):
    folder = make(tmp_path)
    end = work(folder, StopsWhileLoading)
    assert isinstance(end, Stopped)
    assert (end.step, end.changed) == (0, 0.0)
    assert read(folder, Step) == []
    assert not folder.adapter.exists()


def test_only_the_last_checkpoints_are_kept(tmp_path):
    folder = make(tmp_path, max_steps=4, save_steps=1, keep_checkpoints=2, rows=ROWS[:6])
    work(folder)
    assert sorted(path.name for path in folder.checkpoints.iterdir()) == ["checkpoint-3", "checkpoint-4"]


def test_mixed_losses_run_and_a_broken_loss_is_told(tmp_path):
    folder = make(tmp_path, loss_type=["sigmoid", "sft"], loss_weights=[1.0, 0.5], max_steps=6, learning_rate=1.0,
                  max_grad_norm=1e9, lora_alpha=4096)  # fmt: skip
    work(folder)
    first, *_, last = read(folder, Step)
    assert first.metrics["loss"] > math.log(2) + 0.1
    assert first.metrics["rewards/margins"] == 0.0
    assert math.isnan(last.metrics["loss"])
    assert [each.code for each in read(folder, Warned)] == ["not-finite"]


@pytest.mark.parametrize(
    ("values", "told"),
    [({"target_modules": ["no_such"]}, "no_such"), ({"target_modules": ["lm_head"]}, "lm_head"),
     ({"loss_type": ["exo_pair"]}, "moothing")],
)  # fmt: skip
def test_settings_that_do_not_fit_are_told(values, told, tmp_path):
    with pytest.raises(WorkbenchError, match=told):
        work(make(tmp_path, **values))


def test_the_worker_tells_every_failure(tmp_path, monkeypatch, capfd):
    def fail(error):
        def train(*_):
            raise error

        return train

    for number, (error, title, hint) in enumerate(
        [
            (WorkbenchError("Told", "why", "what to do"), "Told", "what to do"),
            (
                torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"),
                "Out of memory",
                "gradient_accumulation=6",
            ),
            (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "Out of memory", "gradient_accumulation=6"),
            (ZeroDivisionError("first\nlast"), "The worker met an error", ""),
        ]
    ):
        folder = make(tmp_path / str(number))
        monkeypatch.setattr("workbench.engine.training.job.train", fail(error))
        monkeypatch.setattr(worker, "_claim", lambda _: None)  # signals and environment are the real worker's
        assert worker.main([str(folder.path)]) == 1
        (end,) = read(folder, Failed)
        assert end.title == title
        assert hint in end.hint
    assert end.message == "ZeroDivisionError: last"
    assert "Traceback" in capfd.readouterr().err


def test_the_worker_refuses_what_is_no_run_to_train(tmp_path, done, capsys):
    assert worker.main([]) == 2
    assert worker.main([str(tmp_path)]) == 2
    assert "no run.toml" in capsys.readouterr().err
    assert worker.main([str(done.folder.path)]) == 2
    assert "has finished" in capsys.readouterr().err


@pytest.mark.parametrize(("config", "warns"), [(Qwen3MoeConfig, True), (Qwen3Config, False)])
def test_experts_that_stay_whole_are_told(config, warns, tmp_path):
    """transformers holds them in one parameter, which bitsandbytes passes by; NF4 packs them here."""
    shutil.copytree(saved("qwen3"), tmp_path / "model")
    sizes = {"hidden_size": 64, "moe_intermediate_size": 64, "num_experts": 8, "num_experts_per_tok": 2, "head_dim": 16}
    small = {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 128}
    before = AutoConfig.from_pretrained(tmp_path / "model")
    ends = {"eos_token_id": before.eos_token_id, "bos_token_id": before.bos_token_id, "pad_token_id": 0}
    made = AutoModelForCausalLM.from_config(config(vocab_size=before.vocab_size, **sizes, **small, **ends))
    made.save_pretrained(tmp_path / "model")
    held = load_base(str(tmp_path / "model"), "int8", device="cpu")
    experts = sum(each.nbytes for name, each in held.named_parameters() if "experts" in name)
    assert bool(experts) == warns
    assert left_whole(held)[0] >= experts
    folder = make(tmp_path / "runs", model=str(tmp_path / "model"), quantization="int8", max_steps=1, sample_tokens=0)
    assert isinstance(work(folder), Finished)
    told = [each.message for each in read(folder, Warned) if "not held in int8" in each.title]
    assert bool(told) == warns


def test_a_run_tells_how_many_layers_it_computes_again(tmp_path):
    for level in ("auto", "half"):
        folder = make(tmp_path / level, max_steps=1, sample_tokens=0, checkpointing=level)
        assert isinstance(work(folder), Finished)
        (started,) = read(folder, Started)
        assert (started.checkpointing, started.tokens_at_once) == ("none" if level == "auto" else level, 4096)
