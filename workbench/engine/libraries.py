"""How torch and what stands on it are imported: in two thirds of the time, and without what they say at every start."""

from __future__ import annotations

import gc
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from workbench.child import ENVIRONMENT


def quiet_libraries() -> None:
    """Leaves out progress bars, notes about optional kernels and coming renames; what the user has set stays.

    Call it before the libraries are imported.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")


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
    """
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


def _as_written(function: Callable[..., Any] | None = None, **_: Any) -> Any:
    """In place of `torch.compile`, as a function and as a decorator with arguments."""
    return function or (lambda given: given)
