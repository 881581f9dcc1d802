"""What all methods set up alike: what a trainer is made of, the adapter in float32, and the trainer's arguments."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import LoraLayer
from peft.tuners.tuners_utils import BaseTunerLayer
from torch.nn import Linear
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from transformers import PreTrainedTokenizerBase

from workbench.config import RunConfig
from workbench.engine.model.experts import has_experts, packed_experts
from workbench.engine.model.inference import REFERENCE
from workbench.engine.training.checkpoint_files import read_adapter
from workbench.engine.training.data import Prepared
from workbench.engine.training.trackers import PROJECT, set_tracker_folders
from workbench.engine.training.watcher import Watcher
from workbench.errors import WorkbenchError
from workbench.runs.estimate import EVERY, checkpointing
from workbench.runs.folder import RunFolder

_OF_EXPERTS = {"gate", "router", "w1", "w2", "w3", "gate_proj", "up_proj", "gate_up_proj", "down_proj"}
"""Names of experts' matrices and routers, now and in older versions of transformers."""
_OPTIMIZERS = {"adamw": "adamw_torch_fused", "adamw_8bit": "adamw_bnb_8bit"}
"""What transformers calls each."""
SCHEDULERS = {"constant": "constant_with_warmup", "linear": "linear", "cosine": "cosine"}


@dataclass(frozen=True, slots=True)
class TrainerInputs:
    """What a trainer is made of. `model` is the base, or a PeftModel; `checkpoints` the folder for them, in the run's;
    `watcher` is told all that happens. So many `tokens_at_once` go through the model on the fast path, by
    default as the device takes."""

    config: RunConfig
    model: Any
    tokenizer: PreTrainedTokenizerBase
    prepared: Prepared
    checkpoints: Path
    watcher: Watcher
    tokens_at_once: int = 0

    @property
    def run(self) -> Path:
        """The run's folder."""
        return self.checkpoints.parent


def lora(config: RunConfig, model: Any, task: str = "CAUSAL_LM", **more: Any) -> LoraConfig | None:
    """The adapter that the config asks for on `model`; None where that comes with an adapter of another run.

    Raises `ValueError` for an adapter on the experts of a mixture.
    """
    if config.adapter:
        return None
    return LoraConfig(
        r=config.lora_r,
        lora_alpha=config.lora_alpha,
        target_modules=_targets(config, model),
        exclude_modules=beside_text(model),
        use_rslora=config.lora_variant == "rslora",
        use_dora=config.lora_variant == "dora",
        task_type=task,
        **more,
    )


def _targets(config: RunConfig, model: Any) -> str | list[str]:
    """What PEFT is to put adapters on.

    By these words, and by all-linear, PEFT means the experts of many mixtures and their router too. Its adapter on
    experts unpacks all of them, with a gradient of that size, and in 0.21 stays in a matrix that is packed.
    """
    everything = config.target_modules == ["all-linear"]
    if not has_experts(model):
        return "all-linear" if everything else config.target_modules
    if everything:
        linear = {path for path, each in model.base_model.named_modules() if isinstance(each, Linear)}
        return sorted({path.rpartition(".")[2] for path in linear} - _OF_EXPERTS)
    if of_experts := sorted(_OF_EXPERTS & {each.rpartition(".")[2] for each in config.target_modules}):
        raise ValueError(f"{of_experts[0]} may be of a mixture's experts, on which no adapter trains: leave it out.")
    return config.target_modules


def beside_text(model: Any) -> list[str] | None:
    """The names of the layers that a model has for pictures and sound, which text does not pass: an adapter there would
    get no gradient. None for a model of text alone.

    Names, since a pattern in an adapter's settings is refused (`adapter_check`).
    """
    if model.config.get_text_config() is model.config:
        return None
    used = {id(module) for module in model.get_decoder().modules()} | {id(model.get_output_embeddings())}
    return [name for name, module in model.named_modules() if id(module) not in used and not any(module.children())]


def parameter_counts(model: torch.nn.Module) -> tuple[int, int]:
    """Trainable and all parameters, 4-bit weights counted one by one."""
    adapter, total = model.get_nb_trainable_parameters()
    beside = sum(weights - packed.numel() for _, packed, weights in packed_experts(model))
    return int(adapter), int(total) + beside


