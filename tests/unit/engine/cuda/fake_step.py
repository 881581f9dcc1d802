"""A training step of an 8B model as a CUDA device would hold it, on tensors that have shapes and no numbers.

Run as `python -m tests.unit.engine.cuda.fake_step 'JSON'` with a list of cases; prints a JSON document a case: the
bytes of all storages that were alive at the worst moment of the step, and which operation brought it about. A case is
{"model": a name of `MODELS`, "layers", "pairs", "prompt" and "answer" in tokens, "checkpointing" as a run has it,
"device"}.

On "cpu" the model, the loop, the loss, the backward and the optimizer are the real ones in bfloat16 under autocast,
with the budgets and tiles that CUDA has. On "cuda:0" those need not be put in place, but the process must have started
with what pretends a device (`pretended.environment`). In both, FlexAttention's kernel is replaced by what it keeps and
gives, and a 4-bit product takes the room of its unpacked matrix, as bitsandbytes' does on CUDA.
"""

from __future__ import annotations

import copy
import json
import sys
import tempfile
import types
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import bitsandbytes
import torch
import transformers.integrations.flex_attention as flex
from accelerate import Accelerator
from bitsandbytes.nn import Linear4bit
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention.flex_attention import BlockMask
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from transformers import AutoConfig, AutoModelForCausalLM, BitsAndBytesConfig
from transformers.initialization import no_init_weights
from transformers.quantizers import AutoHfQuantizer

from tests.unit.engine.cuda import pretended
from tests.unit.engine.cuda.models import MODELS
from workbench.config import build_config
from workbench.engine.fast import forward, loop
from workbench.engine.fast.batch import Batch
from workbench.engine.fast.forward import RowLayout
from workbench.engine.methods.trainer_setup import TrainerInputs, with_adapter
from workbench.engine.model.experts import pack
from workbench.engine.model.token_ids import PairIds
from workbench.engine.training.data import Prepared
from workbench.engine.training.trackers import Trackers
from workbench.engine.training.watcher import Watcher
from workbench.runs.activation_memory import TILE_BYTES, TOKEN_BUDGET

_ROUNDED = 512
"""Bytes to a multiple of which CUDA's allocator rounds a block up."""


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of storages on `device` while they live: `now`, and at the worst moment `peak`, at `where`."""

    def __init__(self, device: str) -> None:
        super().__init__()
        self._device, self._sizes = torch.device(device).type, dict[int, int]()
        self.now = self.peak = 0
        self.where = ""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func)
        made = func(*args, **(kwargs or {}))
        for each in tree_iter(made):
            if isinstance(each, Tensor) and each.device.type == self._device:
                self._note(each, name)
        if "gemm_4bit" in name:
            # Of more tokens than a few hundred, the kernel unpacks the matrix first.
            self._worst(2 * args[2][0] * args[2][1], name)
        return made

    def _note(self, tensor: Tensor, name: str) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._sizes:
            return
        self._sizes[key] = -(-storage.nbytes() // _ROUNDED) * _ROUNDED
        self.now += self._sizes[key]
        self._worst(0, name)
        weakref.finalize(storage, self._gone, key)

    def _worst(self, more: int, name: str) -> None:
        if self.now + more > self.peak:
            self.peak, self.where = self.now + more, name

    def _gone(self, key: int) -> None:
        self.now -= self._sizes.pop(key, 0)


class _FlexKernel(torch.autograd.Function):
    """What the kernel keeps for its backward and what that gives, and nothing of what they compute."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        if not query.dtype == key.dtype == value.dtype or not query.device == key.device == value.device:
            raise TypeError(f"{query.dtype} {query.device}, {key.dtype} {key.device}, {value.dtype} {value.device}")
        attended = torch.empty_like(query)
        normalizer = torch.empty(query.shape[:3], dtype=torch.float32, device=query.device)
        ctx.save_for_backward(query, key, value, attended, normalizer)
        return attended, normalizer

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor, ...]:
        query, key, value, attended, normalizer = ctx.saved_tensors
        (gradient * attended).sum(-1, dtype=torch.float32) - normalizer
        return torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)


def _flex(query: Tensor, key: Tensor, value: Tensor, training: bool = False, **others: Any) -> Any:  # noqa: ARG001
    attended, normalizer = _FlexKernel.apply(query, key, value)
    return (attended, types.SimpleNamespace(lse=normalizer)) if others.get("return_aux") else attended


def _mask(rows: Any, _window: int | None = None) -> BlockMask:
    """A mask of the right size: the real one is made of numbers, and what is in it does not matter here."""
    width, device = rows.ids.shape[1], rows.ids.device
    blocks = -(-width // 128)
    counts = torch.zeros((1, 1, blocks), dtype=torch.int32, device=device)
    places = torch.zeros((1, 1, blocks, blocks), dtype=torch.int32, device=device)
    lengths = (blocks * 128, blocks * 128)
    return BlockMask.from_kv_blocks(
        counts,
        places,
        counts.clone(),
        places.clone(),
        128,
        lambda _b, _h, q, k: q >= k,
        lengths,
        compute_q_blocks=False,
    )


def model_of(name: str, layers: int, device: torch.device) -> Any:
    """The model in NF4 as `load_base` leaves it on CUDA: bfloat16, in eval mode, nothing in it trains."""
    kind, values = MODELS[name]
    config = AutoConfig.for_model(kind, **{**values, "num_hidden_layers": layers})
    with no_init_weights():
        model: Any = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    for path, module in list(model.named_modules()):
        if isinstance(module, nn.Linear) and not path.endswith("lm_head"):
            parent, _, child = path.rpartition(".")
            setattr(model.get_submodule(parent), child, _quantized(module, device))
    for module in model.modules():
        for part, parameter in list(module._parameters.items()):
            if parameter is not None:
                if parameter.device != device:
                    module._parameters[part] = parameter = nn.Parameter(parameter.data.to(device))
                parameter.requires_grad_(requires_grad=False)
        for part, buffer in list(module._buffers.items()):
            if buffer is not None:
                module._buffers[part] = torch.empty(buffer.shape, dtype=buffer.dtype, device=device)
    pack(model)
    model.tie_weights()
    asked = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True)
    model.hf_quantizer, model.config.quantization_config = AutoHfQuantizer.from_config(asked), asked
    model.is_loaded_in_4bit = model.is_quantized = True
    model.quantization_method, model.hf_device_map = asked.quant_method, {"": device}
    return model.eval()


