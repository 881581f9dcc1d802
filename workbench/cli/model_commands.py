"""model: models brought into a shape that everything here loads."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from workbench.cli.context import Json, examples, path_given
from workbench.console import StatusLine, note, print_json, say
from workbench.text import quoted


def register(app: typer.Typer) -> None:
    """Adds the commands to `app`."""
    model = typer.Typer(help="Bring a model into a shape that everything here loads.", no_args_is_help=True)
    model.command(
        "import",
        epilog=examples(
            "model import SmolLM2-135M-Instruct.Q4_1.gguf --to ~/models/smollm2",
            "model import llama.gguf --to ~/models/llama --dtype bf16 --force --json",
        ),
    )(import_model)
    app.add_typer(model, name="model")


def import_model(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", parser=path_given, help="A model's GGUF file, quantized or not.")
    ],
    to: Annotated[Path, typer.Option("--to", metavar="DIR", parser=path_given, help="A new folder.")],
    dtype: Annotated[
        Literal["bf16", "fp16", "fp32"],
        typer.Option(help="The width of the weights. fp32 keeps what the file says; the others take half the disk."),
    ] = "fp32",
    force: Annotated[bool, typer.Option("--force", help="Replace a model that is there already.")] = False,
    json: Json = False,
) -> None:
    """Turn a GGUF file into a plain folder: safetensors, tokenizer, chat template, generation config.

    For what transformers reads: Llama, Mistral, Qwen, Gemma, Phi and others. Quantized weights are dequantized once, so
    the folder is larger than the file. It is written whole or not at all; then name it with --model DIR.
    """
    from workbench.engine.libraries import quick_imports, quiet_libraries

    quiet_libraries()
    with StatusLine() as line:
        line.show("  loading the libraries")
        with quick_imports():
            from workbench.engine.shipping.from_gguf import import_gguf
        imported = import_gguf(file, to, dtype=dtype, force=force, progress=line.stage)
    if json:
        print_json(asdict(imported))
        return
    size, kind = imported.bytes / 1e9, f"{imported.architecture}, {imported.quantized}"
    say(f"{imported.path}: {imported.parameters:,} parameters in {imported.dtype}, {size:.2f} GB, from {kind}")
    if not imported.chat_template:
        note("The file has no chat template: prompts with roles take a plain fallback.")
    say(f"Use it: workbench train --pairs NAME --model {quoted(imported.path)}")
