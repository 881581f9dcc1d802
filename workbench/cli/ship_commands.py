"""merge and serve-command: from a run to a model that others load, and how to serve either."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from workbench.cli.context import Json, note, print_json
from workbench.cli.run_results import Run, examples, folder_of
from workbench.text import safe

if TYPE_CHECKING:
    from workbench.engine.merge import Merged

_RUN = "1506-support-tone-dpo"
Dtype = Annotated[Literal["bf16", "fp16", "fp32"], typer.Option(help="The width of the merged weights.")]


def register(app: typer.Typer) -> None:
    """Adds the commands to `app`."""
    app.command(
        epilog=examples(
            f"merge {_RUN} --to ~/models/polite",
            f"merge {_RUN} --to ~/models/polite --dtype fp16 --force --json",
            f"merge {_RUN} --to ~/models/polite.gguf",
        )
    )(merge)
    app.command("serve-command", epilog=examples(f"serve-command {_RUN}", "serve-command ~/models/polite"))(
        serve_command
    )


def merge(
    context: typer.Context,
    run: Run,
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="A new folder; or a file ending in .gguf.")],
    dtype: Dtype = "bf16",
    form: Annotated[
        Literal["safetensors", "gguf"] | None,
        typer.Option("--format", help="Default: gguf where --to ends in .gguf, else safetensors."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a model that is there already.")] = False,
    json: Json = False,
) -> None:
    """Merge a run's adapter into its base: a plain checkpoint that transformers and vLLM load.

    The base is loaded anew, not taken from its 4-bit weights. Told at the end, and in the model card: how far the
    log-probabilities of the run's held-out pairs moved against the adapter as it was trained. It takes the size of the
    merged model in memory and on the disk (for GGUF twice that on the disk).
    """
    folder = folder_of(context, run)
    from workbench.engine.scorer_quiet import quiet_libraries

    quiet_libraries()
    from workbench.engine.merge import merge as make

    wanted: Literal["safetensors", "gguf"] = form or ("gguf" if to.suffix == ".gguf" else "safetensors")
    merged = make(folder, to, dtype=dtype, form=wanted, force=force, progress=_progress())
    if json:
        print_json(merged.to_json())
        return
    _print_merged(merged)


def serve_command(
    context: typer.Context,
    what: Annotated[str, typer.Argument(metavar="RUN|DIR", help="A run, or the folder of a merged model.")],
    json: Json = False,
) -> None:
    """Print the vLLM command line that serves a run's adapter on its base, or a merged model."""
    from workbench.runs.serving import serve_adapter, serve_merged

    path = Path(what).expanduser()
    merged = (path / "config.json").is_file()
    command = serve_merged(path) if merged else serve_adapter(folder_of(context, what))
    if json:
        print_json({"kind": "merged" if merged else "adapter", "command": command})
    else:
        print(safe(command))


def _progress() -> _Progress:
    return _Progress(bar=sys.stderr.isatty())


class _Progress:
    """What is done, a line each on stderr; on a terminal with the share that is done."""

    def __init__(self, *, bar: bool) -> None:
        self._bar, self._last = bar, ""

    def __call__(self, what: str, share: float | None) -> None:
        if what != self._last:
            note(f"  {what}")
        elif self._bar and share is not None:
            print(f"\r  {safe(what)} {share:4.0%} ", end="\r" if share < 1 else "\n", file=sys.stderr, flush=True)
        self._last = what


def _print_merged(merged: Merged) -> None:
    print(safe(f"{merged.path}: {merged.parameters:,} parameters in {merged.dtype}, {merged.bytes / 1e9:.2f} GB"))
    print("Log-probabilities of held-out responses, merged minus the adapter as it was trained")
    drift = ["not measured: the run held no pairs out"] if merged.drift is None else merged.drift.told()
    for line in drift:
        print(f"  {line}")
    if merged.serve:
        print(f"Serve it: {safe(merged.serve)}")
