"""Random models of the families, pairs of every shape for them, and trainers of both kinds over these."""

import random
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from tests.unit.engine import random_models
from workbench.config import build_config
from workbench.engine.model.downloads import load_tokenizer
from workbench.engine.model.loading import load_base
from workbench.engine.model.token_ids import PairIds
from workbench.engine.training.data import Prepared
from workbench.engine.training.trainers import build_trainer
from workbench.engine.training.watcher import Watcher

LIMIT = 64


@cache
def saved(family, **changes_of_config):
    """The folder of a random model of a family; with `changes_of_config`, one whose layers differ."""
    folder = Path(mkdtemp(prefix=family))
    random_models.make(folder, family)
    if changes_of_config:
        config = AutoConfig.from_pretrained(folder, **changes_of_config)
        torch.manual_seed(7)
        AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return str(folder)


def wide(family):
    """A model of the family whose sliding window, where it has one, is wider than any row."""
    return saved(family, sliding_window=256) if family in ("mistral", "gemma") else saved(family)


def pairs(count, seed=0):
    """Pairs of very different lengths, some with hardly an answer, some cut by LIMIT, some that begin alike."""
    draw = random.Random(seed)

    def ids(length):
        return [draw.randrange(10, 300) for _ in range(length)]

    found = [
        PairIds(ids(5), ids(1), ids(2)),
        PairIds(ids(50), ids(30), ids(4)),  # chosen is cut
        PairIds(ids(LIMIT - 1), ids(9), ids(9)),  # one token of each is left
        PairIds(ids(1), ids(40), ids(1)),
    ]
    alike = ids(6)
    found += [PairIds(ids(7), alike + ids(3), alike + ids(9)), PairIds(ids(7), alike, alike + ids(2))]
    while len(found) < count:
        found.append(PairIds(ids(draw.randrange(1, 40)), ids(draw.randrange(1, 30)), ids(draw.randrange(1, 30))))
    return found[:count]


class Told(Watcher):
    """Keeps the metrics that are told."""

    def __init__(self):
        self.logs, self.evaluations = [], []

    def logged(self, _step, _epoch, metrics):
        self.logs.append(dict(metrics))

    def evaluated(self, _step, _epoch, metrics):
        self.evaluations.append(dict(metrics))


def trainer(model, train, path, *, holdout=(), quantization="nf4", **values):
    """The trainer that a run with these settings has."""
    base = {
        "pairs": ["x"], "model": model, "quantization": quantization, "batch_size": 4, "max_length": LIMIT, "lora_r": 4,
        "lora_alpha": 8, "learning_rate": 1e-3, "scheduler": "constant", "warmup": 0.0, "save_steps": 10**6,
        "attention": "auto",
    }  # fmt: skip
    config = build_config(base | values)
    loaded = load_base(model, quantization, config.attention, device="cpu")
    prepared = Prepared(list(train), list(holdout), 0, 0, 0)
    told = Told()
    made = build_trainer(config, loaded, load_tokenizer(model), prepared, Path(path), told)
    made.told = told
    return made


def stir(each):
    """Gives the adapter something to say: as it is drawn, it says nothing."""
    torch.manual_seed(3)
    with torch.no_grad():
        for name, parameter in each.model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.05)


def losses(each):
    """Trains to the end; the loss of every step."""
    each.run()
    return [metrics["loss"] for metrics in each.told.logs]
