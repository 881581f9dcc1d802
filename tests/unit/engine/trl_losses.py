"""TRL's own losses, asked for the same pairs: everything that touches `trl.experimental` is in this file."""

from types import SimpleNamespace

import torch
from accelerate import Accelerator
from datasets import Dataset
from trl import DPOConfig, DPOTrainer
from trl.experimental.cpo import CPOConfig, CPOTrainer
from trl.experimental.orpo import ORPOConfig, ORPOTrainer

_QUIET = {
    "per_device_train_batch_size": 8, "bf16": False, "use_cpu": True, "gradient_checkpointing": False,
    "report_to": "none", "save_strategy": "no", "disable_tqdm": True, "disable_dropout": True,
}  # fmt: skip


def dpo(model, reference, tokenizer, rows, folder, loss_types, settings):
    """TRL's loss of `rows` as one batch, by loss type."""
    trainer = DPOTrainer(
        model=model,
        ref_model=reference,
        args=DPOConfig(
            output_dir=str(folder), loss_type=["sigmoid"], beta=settings.beta,
            label_smoothing=settings.label_smoothing, discopop_tau=settings.discopop_tau, **_QUIET,
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )  # fmt: skip
    batch = trainer._prepare_inputs(trainer.data_collator(list(trainer.train_dataset)))
    found = {}
    for name in loss_types:
        trainer.loss_types, trainer.loss_weights = [name], [1.0]
        with torch.no_grad():
            found[name] = trainer._compute_loss(trainer.model, batch, return_outputs=False).item()
    return found


def simpo(model, tokenizer, rows, folder, settings):
    """CPOTrainer's loss of `rows` as one batch, with its SimPO switched on; its gamma is ours times beta."""
    trainer = CPOTrainer(
        model=model,
        args=CPOConfig(
            output_dir=str(folder), loss_type="simpo", cpo_alpha=0.0, beta=settings.beta,
            simpo_gamma=settings.simpo_gamma_ratio * settings.beta, **_QUIET,
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )  # fmt: skip
    return _loss_and_metrics(trainer)


def orpo(model, tokenizer, rows, folder, settings):
    """ORPOTrainer's loss of `rows` as one batch, and its parts."""
    trainer = ORPOTrainer(
        model=model,
        args=ORPOConfig(output_dir=str(folder), beta=settings.beta, **_QUIET),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )
    return _loss_and_metrics(trainer)


def odds_ratio_losses(chosen, rejected, beta):
    """ORPOTrainer's odds-ratio term for given log-probabilities a token."""
    bare = SimpleNamespace(beta=beta, accelerator=Accelerator(cpu=True))
    return -ORPOTrainer.odds_ratio_loss(bare, chosen, rejected)[0]


def _loss_and_metrics(trainer):
    batch = trainer._prepare_inputs(trainer.data_collator(list(trainer.train_dataset)))
    with torch.no_grad():
        loss, metrics = trainer.get_batch_loss_metrics(trainer.model, batch)
    return loss.item(), metrics
