"""Tries the model libraries, in a process that `doctor.libraries` starts: a part for each `doctor.Finding`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from workbench.child import Parent, serve
from workbench.engine.libraries import quiet_libraries

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
