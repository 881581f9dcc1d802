"""QLoRA DPO as TRL's documentation has it, with nothing of the workbench. Run as `python stock_trl.py 'JSON'`.

The JSON names `rows` (a JSONL file), `model` (a folder), and arguments of DPOConfig under `config`. What TRL would do
worse by its defaults is set: adapters are float32 (it casts them to bfloat16, which is slower on a CPU and loses
updates), nothing is checkpointed on a CPU, and nothing is logged, evaluated or saved.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from typing import Any

import torch
from bitsandbytes.nn import Linear4bit
from datasets import load_dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig
from trl import DPOConfig, DPOTrainer

NEVER = 10**9


class TimedTrainer(DPOTrainer):
    """DPOTrainer that takes the time of its pre-pass over the reference."""

    reference_seconds = reference_computed = 0.0

    def _precompute_ref_logps(self, *arguments: Any) -> Any:
        began, computed = time.perf_counter(), time.process_time()
        found = super()._precompute_ref_logps(*arguments)
        self.reference_seconds += time.perf_counter() - began
        self.reference_computed += time.process_time() - computed
        return found


def load(model: str) -> Any:
    """The model in NF4, whose 4-bit layers bitsandbytes may not repack for AVX512: they would pass no gradient on."""
    loaded = AutoModelForCausalLM.from_pretrained(
        model,
        dtype=torch.float32,
        device_map={"": "cpu"},
        quantization_config=BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.float32,
        ),
    )
    for module in loaded.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False
    return loaded


def arguments(folder: str, config: dict[str, Any]) -> DPOConfig:
    """One epoch, unless `config` says otherwise, of training and nothing else."""
    return DPOConfig(
        output_dir=folder,
        **{
            "learning_rate": 5e-5,
            "num_train_epochs": 1,
            "report_to": "none",
            "logging_strategy": "no",
            "save_strategy": "no",
            "disable_tqdm": True,
            **config,
        },
    )


def main(asked: dict[str, Any]) -> dict[str, Any]:
    """Trains, and says how long the reference's pre-pass and the training took, over how many pairs."""
    dataset = load_dataset("json", data_files=asked["rows"], split="train")
    with tempfile.TemporaryDirectory() as folder:
        trainer = TimedTrainer(
            model=load(asked["model"]),
            args=arguments(
                folder,
                {
                    "bf16": False,
                    "use_cpu": True,
                    "gradient_checkpointing": False,
                    "dataloader_pin_memory": False,
                    **asked["config"],
                },
            ),
            train_dataset=dataset,
            processing_class=AutoTokenizer.from_pretrained(asked["model"]),
            peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"),
        )
        for parameter in trainer.model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()
        began, computed = time.perf_counter(), time.process_time()
        result = trainer.train()
        seconds, computed = time.perf_counter() - began, time.process_time() - computed
    steps, batch = trainer.state.global_step, trainer.args.train_batch_size
    return {
        "seconds": seconds,
        "reference_seconds": trainer.reference_seconds,
        "processor_seconds": computed + trainer.reference_computed,
        "pairs": min(steps * batch, len(trainer.train_dataset)),
        "loss": result.training_loss,
        "threads": torch.get_num_threads(),
    }


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
