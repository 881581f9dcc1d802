"""What the worker computes on, and how much memory it took."""

from __future__ import annotations

import resource
import sys

import torch


def device_name() -> str:
    """The GPU's name, or the CPU with its threads."""
    if torch.cuda.is_available():
        return str(torch.cuda.get_device_name(0))
    threads = torch.get_num_threads()
    return f"CPU, {threads} thread{'s' if threads > 1 else ''}"


def peak_memory() -> int:
    """Bytes, the most so far: of the GPU where there is one, else of this process."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