def with_adapter(inputs: TrainerInputs) -> Any:
    """The PeftModel that trains, as TRL's trainers set it up: no dropout, and as much gradient checkpointing as
    the config says.

    Raises `WorkbenchError` where the settings do not fit the model.
    """
    model, config = inputs.model, inputs.config
    with settings_errors():
        if config.adapter:
            model.add_adapter(REFERENCE, model.peft_config["default"])
        else:
            model = get_peft_model(model, lora(config, model))
        if isinstance(model.get_output_embeddings(), BaseTunerLayer):
            raise ValueError("An adapter on the output layer (lm_head) does not train: leave it out of target_modules.")
    without_dropout(model)
    if every := EVERY[checkpointing(config, model.device.type)[-1]]:
        model.enable_input_require_grads()
        model.activation_checkpointing_enable(every_n_layers=every)
    init_adapter(model, config, inputs.run)
    return model


def without_dropout(model: torch.nn.Module) -> None:
    """Lets training compute what evaluation does, as TRL's trainers do."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0


def init_adapter(model: Any, config: RunConfig, run: Path) -> None:
    """Draws the adapter anew in float32, or reads that of another run again, of which the run's folder has a copy.

    TRL casts the adapters of quantized models to bfloat16, in which most updates at a usual learning rate are lost.
    The values before that cast have lost their low bits, hence new ones. An adapter that is gone on from is there
    twice: as it trains, and frozen, under the name `REFERENCE`.
    """
    for name, parameter in model.named_parameters():
        if parameter.requires_grad or f".{REFERENCE}." in name:
            parameter.data = parameter.data.float()
    if config.adapter:
        for name in model.peft_config:
            read_adapter(model, RunFolder(run).start, name)
        return
    torch.manual_seed(config.seed)
    for module in model.modules():
        if isinstance(module, LoraLayer):
            for name in module.active_adapters:
                module.reset_lora_parameters(name, init_lora_weights=True)


@contextmanager
def settings_errors() -> Iterator[None]:
    """What TRL and PEFT refuse is told as the user's settings not fitting the model."""
    try:
        yield
    except (ValueError, NotImplementedError) as error:
        raise WorkbenchError(
            "These settings do not fit the model", str(error).splitlines()[0], "See target_modules and loss_type."
        ) from error


def schedule(kind: str, optimizer: Optimizer, warmup: int, steps: int) -> LambdaLR:
    """The learning rate over `steps`, by one of `SCHEDULERS`: it rises for `warmup` steps, then follows the kind.

    As transformers has it, but for its first step: there that is at zero, and so is lost. Here the rise is to begin one
    step on: of w steps of warm-up, step k (from 1) has k / (w + 1) of the rate.
    """

    def share(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        done = min(1.0, (step - warmup) / max(1, steps - warmup))
        if kind == "cosine":
            return 0.5 * (1 + math.cos(math.pi * done))
        return 1 - done if kind == "linear" else 1.0

    return LambdaLR(optimizer, share)


def arguments(inputs: TrainerInputs) -> dict[str, Any]:
    """For transformers' Trainer; a method's own settings come beside them."""
    config, prepared = inputs.config, inputs.prepared
    cuda, total = inputs.model.device.type == "cuda", config.total_steps(len(prepared.train))
    part = config.batch_size // config.gradient_accumulation
    if config.report_to:
        set_tracker_folders(inputs.run)
    return {
        "output_dir": str(inputs.checkpoints),
        "learning_rate": config.learning_rate,
        "lr_scheduler_type": SCHEDULERS[config.scheduler],
        "warmup_steps": config.warmup,
        "optim": _OPTIMIZERS[config.optimizer],
        "weight_decay": config.weight_decay,
        "max_grad_norm": config.max_grad_norm,
        "num_train_epochs": config.epochs,
        "max_steps": total,
        "per_device_train_batch_size": part,
        "per_device_eval_batch_size": part,
        "gradient_accumulation_steps": config.gradient_accumulation,
        "gradient_checkpointing": checkpointing(config, inputs.model.device.type)[-1] != "none",
        "bf16": cuda,
        "use_cpu": not cuda,
        "dataloader_pin_memory": cuda,
        "disable_dropout": True,
        "seed": config.seed,
        "data_seed": config.seed,
        "logging_steps": config.logging_steps,
        "logging_first_step": True,
        "logging_nan_inf_filter": False,
        "eval_strategy": "steps" if prepared.holdout else "no",
        "eval_on_start": bool(prepared.holdout),
        "eval_steps": config.eval_every(total),
        "save_strategy": "steps",
        "save_steps": config.save_every(total),
        "report_to": list(config.report_to) or "none",
        "run_name": inputs.run.name,
        "project": PROJECT,
        "ddp_find_unused_parameters": False,
        "ddp_broadcast_buffers": False,
        "disable_tqdm": True,
        "remove_unused_columns": False,
    }
