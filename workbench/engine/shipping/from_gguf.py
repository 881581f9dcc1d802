"""A GGUF file as a plain folder that everything here loads: safetensors, tokenizer, chat template, generation config.

transformers reads the file and dequantizes it. Such a model refuses `save_pretrained`, so its weights are put into a
fresh one of the same config, without a copy in memory. What cannot be read says why before anything is written.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig, PreTrainedModel

from workbench.engine.model.downloads import first_line, from_pretrained
from workbench.engine.shipping.destination import check_destination, written
from workbench.engine.shipping.merge_adapter import DTYPES, check_finite
from workbench.engine.shipping.pre_tokenizers import restored
from workbench.engine.shipping.to_gguf import gguf_library
from workbench.errors import WorkbenchError
from workbench.runs import machine
from workbench.runs.merging import Dtype
from workbench.text import one_line

_BESIDE_WEIGHTS = 32 * 2**20
"""Bytes of tokenizer and configs."""
_UNREADABLE = (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, RuntimeError, NotImplementedError)
"""What readers of a file raise where it does not say what they expect."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What was written. `quantized` names the commonest kind of the file's tensors, `bytes` are those on disk."""

    path: str
    architecture: str
    quantized: str
    dtype: Dtype
    parameters: int
    bytes: int
    seconds: float
    chat_template: bool


@dataclass(frozen=True, slots=True)
class _Header:
    """What a file says of itself: GGUF's name of the architecture, its parameters, the commonest kind of tensor.

    `pre_tokenizer`: what a byte-level tokenizer does before its merges, by llama.cpp's name; empty where that is not
    said, or the tokenizer is of another kind.
    """

    architecture: str
    pre_tokenizer: str
    parameters: int
    quantized: str


def import_gguf(
    file: Path,
    to: Path,
    *,
    dtype: Dtype = "fp32",
    force: bool = False,
    progress: Callable[[str, float | None], None] = lambda *_: None,
) -> Imported:
    """Writes the model in `file` to the folder `to`: all of it or nothing.

    Raises `WorkbenchError`: no such file, none of GGUF or a damaged one, an architecture or a tokenizer that
    transformers does not read, something at `to`, too little disk or memory, the package `gguf` missing.
    """
    began = time.monotonic()
    file, to = file.expanduser().absolute(), to.expanduser().absolute()
    check_destination(to, force=force, folder=True)
    progress("reading the header", None)
    with _header_read_once(), _alone(file) as where:
        header = _header(file)
        _check_room(header, dtype, to)
        config = _read("config", file, lambda: from_pretrained(AutoConfig, **where))
        progress("reading the tokenizer", None)
        tokenizer = _read("tokenizer", file, lambda: from_pretrained(AutoTokenizer, **where, config=config))
        _restore_steps(tokenizer, header.pre_tokenizer, file)
        progress(f"dequantizing {header.parameters / 1e6:,.0f} million parameters", None)
        width = {"config": config, "dtype": DTYPES[dtype]}
        loaded = _read("model", file, lambda: from_pretrained(AutoModelForCausalLM, **where, **width))
    check_finite(loaded, dtype)
    with written(to) as folder:
        progress(f"writing {header.parameters * DTYPES[dtype].itemsize / 1e9:,.2f} GB", None)
        _fresh(loaded).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return Imported(
        path=str(to),
        architecture=header.architecture,
        quantized=header.quantized,
        dtype=dtype,
        parameters=int(loaded.num_parameters()),
        bytes=sum(path.stat().st_size for path in to.rglob("*")),
        seconds=time.monotonic() - began,
        chat_template=bool(tokenizer.chat_template),
    )


@contextmanager
def _header_read_once() -> Iterator[None]:
    """transformers reads the header anew for config, tokenizer and weights: seconds each time, a token at a time."""
    gguf = gguf_library()
    reader = gguf.GGUFReader
    gguf.GGUFReader = cache(reader)
    try:
        yield
    finally:
        gguf.GGUFReader = reader


