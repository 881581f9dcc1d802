"""The starter sets are what TRL takes: load_dataset, DPOTrainer, nothing of ours in between."""

import math
from pathlib import Path

import pytest
from datasets import load_dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig, DPOTrainer

from workbench.tiny import WEIGHTS

PAIRS = Path(__file__).parents[3] / "pairs"


@pytest.mark.parametrize("name", sorted(path.stem for path in PAIRS.glob("*.jsonl")))
def test_a_starter_set_goes_straight_into_dpo_trainer(name: str, tmp_path: Path) -> None:
    rows = load_dataset(
        "json", data_files=str(PAIRS / f"{name}.jsonl"), split="train", cache_dir=str(tmp_path / "cache")
    )
    trainer = DPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(WEIGHTS),
        args=DPOConfig(
            output_dir=str(tmp_path / "out"),
            max_steps=1,
            logging_steps=1,
            per_device_train_batch_size=2,
            bf16=False,
            use_cpu=True,
            gradient_checkpointing=False,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
        ),
        train_dataset=rows,
        processing_class=AutoTokenizer.from_pretrained(WEIGHTS),
        peft_config=LoraConfig(task_type="CAUSAL_LM", target_modules="all-linear"),
    )
    assert len(trainer.train_dataset) == len(rows) >= 200
    trainer.train()
    assert trainer.state.log_history[0]["loss"] == pytest.approx(math.log(2), abs=1e-4)
