"""QLoRA DPO as TRL's documentation has it, with nothing of the workbench.

Run as `python stock_trl.py ROWS.jsonl MODEL BATCH`.
"""

from __future__ import annotations

import json
import sys
import tempfile

import torch
from datasets import load_dataset
from peft import LoraConfig
from transformers import AutoTokenizer, BitsAndBytesConfig
from trl import DPOConfig, DPOTrainer


def main(rows: str, model: str, batch: str) -> None:
    """Trains one epoch and prints {"seconds", "pairs"} of the training itself."""
    cuda = torch.cuda.is_available()
    dtype = torch.bfloat16 if cuda else torch.float32
    dataset = load_dataset("json", data_files=rows, split="train")
    with tempfile.TemporaryDirectory() as folder:
        trainer = DPOTrainer(
            model=model,
            args=DPOConfig(
                output_dir=folder,
                per_device_train_batch_size=int(batch),
                learning_rate=5e-5,
                num_train_epochs=1,
                max_length=1024,
                bf16=cuda,
                use_cpu=not cuda,
                gradient_checkpointing=cuda,
                report_to="none",
                save_strategy="no",
                model_init_kwargs={"dtype": dtype, "device_map": {"": 0 if cuda else "cpu"}},
            ),
            train_dataset=dataset,
            processing_class=AutoTokenizer.from_pretrained(model),
            peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"),
            quantization_config=BitsAndBytesConfig(
                load_in_4bit=True,
                bnb_4bit_quant_type="nf4",
                bnb_4bit_use_double_quant=True,
                bnb_4bit_compute_dtype=dtype,
            ),
        )
        result = trainer.train()
        print(json.dumps({"seconds": result.metrics["train_runtime"], "pairs": len(trainer.train_dataset)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
