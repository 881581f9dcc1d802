"""How torch and what stands on it are imported: in two thirds of the time, and without what they say at every start."""

from __future__ import annotations

import gc
import logging
import os
import resource
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from workbench.child import ENVIRONMENT
from workbench.errors import WorkbenchError
from workbench.figures import size
from workbench.runs.user_state import state_folder

_ADDRESS_SPACE = 2**30
"""Bytes that are mapped once they are imported, with a tiny model on the CPU."""


def quiet_libraries() -> None:
    """Leaves out progress bars, notes about optional kernels and coming renames; what the user has set stays.

    Call it before the libraries are imported.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")


def keep_kernels() -> None:
    """Keeps what torch compiles for the next process, where torch's own folder in /tmp goes with a restart.

    In the user's state, not in a workspace's `.cache`: there are pickles and machine code in it, and a workspace may
    come from somebody else.
    """
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(state_folder() / "kernels"))


@contextmanager
def no_garbage() -> Iterator[None]:
    """For imports within it, which make a million objects and no garbage.

    Looking for some takes a fifth of the time, and once more as long when the process ends. So what is made is not
    looked at, then or later.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()


@contextmanager
def quick_imports() -> Iterator[None]:
    """The same for imports that need bitsandbytes, where nothing has imported it yet.

    It compiles what it has for devices without kernels of their own, which CPUs and CUDA devices have. That loads the
    whole of torch's compiler, so it is left as it is written.

    Raises `WorkbenchError` where the address space is limited to less than they take: torch would end the process.
    """
    _check_address_space()
    keep_kernels()
    with no_garbage():
        if "bitsandbytes" not in sys.modules:
            import torch

            compile_ = torch.compile
            torch.compile = _as_written
            try:
                import bitsandbytes  # noqa: F401
            finally:
                torch.compile = compile_
        yield


def _check_address_space() -> None:
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY and limit < _ADDRESS_SPACE:
        raise WorkbenchError(
            "Too little memory for the libraries",
            f"The address space is limited to {size(limit)}; torch and what stands on it take {size(_ADDRESS_SPACE)}.",
            "Raise the limit of this shell: ulimit -v unlimited.",
        )


def _as_written(function: Callable[..., Any] | None = None, **_: Any) -> Any:
    """In place of `torch.compile`, as a function and as a decorator with arguments."""
    return function or (lambda given: given)
