"""What is measured beside the trainer's metrics: divergence, moved weights, answers, time."""

import time
from types import SimpleNamespace

import pytest
import torch
from peft import LoraConfig, get_peft_model

from tests.unit.engine.training import ROWS, row
from workbench.config import build_config
from workbench.engine.model.downloads import load_tokenizer
from workbench.engine.model.loading import load_base
from workbench.engine.training.control import Control
from workbench.engine.training.data import prepare
from workbench.engine.training.instruments import Divergence, Movement, Sampler, sample_prompts
from workbench.engine.training.reporter import Instruments, Reporter
from workbench.engine.training.resume import Origin
from workbench.engine.training.watcher import Due
from workbench.runs.checkpoints import RunProgress
from workbench.runs.folder import create
from workbench.runs.health import Health
from workbench.runs.state import RunState
from workbench.runs.writer import EventWriter

MAX_LENGTH = 24
"""Cuts some of the responses."""


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer("tiny")


@pytest.fixture(scope="module")
def model():
    """An adapter that does something, in training mode."""
    made = get_peft_model(load_base("tiny", "nf4", device="cpu"), LoraConfig(r=4, target_modules="all-linear"))
    torch.manual_seed(0)
    for name, parameter in made.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter.data, std=0.1)
    return made.train()


def state(model):
    flags = [module.training for module in model.modules()] + [each.requires_grad for each in model.parameters()]
    return flags, torch.get_rng_state(), torch.get_num_threads(), model.config.use_cache


def same(before, after):
    return before[0] == after[0] and torch.equal(before[1], after[1]) and before[2:] == after[2:]


@pytest.mark.parametrize("places", [3, 10**6])
def test_the_divergence_is_that_of_a_plain_computation_in_two_forwards(places, tokenizer, model, monkeypatch):
    """Pair by pair and token by token, no padding; once in few places at a time."""
    vocabulary = model.config.vocab_size
    monkeypatch.setattr("workbench.engine.fast.head.TILE_BYTES", {"cpu": 4 * 4 * vocabulary * places})
    pairs = prepare(tokenizer, [row(number) for number in range(12)], MAX_LENGTH).train
    total, count = 0.0, 0
    model.eval()
    for pair in pairs[:8]:
        for side in (pair.chosen, pair.rejected):
            ids = torch.tensor([(pair.prompt + side)[:MAX_LENGTH]])
            with torch.no_grad():
                policy = model(ids).logits[0].double().log_softmax(-1)
                with model.disable_adapter():
                    reference = model(ids).logits[0].double().log_softmax(-1)
            kl = (policy.exp() * (policy - reference)).sum(-1)[len(pair.prompt) - 1 : -1]
            total, count = total + kl.sum().item(), count + len(kl)
    model.train()
    assert any(len(pair.prompt + pair.chosen) > MAX_LENGTH for pair in pairs[:8])
    before = state(model)
    forwards = []
    hook = model.get_base_model().register_forward_hook(lambda *_: forwards.append(1))
    found = Divergence(pairs, MAX_LENGTH)(model)
    hook.remove()
    assert len(forwards) == 2
    assert same(before, state(model))
    assert found > 0.01
    assert found == pytest.approx(total / count, abs=1e-5)


def test_without_held_out_pairs_there_is_no_divergence():
    assert not Divergence([], 10)


def test_answers_are_the_greedy_ones_of_both_models(tokenizer, model):
    asked = sample_prompts(tokenizer, [*ROWS, ROWS[-1], row(20, "holdout")], 1024)
    held_out = [each for each in ROWS if each["split"] == "holdout"]
    assert [each.pair for each in asked] == [each["id"] for each in held_out[:2]]
    assert asked[0].text == held_out[0]["prompt"][0]["content"]
    sampler = Sampler(tokenizer, model, asked, 12)
    before = state(model)
    for _ in range(2):
        events = sampler(model, 7)
        assert same(before, state(model))
    model.eval()
    for question, event in zip(asked, events, strict=True):
        prompt = tokenizer.apply_chat_template(
            [{"role": "user", "content": event.prompt}], add_generation_prompt=True, return_tensors="pt"
        )["input_ids"]
        assert prompt[0].tolist() == list(question.ids)
        for text, tokens, switched_off in (
            (event.aligned, event.aligned_tokens, False),
            (event.base, event.base_tokens, True),
        ):
            ids = prompt
            with torch.no_grad():
                for _ in range(12):
                    if switched_off:
                        with model.disable_adapter():
                            logits = model(ids).logits
                    else:
                        logits = model(ids).logits
                    token = logits[0, -1].argmax()
                    if token == tokenizer.eos_token_id:
                        break
                    ids = torch.cat([ids, token[None, None]], dim=1)
            assert text == tokenizer.decode(ids[0, prompt.shape[1] :])
            assert tokens == ids.shape[1] - prompt.shape[1]
    model.train()
    assert [event.aligned for event in events] != [event.base for event in events]


def test_before_the_first_step_both_answer_alike(tokenizer, model):
    asked = sample_prompts(tokenizer, ROWS, 1024)
    for event in Sampler(tokenizer, model, asked, 4)(model, 0):
        assert (event.base, event.base_tokens) == (event.aligned, event.aligned_tokens)
    assert not Sampler(tokenizer, model, asked, 0)
    assert not Sampler(tokenizer, model, sample_prompts(tokenizer, ROWS[:2], 1024), 4)


@pytest.mark.parametrize("sample", [2**20, 100])
def test_movement_is_the_share_of_weights_that_changed(sample):
    torch.manual_seed(0)
    base = load_base("tiny", "none", device="cpu")
    made = get_peft_model(base, LoraConfig(r=4, target_modules=["q_proj", "v_proj"]))
    movement = Movement(made, sample)
    assert movement.of_first() == movement.of_all() == 0.0
    first = [each for name, each in made.named_parameters() if "lora_A" in name]
    with torch.no_grad():
        for each in first[::2]:
            each += 1e-6
    share = sum(each.numel() for each in first[::2]) / sum(each.numel() for each in first)
    assert movement.of_first() == pytest.approx(share, abs=0.05)
    assert 0 < movement.of_all() < movement.of_first()


class PausedOnce(Control):
    """Someone pauses the run after a step, and lets it go on a moment later."""

    looks = 0

    @property
    def pause(self):
        self.looks += 1
        return self.looks < 3


def test_a_training_goes_on_counting_its_seconds_and_leaves_pauses_out(tmp_path):
    folder = create(tmp_path, build_config({"pairs": ["x"]}), [], {"x": "0" * 64})
    with EventWriter(folder.events) as events:
        origin = Origin(None, RunProgress(seconds=5.0), RunState(), {})
        reporter = Reporter(folder, events, Health(None), PausedOnce(folder), origin)
        trainer = SimpleNamespace(pairs_done=0, tokens_done=0)
        reporter.instruments = Instruments(trainer, None, None, None, 1000)
        reporter.training_begins(4, evaluates=False)
        reporter.step_begins(4)
        time.sleep(0.05)
        reporter.step_ends(5, Due())
        began = time.perf_counter()
        before = reporter.seconds
        assert 5.05 <= before < 5.5
        assert not reporter.saved(5)
        paused = time.perf_counter() - began
    assert reporter.waited > 0.15
    assert reporter.seconds - before == pytest.approx(paused - reporter.waited, abs=0.05)
