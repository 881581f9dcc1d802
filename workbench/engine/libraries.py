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

from workbench.runs.process import ENVIRONMENT


def quiet_libraries() -> None:
    """Leaves out progress bars, notes about optional kernels and coming renames; what the user has set stays.

    Call it before the libraries are imported.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")


@contextmanager
def quick_imports() -> Iterator[None]:
    """For the imports within it, where they are the first of these libraries.

    A million objects are made, none of which is ever garbage: looking for some takes a fifth of the time, and once
    more as long when the process ends. So they are not looked at, then or later. And bitsandbytes compiles what it has
    for devices without kernels of their own, which CPUs and CUDA devices have: that loads the whole of torch's
    compiler, and is left as it is written.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        if "bitsandbytes" not in sys.modules:
            import torch

            compile_ = torch.compile
            torch.compile = _as_written
            try:
                import bitsandbytes  # noqa: F401
            finally:
                torch.compile = compile_
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()


def _as_written(function: Callable[..., Any] | None = None, **_: Any) -> Any:
    """In place of `torch.compile`, as a function and as a decorator with arguments."""
    return function or (lambda given: given)
