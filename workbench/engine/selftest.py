"""Tries the model libraries, in a process that `doctor.libraries` starts: a part for each `doctor.Finding`."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from workbench.child import Parent, serve
from workbench.engine.libraries import keep_kernels, quiet_libraries
from workbench.runs.activation_memory import LINE_MULTIPLE

if TYPE_CHECKING:
    import torch

_HEAD_WIDTHS = 64, 128, 256
_MISSING = {
    "Python.h": "Install Python's headers: apt install python3-dev (python3.11-dev for a Python 3.11)",
    "C compiler": "Install a C compiler: apt install build-essential",
    "gcc": "Install a C compiler: apt install build-essential",
    "cc1": "Install a C compiler: apt install build-essential",
    "libcuda": "Install NVIDIA's driver with its libcuda: Triton does not find it (ldconfig -p | grep libcuda)",
    "No module named 'triton'": "Install it again: pip install -c constraints.txt triton",
    "ptxas": "Install it again: pip install -c constraints.txt triton",
}
"""Words of what Triton says, in the order in which they tell most, and what is missing then."""
_ANOTHER_PATH = "Runs work all the same: what cannot use it trains with a line a pair, slower."
_NF4_ERROR = (0.05, 0.12)
"""Root mean square of the rounding, over that of normally distributed weights, is 0.09 for NF4 in blocks of 64."""


def work(_: Any, parent: Parent) -> None:
    """torch and its device; 4-bit weights to and fro; a gradient through a 4-bit layer."""
    tell = partial(_tell, parent)
    quiet_libraries()
    import torch

    from workbench.runs.machine import gpus

    names = ", ".join(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))
    if torch.cuda.is_available():
        tell("torch", "ok", f"{torch.__version__}, on {names}")
    elif gpus():
        hint = "Install a torch that fits the driver (its version is above), or a newer driver."
        tell(
            "torch", "missing", f"{torch.__version__} does not see the GPU (built for CUDA {torch.version.cuda})", hint
        )
    else:
        tell("torch", "ok", f"{torch.__version__}, on the CPU with {torch.get_num_threads()} threads")
    _four_bits(tell)
    keep_kernels()
    if torch.cuda.is_available():
        _compiled(tell, partial(_attend, torch.device("cuda")))


def _compiled(tell: Callable[..., None], attend: Callable[[int], None]) -> None:
    """FlexAttention, which the fast path uses on CUDA: compiled, forward and backward, for heads of three widths."""
    failed: dict[int, str] = {}
    began = time.monotonic()
    for width in _HEAD_WIDTHS:
        try:
            attend(width)
        except Exception as error:  # whatever the compiler, Triton and the driver make of it
            failed[width] = f"{type(error).__name__}: {error}"
    if not failed:
        took = f"in {time.monotonic() - began:.0f} s"
        tell("compiler", "ok", f"FlexAttention is compiled, forward and backward, for heads of 64, 128 and 256, {took}")
        return
    width, text = next(iter(failed.items()))
    last = next((line.strip() for line in reversed(text.splitlines()) if line.strip()), text)
    hint = next((hint for sign, hint in _MISSING.items() if sign.lower() in text.lower()), _ANOTHER_PATH)
    tell("compiler", "warning", f"FlexAttention fails for heads of {', '.join(map(str, failed))}: {last[:300]}", hint)


def _attend(device: torch.device, width: int) -> None:
    """One attention over two rows, forward and backward, as the fast path makes it."""
    import torch

    from workbench.engine.fast.attention import PairMasks, block_mask, pair_attention
    from workbench.engine.fast.pair_rows import packed
    from workbench.engine.model.token_ids import PairIds

    rows = packed([PairIds([1] * 60, [2] * 40, [3] * 50)] * 2, LINE_MULTIPLE).to(device)
    masks = PairMasks(partial(block_mask, rows), rows.longest)
    query, key, value = (
        torch.randn(1, heads, rows.ids.shape[1], width, device=device, dtype=torch.bfloat16, requires_grad=True)
        for heads in (4, 2, 2)
    )
    layer = torch.nn.Module()
    attended, _ = pair_attention(lambda *_, **__: (query, None), layer, query, key, value, None, pair_masks=masks)
    attended.float().sum().backward()
    if not all(each.grad is not None and bool(each.grad.isfinite().all()) for each in (query, key, value)):
        raise ValueError("its gradient is no number")


def _four_bits(tell: Callable[..., None]) -> None:
    import bitsandbytes
    import torch

    from workbench.engine.model.loading import compute_device, compute_dtype

    device = compute_device()
    torch.manual_seed(0)
    weights = torch.randn(256, 256, device=device, dtype=compute_dtype(device))
    packed, state = bitsandbytes.functional.quantize_4bit(weights, quant_type="nf4", compress_statistics=True)
    back = bitsandbytes.functional.dequantize_4bit(packed, state)
    error = ((back - weights).float().pow(2).mean().sqrt() / weights.float().pow(2).mean().sqrt()).item()
    version = f"bitsandbytes {bitsandbytes.__version__}"
    reinstall = "Install it again: pip install -c constraints.txt bitsandbytes"
    if not _NF4_ERROR[0] < error < _NF4_ERROR[1]:
        tell("4-bit", "missing", f"{version} rounds wrongly: an error of {error:.2f}, not 0.09", reinstall)
        return
    tell("4-bit", "ok", f"{version}, NF4 on {device.type}: an error of {error:.3f} of the weights, as it should be")
    layer = bitsandbytes.nn.Linear4bit(256, 256, bias=False, compute_dtype=weights.dtype, quant_type="nf4")
    layer.load_state_dict({"weight": weights.cpu()})
    layer.to(device)
    given = torch.randn(4, 256, device=device, dtype=weights.dtype, requires_grad=True)
    layer(given).sum().backward()
    expected = back.sum(0).expand(4, -1)
    if given.grad is None or not torch.allclose(given.grad, expected, rtol=0.05, atol=0.5):
        tell("training", "missing", "the gradient through a 4-bit layer is wrong", reinstall)
    else:
        tell("training", "ok", "gradients pass through 4-bit layers")


def _tell(parent: Parent, name: str, level: str, message: str, hint: str = "") -> None:
    parent.part({"name": name, "level": level, "message": message, "hint": hint})


if __name__ == "__main__":
    serve(work)
