"""Writing a checkpoint so that it is complete or none at all, and taking the adapter back from one."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import set_seed
from peft import set_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file

from workbench.engine.training import distributed
from workbench.engine.training.disk_faults import saving
from workbench.errors import WorkbenchError
from workbench.runs.checkpoints import RunProgress, check, checkpoint_path, mark_complete, remove, rotate
from workbench.runs.folder import ADAPTER_WEIGHTS, RunFolder
from workbench.runs.writer import RunDeletedError

_WRAPPED = "_checkpoint_wrapped_module."
"""What FSDP's own activation checkpointing puts into names."""
_NUMPY = [np.ndarray, np.dtype, type(np.dtype(np.uint32)), np.array(0).__reduce__()[0]]
"""What numpy's state consists of."""
_RANDOM_STATE = "rng_state.pth"
_BESIDE = 8 * 1024**2
"""Bytes of everything in a checkpoint but adapter and optimizer."""


def save_checkpoint(checkpoints: Path, at: RunProgress, keep: int, model: Any, write: Callable[[], None]) -> None:
    """Lets `write` fill the folder of the checkpoint at `at`, marks it complete, then deletes all but the last `keep`.

    Does nothing where that checkpoint is there. Of several processes all `write`, and the first does the rest.
    Raises `WorkbenchError` where the disk is full, and `RunDeletedError` where the run's folder is gone.
    """
    run, path = RunFolder(checkpoints.parent), checkpoint_path(checkpoints, at.step)
    if not run.path.is_dir():
        raise RunDeletedError(str(run.path))
    if distributed.first_says(path.is_dir() and not check(path)):
        return
    with distributed.first_before_others():
        if distributed.first():
            remove(path)
    # The optimizer holds two numbers for each weight that trains.
    weights = sum(parameter.nbytes for parameter in model.parameters() if parameter.requires_grad)
    try:
        with saving("a checkpoint", run, 3 * weights + _BESIDE):
            write()
            distributed.wait()
            if distributed.first():
                mark_complete(path, at)
    except WorkbenchError:
        if distributed.first():
            remove(path)  # It makes room for the last word.
        raise
    if distributed.first():
        rotate(checkpoints, keep)


def save_random_state(checkpoint: Path) -> None:
    """Writes the states of this process's random number generators, in the format of transformers' Trainer."""
    torch.save(_random_states(), checkpoint / of_process(_RANDOM_STATE))


def restore_random_state(checkpoint: Path) -> None:
    """Takes them back, where this process has written some."""
    path = checkpoint / of_process(_RANDOM_STATE)
    if path.is_file():
        _set_random_states(read_states(path))


@contextmanager
def random_numbers_of_its_own(seed: int) -> Iterator[None]:
    """What is drawn within comes from `seed`, other numbers in each process; what is drawn afterwards is as without."""
    states = _random_states()
    set_seed(seed, device_specific=True)
    try:
        yield
    finally:
        _set_random_states(states)


def _random_states() -> dict[str, Any]:
    states = {"python": random.getstate(), "numpy": np.random.get_state(), "cpu": torch.random.get_rng_state()}
    if torch.cuda.is_available():
        of_all = distributed.count() > 1
        states["cuda"] = torch.cuda.get_rng_state_all() if of_all else torch.cuda.get_rng_state()
    return states


def _set_random_states(states: dict[str, Any]) -> None:
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])
    torch.random.set_rng_state(states["cpu"])
    if torch.cuda.is_available() and "cuda" in states:
        of_all = distributed.count() > 1
        (torch.cuda.set_rng_state_all if of_all else torch.cuda.set_rng_state)(states["cuda"])


def read_states(path: Path) -> Any:
    """What torch.save wrote into a checkpoint, on the CPU: tensors, numbers, texts, and what holds these.

    Such a file is a pickle, a program; whatever else it has in it is not run, whatever torch is told by its
    environment. Raises `WorkbenchError` where that leaves it unread.
    """
    try:
        with torch.serialization.safe_globals(_NUMPY):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a file provokes that is no such pickle
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise _unfit(path.parent, f"{path.name} cannot be read: {reason.rstrip('.')}") from error


def of_process(name: str) -> str:
    """The name of a file of which every process has its own: as it is for the only process, else with its rank."""
    stem, _, suffix = name.partition(".")
    return name if distributed.count() == 1 else f"{stem}_{distributed.rank()}.{suffix}"


def adapter_state(model: Any) -> dict[str, torch.Tensor]:
    """All that trains, by its name in `model`, on the CPU. Where it is shared out over processes, all have to ask."""
    return {
        name.replace(_WRAPPED, ""): distributed.whole(parameter).cpu()
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }


@contextmanager
def states_of(checkpoint: Path) -> Iterator[None]:
    """Whatever else is found in the files of a checkpoint than what belongs there becomes a `WorkbenchError`."""
    try:
        yield
    except (MemoryError, WorkbenchError):
        raise
    except Exception as error:
        raise _unfit(checkpoint, f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}") from error


def restore_adapter(model: Any, checkpoint: Path) -> None:
    """Loads the checkpoint's adapter into `model`, to the last bit. Raises `WorkbenchError` where it does not fit."""
    read_adapter(model, checkpoint, model.active_adapter, exact=True)


def read_adapter(model: Any, folder: Path, name: str, *, exact: bool = False) -> None:
    """Loads a saved adapter into the one of `name`; `exact`: of float32 weights alone.

    Raises `WorkbenchError` where it does not fit.
    """
    try:
        weights = load_file(folder / ADAPTER_WEIGHTS)
        inexact = {str(weight.dtype) for weight in weights.values()} - {str(torch.float32)}
        if exact and inexact:
            raise _unfit(folder, f"Its weights are {', '.join(sorted(inexact))}")
        result = set_peft_model_state_dict(model, weights, adapter_name=name)
    except (OSError, SafetensorError) as error:
        raise _unfit(folder, str(error)) from error
    except RuntimeError as error:
        raise _unfit(folder, next(iter(str(error).splitlines()), "")) from error
    missing = [key for key in result.missing_keys if "lora_" in key and f".{name}." in key]
    if missing or result.unexpected_keys:
        raise _unfit(folder, f"{len(missing)} weights are missing, {len(result.unexpected_keys)} are unknown")


def _unfit(checkpoint: Path, why: str) -> WorkbenchError:
    return WorkbenchError(
        "The checkpoint does not fit the run",
        f"{checkpoint}: {why}.",
        f"Delete {checkpoint.name} to resume from an older one.",
    )
