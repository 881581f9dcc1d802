"""Answers that are judged alone, without another one to the same prompt, train by kto as TRL's KTO trains them."""

import pytest
from datasets import Dataset
from peft import get_peft_model_state_dict
from safetensors.torch import load_file
from trl import KTOConfig, KTOTrainer

from tests.unit.engine.training import BETA, make, read, row, work
from workbench.engine.methods.trainer_setup import init_adapter, lora
from workbench.engine.model.downloads import load_tokenizer
from workbench.engine.model.loading import load_base
from workbench.engine.training.batch_order import LongestFirst, lengths
from workbench.engine.training.data import prepare
from workbench.runs.events import Eval, Started, Step
from workbench.runs.pair_scores import read_margins

BLANK = [{"role": "assistant", "content": ""}]


def judged(number, split="train"):
    """An answer alone: good where the number is even."""
    other = "rejected" if number % 2 == 0 else "chosen"
    return {**row(number, split), other: BLANK}


ROWS = [*map(judged, range(5)), row(5), *(judged(number, "holdout") for number in range(6, 10))]


def answers(rows):
    """The rows as TRL has them: good ones first, as here."""
    return Dataset.from_list(
        [
            {"prompt": each["prompt"], "completion": each[side], "label": side == "chosen"}
            for side in ("chosen", "rejected")
            for each in rows
            if each[side] != BLANK
        ]
    )


def test_answers_judged_alone_train_as_stock_kto_trains_them(tmp_path) -> None:
    values = {"method": "kto", "quantization": "none", "sample_tokens": 0, "undesirable_weight": 1.5}
    folder = make(tmp_path / "ours", ROWS, max_steps=3, eval_steps=3, **values)
    work(folder)
    steps, evals = read(folder, Step), read(folder, Eval)
    config = folder.record().config

    tokenizer, train = load_tokenizer("tiny"), [each for each in ROWS if each["split"] == "train"]
    prepared = prepare(tokenizer, ROWS, config.max_length)
    # The reference point is estimated from answers to other prompts, in the order of a batch. All of a batch are the
    # whole epoch here; while policy and reference are the same, that is in the first one, no order matters.
    order = LongestFirst(lengths(prepared.train, config.max_length), 6, config.seed)
    order.set_epoch(1)
    base = load_base("tiny", "none")
    stock = KTOTrainer(
        model=base,
        args=KTOConfig(
            output_dir=str(tmp_path / "stock"),
            beta=BETA,
            undesirable_weight=1.5,
            learning_rate=config.learning_rate,
            weight_decay=config.weight_decay,
            max_grad_norm=config.max_grad_norm,
            lr_scheduler_type="constant",
            max_steps=2,
            per_device_train_batch_size=7,
            per_device_eval_batch_size=7,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            bf16=False,
            use_cpu=True,
            gradient_checkpointing=False,
            disable_tqdm=True,
        ),
        train_dataset=answers([train[index] for index in order]),
        eval_dataset=answers([each for each in ROWS if each["split"] == "holdout"]),
        processing_class=tokenizer,
        peft_config=lora(config, base),
    )
    init_adapter(stock.model, config, folder.path)
    stock.train()
    logged = [each for each in stock.state.log_history if "loss" in each]
    assert len(logged) == 2
    for ours, theirs in zip(steps, logged, strict=False):
        for name in ("loss", "grad_norm", "rewards/chosen", "rewards/rejected", "logps/chosen", "logps/rejected"):
            assert ours.metrics[name] == pytest.approx(theirs[name], rel=1e-4, abs=1e-6), name
        assert ours.metrics["kto/reference_point"] == pytest.approx(theirs["kl"], rel=1e-4, abs=1e-5)
    assert steps[1].metrics["loss"] < steps[0].metrics["loss"]

    again = make(tmp_path / "again", ROWS, max_steps=2, eval_steps=2, **values)
    work(again)
    own, stocks = load_file(again.adapter / "adapter_model.safetensors"), get_peft_model_state_dict(stock.model)
    assert own.keys() == stocks.keys()
    # Adam turns a gradient of next to nothing into a whole step of either sign, so single entries may part.
    apart, length = (
        sum(each.pow(2).sum() for each in every).sqrt()
        for every in ([weight - stocks[name] for name, weight in own.items()], own.values())
    )
    assert apart < 1e-4 * length
    held = stock.evaluate()
    assert read(again, Eval)[-1].metrics["loss"] == pytest.approx(held["eval_loss"], rel=1e-4)
    assert evals[-1].metrics["loss"] < evals[0].metrics["loss"]


def test_only_whole_pairs_have_scores_and_an_accuracy(tmp_path) -> None:
    folder = make(tmp_path, ROWS, method="kto", max_steps=1, quantization="none", sample_tokens=0)
    work(folder)
    (started,) = read(folder, Started)
    assert (started.train_pairs, started.holdout_pairs, started.identical) == (6, 4, 0)
    assert read_margins(folder.path).keys() == {"p5"}
    assert read(folder, Step)[0].metrics["preference_accuracy"] == 0.5
    assert "preference_accuracy" not in read(folder, Eval)[0].metrics


@pytest.mark.parametrize("content", ["Gladly.", "Gladly: it is fine now. Thanks."])
def test_an_answer_begins_where_it_begins_beside_another(content) -> None:
    tokenizer, whole = load_tokenizer("tiny"), row(0) | {"chosen": [{"role": "assistant", "content": content}]}
    alone, both = prepare(tokenizer, [whole | {"rejected": BLANK}], 100), prepare(tokenizer, [whole], 100)
    assert (alone.train[0].prompt, alone.train[0].chosen) == (both.train[0].prompt, both.train[0].chosen)
    assert alone.train[0].rejected == []
