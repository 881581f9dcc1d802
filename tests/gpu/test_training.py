"""What only a CUDA device can show. Everything else about training is tested without one."""

import math
from datetime import datetime

import pytest
import torch

from workbench.config import build_config
from workbench.engine.fast.loop import PairLoop
from workbench.engine.model.downloads import load_tokenizer
from workbench.engine.model.loading import load_base
from workbench.engine.training.checkpoint_files import adapter_state
from workbench.engine.training.data import prepare
from workbench.engine.training.job import train
from workbench.engine.training.trainers import build_trainer
from workbench.runs.events import Eval, EventReader, Finished, Started, Step
from workbench.runs.folder import create, to_line
from workbench.runs.writer import EventWriter

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def row(number, split):
    return {
        "id": f"p{number}",
        "prompt": [{"role": "user", "content": f"Case {number}: what about my order?"}],
        "chosen": [{"role": "assistant", "content": "Gladly. We look after it at once."}],
        "rejected": [{"role": "assistant", "content": "That is your own fault."}],
        "split": split,
    }


ROWS = [row(number, "holdout" if number % 4 == 0 else "train") for number in range(16)]


@pytest.mark.parametrize("quantization", ["nf4", "int8", "none"])
def test_a_run_in_bfloat16_learns(quantization, tmp_path):
    values = {"pairs": ["x"], "quantization": quantization, "learning_rate": 1e-3, "batch_size": 4, "epochs": 3.0}
    folder = create(tmp_path, build_config(values), map(to_line, ROWS), {}, now=datetime(2026, 1, 1))
    torch.cuda.reset_peak_memory_stats()
    with EventWriter(folder.events) as events:
        end = train(folder, folder.record().config, events)
    found = list(EventReader(folder.events).read())
    steps = [event for event in found if isinstance(event, Step)]
    evals = [event for event in found if isinstance(event, Eval)]
    (started,) = [event for event in found if isinstance(event, Started)]
    assert isinstance(end, Finished)
    assert started.device == torch.cuda.get_device_name(0)
    assert steps[0].metrics["loss"] == pytest.approx(math.log(2), abs=1e-3)
    assert evals[-1].metrics["rewards/margins"] > 0.1
    assert end.changed > 0.9
    assert 0 < end.peak_memory_bytes <= torch.cuda.max_memory_allocated()


def test_the_base_is_bfloat16_and_the_adapter_float32(tmp_path):
    tokenizer, model = load_tokenizer("tiny"), load_base("tiny", "nf4")
    assert model.dtype == torch.bfloat16
    config = build_config({"pairs": ["x"], "checkpointing": "all"})
    trainer = build_trainer(config, model, tokenizer, prepare(tokenizer, ROWS, 1024), tmp_path)
    assert isinstance(trainer, PairLoop)
    assert trainer.model.get_base_model().is_activation_checkpointing
    assert {each.dtype for each in adapter_state(trainer.model).values()} == {torch.float32}
    assert {parameter.device.type for parameter in trainer.model.parameters()} == {"cuda"}