@contextmanager
def _alone(file: Path) -> Iterator[dict[str, Any]]:
    """Arguments for `from_pretrained`: transformers would take a tokenizer.json beside the file for the file's own."""
    with TemporaryDirectory(prefix="workbench-gguf-") as folder:
        (Path(folder) / "model.gguf").symlink_to(file)
        yield {"source": folder, "gguf_file": "model.gguf"}


def _header(file: Path) -> _Header:
    gguf = gguf_library()
    if not file.is_file():
        raise WorkbenchError("No such file", f"{file} is not a file.", "Name a model's .gguf file.")
    with file.open("rb") as opened:
        magic = opened.read(4)
    if magic != b"GGUF":
        raise WorkbenchError("Not a GGUF file", f"{file} begins with {magic!r}.", "A GGUF file begins with GGUF.")
    try:
        reader = gguf.GGUFReader(str(file))
        architecture = str(reader.fields["general.architecture"].contents())
        byte_level = _said(reader, "tokenizer.ggml.model") == "gpt2"
        pre_tokenizer = _said(reader, "tokenizer.ggml.pre") if byte_level else ""
        kinds = [each.tensor_type.name for each in reader.tensors if len(each.shape) > 1]
        parameters = sum(int(each.n_elements) for each in reader.tensors)
    except _UNREADABLE as error:
        raise WorkbenchError(
            "The GGUF file is damaged or incomplete", f"{file}: {first_line(error)}.", "Download it again."
        ) from error
    return _Header(architecture, pre_tokenizer, parameters, max(set(kinds), key=kinds.count, default="F32"))


def _said(reader: Any, name: str) -> str:
    field = reader.fields.get(name)
    return "" if field is None else str(field.contents())


def _restore_steps(tokenizer: Any, name: str, file: Path) -> None:
    """Lets the tokenizer part texts as the file says: transformers knows few of the names, and takes GPT-2's way then.

    Raises `WorkbenchError` for a name that is not known: other tokens than those of training would be read.
    """
    if name and name != "default" and not restored(tokenizer.backend_tokenizer, name):
        raise WorkbenchError(
            "The tokenizer in the GGUF file is of a kind that is not known here",
            f"{file.name}: tokenizer.ggml.pre is {one_line(name, 40)!r}.",
            "Take the model's safetensors files instead, with its own tokenizer.json.",
        )


def _check_room(header: _Header, dtype: Dtype, to: Path) -> None:
    size = header.parameters * DTYPES[dtype].itemsize + _BESIDE_WEIGHTS
    for what, free, where in (
        ("disk", machine.disk_free(to), f"at {to.parent}"),
        ("memory", machine.memory().free, "on this machine"),
    ):
        if size > free:
            raise WorkbenchError(
                f"Not enough {what}",
                f"The model takes {size / 1e9:.1f} GB of {what} in {dtype}; {free / 1e9:.1f} GB are free {where}.",
                "Free some" + (", or take --dtype bf16 for half of it." if dtype == "fp32" else "."),
            )


def _read(what: str, file: Path, read: Callable[[], Any]) -> Any:
    """What transformers makes of the file. Raises `WorkbenchError` where it cannot read it."""
    try:
        return read()
    except _UNREADABLE as error:
        reason = first_line(error)
        if "not supported" in reason or "architecture" in reason.lower():
            raise WorkbenchError(
                "transformers does not read this model from GGUF",
                f"{file.name}: {reason}",
                "Take the model's safetensors files instead, where it was published with them.",
            ) from error
        raise WorkbenchError(
            f"The {what} in the GGUF file cannot be read",
            f"{file}: {reason}",
            "Download it again, or take the model's safetensors files instead.",
        ) from error


def _fresh(loaded: PreTrainedModel) -> PreTrainedModel:
    """A model with the same weights that can be saved: one loaded from GGUF counts as quantized, and cannot."""
    config = type(loaded.config).from_dict(
        {name: value for name, value in loaded.config.to_dict().items() if name != "quantization_config"}
    )
    with torch.device("meta"):
        fresh: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=loaded.dtype)
    fresh.load_state_dict(loaded.state_dict(), assign=True)
    fresh.tie_weights()
    fresh.generation_config = GenerationConfig.from_model_config(config)
    return fresh