def _quantized(layer: nn.Linear, device: torch.device) -> Linear4bit:
    """A 4-bit layer around its packed weight, a plain one: bitsandbytes' own kind cannot be of fake tensors."""
    made = copy.copy(_PROTOTYPE)
    made._parameters, made._buffers, made._modules = {"bias": None}, {}, {}
    made.in_features, made.out_features = layer.in_features, layer.out_features
    packed, state = bitsandbytes.functional.quantize_4bit(
        layer.weight.data.to(device), quant_type="nf4", compress_statistics=True
    )
    weight: Any = nn.Parameter(packed, requires_grad=False)
    weight.quant_state, weight.quant_type, weight.compress_statistics = state, "nf4", True
    weight.bnb_quantized, weight.blocksize, weight.quant_storage, weight.module = True, 64, torch.uint8, made
    made._parameters["weight"], made.quant_state = weight, state
    return made


_PROTOTYPE: Any = Linear4bit(64, 64, bias=False, compute_dtype=torch.bfloat16, quant_type="nf4")
_PROTOTYPE.support_avx512bf16_for_cpu = False


@contextmanager
def as_on_cuda(device: torch.device) -> Iterator[None]:
    """What is there in place of CUDA's kernels; on a CPU, what CUDA has in place of a CPU's too."""
    with ExitStack() as patches:
        patches.enter_context(patch.object(flex, "compile_friendly_flex_attention", _flex))
        patches.enter_context(patch.object(forward, "block_mask", _mask))
        # All that is made is on the device from the start: a fake parameter cannot be swapped for one elsewhere.
        patches.enter_context(patch("peft.tuners.tuners_utils.BaseTunerLayer._move_adapter_to_device_of_base_layer"))
        patches.enter_context(patch.object(nn.Module, "to", lambda module, *_, **__: module))
        if device.type == "cuda":
            patches.enter_context(pretended.there())
        if device.type == "cpu":
            patches.enter_context(patch.dict(TOKEN_BUDGET, cpu=TOKEN_BUDGET["cuda"]))
            patches.enter_context(patch.dict(TILE_BYTES, cpu=TILE_BYTES["cuda"]))
            patches.enter_context(patch.object(loop, "_accelerator", _in_bfloat16))
            # PEFT asks for CUDA's autocast, and where there is none casts to float32 and back.
            asked = torch.is_autocast_enabled
            patches.enter_context(patch.object(torch, "is_autocast_enabled", lambda kind="cpu": asked(kind)))
        yield


def _in_bfloat16(_: Any) -> Accelerator:
    return Accelerator(cpu=True, mixed_precision="bf16")


def measure(case: Mapping[str, Any]) -> dict[str, Any]:
    """Of one step with an optimizer that has its state: `peak` bytes, `where`, and what `weights` and adapter take; the
    types and devices of `gradients`."""
    device = torch.device(case.get("device", "cpu"))
    asked = {"batch_size": case["pairs"], "max_length": case["prompt"] + case["answer"]}
    config = build_config({"pairs": ["x"], "checkpointing": case["checkpointing"], **asked})
    pair = PairIds([1] * case["prompt"], [2] * case["answer"], [3] * case["answer"])
    live = LiveBytes(case.get("device", "cpu"))
    with tempfile.TemporaryDirectory() as run, as_on_cuda(device), FakeTensorMode(allow_non_fake_inputs=True), live:
        model = model_of(case["model"], case["layers"], device)
        weights = live.now
        prepared = Prepared([pair] * case["pairs"], [], 0, 0, 0, [])
        inputs = TrainerInputs(config, model, None, prepared, Path(run) / "checkpoints", Watcher())
        with device:
            model = with_adapter(inputs)
        training = loop.PairLoop(
            replace(inputs, model=model), RowLayout[case.get("layout", "FLEX")], "", Trackers(None, model, None)
        )
        model.train()
        pairs = prepared.train
        for _ in range(2):
            live.peak = live.now
            reference = training._compute_reference(pairs).to(device)
            _step(training, Batch(range(len(pairs)), pairs, training._micro_batches(pairs), reference, device))
        trained = [each for each in model.parameters() if each.requires_grad]
        return {
            "weights": weights,
            "peak": live.peak,
            "where": live.where,
            "adapter": sum(each.nbytes for each in trained),
        }


def _step(training: Any, batch: Batch) -> None:
    training.forward_backward(batch)
    kinds = {(str(each.grad.dtype), str(each.grad.device)) for each in training._parameters}
    if kinds != {("torch.float32", str(batch.sums.device))}:
        raise TypeError(f"gradients of {kinds}")
    training._update()


def prepare() -> None:
    """What has to be there before tensors have no numbers."""
    torch.__future__.set_swap_module_params_on_conversion(False)
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    bitsandbytes.functional.name2qmap["dynamic"] = bitsandbytes.functional.create_dynamic_map()


def main(cases: Sequence[Mapping[str, Any]]) -> None:
    """Prints the figures of each case."""
    prepare()
    for case in cases:
        print(json.dumps(measure(case)), flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
