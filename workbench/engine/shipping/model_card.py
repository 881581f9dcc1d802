"""The model card that lies beside an adapter or in a merged model: what it is, what it rests on, what was proved."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workbench import __version__
from workbench.config import to_toml
from workbench.errors import WorkbenchError
from workbench.figures import plural
from workbench.files import json_in, write_whole
from workbench.methods import METHODS, uses
from workbench.runs.folder import Record, RunFolder
from workbench.runs.merging import Answers, Drift
from workbench.runs.quantities import QUANTITIES, quantities
from workbench.runs.state import RunState
from workbench.text import one_line

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_ESCAPED = str.maketrans({"|": "\\|", "<": "&lt;"})
_HELD = {"nf4": "in 4 bits (NF4)", "int8": "in 8 bits", "none": "unquantized"}
_HOLDS = {True: "holds", False: "**does not hold**", None: "cannot be said"}


@dataclass(frozen=True, slots=True)
class MergeFacts:
    """How the adapter was merged, for the card of the result. `drift` is None where no pairs were held out."""

    dtype: str
    parameters: int
    drift: Drift | None
    answers: Answers | None = None
    differences: Sequence[str] = ()


def card(folder: RunFolder, merging: MergeFacts | None = None) -> str:
    """Markdown with the metadata that the Hugging Face hub reads, from all that the run's folder knows by now.

    Of a model that is a folder of this machine only the name is told. Raises `WorkbenchError` where run.toml cannot
    be read.
    """
    record, state = folder.record(), folder.state()
    base, method = record.config.model, record.config.method
    known = bool(_HUB_ID.fullmatch(base))
    name = base if known else base.rstrip("/").rpartition("/")[2]
    kind = f"{name} with a merged LoRA adapter" if merging else f"LoRA adapter for {name}"
    lines = [
        "---",
        f"library_name: {'transformers' if merging else 'peft'}",
        f"pipeline_tag: {'text-generation' if METHODS[method].answers else 'text-classification'}",
        *([f"base_model: {base}", f"base_model_relation: {'finetune' if merging else 'adapter'}"] if known else []),
        f"tags: [alignment-workbench, trl, {method}, lora]",
        "---",
        "",
        f"# {one_line(kind)}",
        "",
        f"Trained with the Alignment Workbench {__version__} on {record.created:%Y-%m-%d}.",
        f"Method: {METHODS[method].title}.",
        *([f"Loss: {', '.join(record.config.loss_type)}."] if uses(method, "loss_type") else []),
        f"{METHODS[method].does}; nothing beyond the numbers below was measured here.",
        "",
        *([f"Base revision: `{state.started.model_revision}`", ""] if state.started else []),
        *_section("Merged", _merged(merging, record) if merging else []),
        *_section("Evidence", _evidence(folder)),
        *_section("Data", _data(record, state)),
        *_section("Held-out pairs", _held_out(state)),
        *_section("Settings", ["```toml", to_toml(record.config.model_copy(update={"model": name})).strip(), "```"]),
        *_section("Versions", [", ".join(f"{name} {number}" for name, number in record.versions.items())]),
    ]
    return "\n".join(lines)


def write_card(folder: RunFolder) -> None:
    """Writes the adapter's card anew, if there is one. Raises `WorkbenchError`: the card is then as it was."""
    if folder.adapter.is_dir():
        try:
            write_whole(folder.adapter / "README.md", card(folder))
        except OSError as error:
            raise WorkbenchError(
                "The adapter's card could not be written",
                f"{folder.adapter}: {error}. The evidence is saved; the card still says what it said before.",
                "Free some space there, then evaluate again.",
            ) from error


def _section(title: str, lines: Sequence[str]) -> list[str]:
    return [f"## {title}", "", *lines, ""] if lines else []


def _merged(merging: MergeFacts, record: Record) -> list[str]:
    lines = [f"Merged into the base reloaded in {merging.dtype}: {merging.parameters:,} parameters."]
    if merging.drift is None:
        return [*lines, "How far that moved log-probabilities was not measured: no pairs were held out."]
    held = _HELD[record.config.quantization]
    lines.append(f"Log-probabilities of held-out responses, these files minus the adapter on the base held {held}:")
    told = [merging.drift.line(), *([merging.answers.line()] if merging.answers else [])]
    warned = [f"- **Other than the run that was measured:** {difference}" for difference in merging.differences]
    return [*lines, "", "```", *merging.drift.table(), "```", "", *(f"- {line}" for line in told), *warned]


def _evidence(folder: RunFolder) -> list[str]:
    """The verdicts of the run's evidence.json; nothing where there is none."""
    try:
        evidence = json_in(folder.evidence.read_bytes())
        verdicts: list[Mapping[str, Any]] = evidence["verdicts"]
        rows = [_verdict(verdict) for verdict in verdicts]
        created = one_line(str(evidence.get("created", "")))
        measured, trained = evidence["quantization"], folder.record().config.quantization
        held = "" if measured == trained else f" The base was held {_HELD[measured]}, in training {_HELD[trained]}."
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []
    table = ["| claim | verdict | value | 95% interval | threshold | samples | |", "|---|---|---|---|---|---|---|"]
    return [f"On probes that were in no pair, before and after training ({created}).{held}", "", *table, *rows]


def _verdict(verdict: Mapping[str, Any]) -> str:
    bounds = verdict.get("interval") or ()
    interval = [_number(bound) or endless for bound, endless in zip(bounds, ("−∞", "∞"), strict=False)]
    cells = [
        str(verdict["name"]),
        _HOLDS[verdict["holds"]],
        _number(verdict.get("value")),
        f"{interval[0]} to {interval[1]}" if len(interval) == 2 else "",
        _number(verdict.get("threshold")),
        str(verdict.get("samples", "")),
        str(verdict.get("message", "")),
    ]
    return "| " + " | ".join(one_line(cell).translate(_ESCAPED) for cell in cells) + " |"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _data(record: Record, state: RunState) -> list[str]:
    lines = []
    if state.started:
        started = state.started
        lines += [f"{plural(started.train_pairs, 'pair')} trained, {started.holdout_pairs} held out."]
        lines += [f"{started.dropped} were dropped for their length, {started.truncated} truncated.", ""]
    return [*lines, *(f"- {name}: sha256 `{digest}`" for name, digest in record.sources.items())]


def _held_out(state: RunState) -> list[str]:
    if not state.evals:
        return ["None were held out, or the run was stopped before an evaluation."]
    before, after = state.evals[0].metrics, state.evals[-1].metrics
    shown = [name for quantity in quantities(after) for name in QUANTITIES[quantity].metrics]
    rows = [
        f"| {name} | {before[name]:.4f} | {after[name]:.4f} |" for name in shown if name in before and name in after
    ]
    return ["| metric | before | after |", "|---|---|---|", *rows]
