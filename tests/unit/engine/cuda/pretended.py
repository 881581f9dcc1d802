"""Teaches a torch without CUDA to take tensors without numbers on `cuda:0`: for a process that starts with it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import types
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy
import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

_SOURCE = Path(__file__).with_name("guard.cpp")


def why_not() -> str:
    """Why no device can be pretended here; "" where one can."""
    if torch.version.cuda is not None or torch.version.hip is not None:
        return "torch is built for devices of its own"
    if sys.platform != "linux":
        return "nothing is loaded before torch but on Linux"
    return "" if shutil.which(_compiler()) else f"no compiler: {_compiler()} (CXX names another)"


def environment(folder: Path) -> dict[str, str]:
    """What a process has to start with that is to have a device; compiles a library in `folder`.

    Torch's headers are those of its wheel. Raises `CalledProcessError` where those are not what they were.
    """
    home, made = Path(torch.__file__).parent, folder / "guard.so"
    include, libraries = home / "include", home / "lib"
    command = [
        _compiler(), "-O0", "-shared", "-fPIC", "-std=c++20", f"-I{include}", str(_SOURCE), f"-L{libraries}",
        f"-Wl,-rpath,{libraries}", "-ltorch_cpu", "-lc10", "-o", str(made),
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, text=True)
    return {"LD_PRELOAD": str(made)}


@contextmanager
def there() -> Iterator[None]:
    """In a process that started so, after its imports: Python sees the device as well, an H100 by its sizes.

    What is read from it is 0, and true.
    """
    os.environ.pop("LD_PRELOAD", None)  # for what this process starts
    properties = types.SimpleNamespace(
        name="none", total_memory=80 * 2**30, shared_memory_per_multiprocessor=228 * 2**10
    )
    of_cuda: dict[str, Any] = {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "set_device": lambda _: None,
        "is_bf16_supported": lambda **_: True,
        "get_device_capability": lambda *_: (9, 0),
        "get_device_properties": lambda _: properties,
    }
    with ExitStack() as patches:
        for name, value in of_cuda.items():
            patches.enter_context(patch.object(torch.cuda, name, value))
        # Where a device is seen, the mode makes real tensors of constants on it.
        patches.enter_context(patch.object(FakeTensorMode, "avoid_device_init", new=True))
        patches.enter_context(patch.object(FakeTensor, "tolist", lambda each: numpy.zeros(tuple(each.shape)).tolist()))
        for read, value in {"item": 0.0, "__float__": 0.0, "__int__": 0, "__bool__": True}.items():
            patches.enter_context(patch.object(FakeTensor, read, lambda _, value=value: value, create=True))
        patches.enter_context(patch.object(torch, "Generator", lambda *_, made=torch.Generator: made()))
        # In inference mode torch.tensor makes a real tensor too.
        patches.enter_context(patch.object(torch.inference_mode, "__enter__", _enter))
        yield


def _enter(mode: Any) -> None:
    mode._inference_mode_context = torch.no_grad()
    mode._inference_mode_context.__enter__()


def _compiler() -> str:
    return os.environ.get("CXX", "g++")
