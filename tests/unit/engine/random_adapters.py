"""Adapters of random weights on the embedded model, made without any code of ours but the loading."""

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model

from workbench.engine.model.loading import load_base

BABBLES = 1.0
"""At this scale the model says nothing sensible any more."""


def adapted(scale: float, *, seed: int = 1, rank: int = 4) -> Any:
    """The model with an adapter whose B is drawn at `scale`; at 0 it changes nothing."""
    torch.manual_seed(seed)
    adapter = LoraConfig(r=rank, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(load_base("tiny", "none", device="cpu"), adapter)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, scale)
    return model


def save_adapter(folder: Path, scale: float = BABBLES) -> None:
    """Leaves such an adapter in `folder`."""
    adapted(scale).save_pretrained(folder)
