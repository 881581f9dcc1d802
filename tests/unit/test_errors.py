"""The one error type: what it is made of, and what it makes of others."""

import pytest

from workbench.errors import WorkbenchError


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at cpp:124] DefaultCPUAllocator: can't allocate memory: you tried 8 bytes"),
        ImportError("libarrow_compute.so.2600: failed to map segment from shared object"),
        RuntimeError("can't start new thread"),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        OSError(12, "Cannot allocate memory"),
    ],
)
def test_want_of_memory_is_told_as_that(error: Exception) -> None:
    told = WorkbenchError.out_of_memory(error)
    assert told is not None
    assert told.title == "Out of memory"
    assert type(error).__name__ in told.message
    assert told.hint


@pytest.mark.parametrize("error", [KeyError("memory"), OSError(28, "No space left on device"), ValueError("")])
def test_other_errors_are_not(error: Exception) -> None:
    assert WorkbenchError.out_of_memory(error) is None
