"""Where a model that is to be asked goes while a run trains: beside it on the GPU, if the run keeps what it needs."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from workbench.config import RunConfig
from workbench.errors import WorkbenchError
from workbench.figures import size
from workbench.runs import lease, machine
from workbench.runs.activation_memory import Lengths
from workbench.runs.estimate import EVERY, Plan, asking, estimate, plans
from workbench.runs.folder import RunFolder
from workbench.runs.machine import Gpu
from workbench.runs.model_shape import shape_of
from workbench.runs.process import worker_pid


def cpu_instead(model: str, quantization: str) -> str:
    """Why `model` has to be asked on the CPU: a run trains on the GPU and would lack the memory; empty where it fits,
    where there is no GPU or no such run, and where the model's size is not known.

    A run whose memory is taken dies, or goes on in smaller parts; a model on the CPU is slower, and no more.
    """
    gpu = machine.look(Path()).gpu
    holder = lease.holder() if gpu is not None else None
    if gpu is None or holder is None:
        return ""
    with suppress(WorkbenchError):
        needed, run = asking(shape_of(model), quantization, "cuda"), RunFolder(holder)
        reserved = still_needed(run, run.record().config, gpu)
        if gpu.free - reserved < needed:
            return (
                f"run {run.id} trains on {gpu.name} and needs {size(reserved)} of the {size(gpu.free)} that are free; "
                f"{model} takes {size(needed)}"
            )
    return ""


def still_needed(run: RunFolder, config: RunConfig, gpu: Gpu) -> int:
    """Bytes of the GPU that the run will take beside those that its worker has now. Raises `WorkbenchError`."""
    started, plan = run.state().started, plans(config, "cuda")[-1]
    for level in EVERY:
        if started is not None and started.checkpointing == level and started.tokens_at_once:
            plan = Plan(level, started.tokens_at_once)
    lengths = Lengths.at_most(config.max_length)
    whole = estimate(shape_of(config.model), config, lengths, "cuda", plan=plan).total
    worker = worker_pid(run)
    return max(0, whole - sum(holder.bytes for holder in gpu.holders if holder.pid == worker))
