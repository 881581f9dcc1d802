"""Micro-batches side by side on the cores of a CPU, each on a core of its own.

A small model's operations are too short to be shared out: waking the other cores and waiting for them takes as long as
the work, and where something else runs, each wait is for a thread that is not running. So each lane takes pairs of its
own from end to end. What it computes does not depend on the others, so the numbers are the same in every run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

_MOST = 4
"""Lanes: Python's own work is done by one at a time, so more of them would wait for each other."""


Given = TypeVar("Given")
Found = TypeVar("Found")


class Lanes:
    """A thread for each core that torch uses; `most` or `_MOST` that have some cores each, where there are more."""

    def __init__(self, most: int) -> None:
        self._cores = torch.get_num_threads()
        self.count = min(self._cores, most, _MOST)
        self._each = max(1, self._cores // self.count)
        # The number is a thread's own for OpenMP, and the process's for the matrix products.
        self._pool = ThreadPoolExecutor(self.count, "lane", lambda: torch.set_num_threads(self._each))

    def map(self, work: Callable[[Given], Found], given: Iterable[Given]) -> list[Found]:
        """What `work` finds for each of `given`, in their order. Raises what it raises."""
        with self._shared_out():
            return list(self._pool.map(work, given))

    @contextmanager
    def _shared_out(self) -> Iterator[None]:
        torch.set_num_threads(self._each)
        try:
            yield
        finally:
            torch.set_num_threads(self._cores)
