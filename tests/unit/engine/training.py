"""Small runs on the embedded model, trained in this process."""

import torch

from workbench.config import build_config
from workbench.engine.training.job import train
from workbench.methods import uses
from workbench.runs.events import EventReader
from workbench.runs.folder import create, to_line
from workbench.runs.writer import EventWriter

BETA = 0.3
SUBJECTS = ["the parcel", "my account", "the card", "the alarm", "a refund", "the door", "my order", "this bill"]


def row(number, split="train"):
    subject = SUBJECTS[number % len(SUBJECTS)]
    return {
        "id": f"p{number}",
        "prompt": [{"role": "user", "content": f"What about {subject}{'?' * (1 + number % 3)}"}],
        "chosen": [{"role": "assistant", "content": f"Gladly: {subject} is fine now." + " Thanks." * (number % 4)}],
        "rejected": [{"role": "assistant", "content": "No." + " Go away." * (number % 5)}],
        "split": split,
    }


ROWS = [*(row(number) for number in range(6)), *(row(number, "holdout") for number in range(6, 9))]


def make(path, rows=ROWS, **values):
    """A run on the embedded model, all training rows in one batch, unless `values` say otherwise."""
    base = {
        "pairs": ["x"], "beta": BETA, "learning_rate": 2e-3, "scheduler": "constant", "warmup": 0.0, "batch_size": 6,
        "lora_r": 4, "lora_alpha": 8, "max_steps": 2,
    }  # fmt: skip
    method = values.get("method", "dpo")
    used = {key: value for key, value in base.items() if uses(method, key)}
    return create(path, build_config(used | values), map(to_line, rows), {"x": "0" * 64})


def work(folder, writer=EventWriter):
    with writer(folder.events) as events:
        end = train(folder, folder.record().config, events)
        events.write(end)
    return end


def read(folder, kind):
    return [event for event in EventReader(folder.events).read() if isinstance(event, kind)]


def plain_logps(model, tokenizer, row, side):
    """Log-probability of a response by transformers alone, from the chat template's text."""
    prompt = tokenizer.apply_chat_template(row["prompt"], tokenize=False, add_generation_prompt=True)
    whole = tokenizer.apply_chat_template(row["prompt"] + row[side], tokenize=False)
    ids = tokenizer(whole, return_tensors="pt")["input_ids"]
    begin = len(tokenizer(prompt)["input_ids"])
    with torch.no_grad():
        logps = model(ids).logits[0, :-1].float().log_softmax(-1)
    return logps.gather(-1, ids[0, 1:, None])[begin - 1 :].sum().item()
