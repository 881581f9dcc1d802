"""The model card that lies beside an adapter."""

from __future__ import annotations

from collections.abc import Mapping

from workbench import __version__
from workbench.config import to_toml
from workbench.engine.data import Prepared
from workbench.methods import METHODS
from workbench.runs.folder import Record
from workbench.runs.quantities import METRICS, quantities

_LIKELIER = "It makes preferred answers likelier than rejected ones"
_MADE = {
    "reward": "It gives an answer a score, higher for preferred ones",
    "grpo": "It makes answers with a high reward likelier",
    "rloo": "It makes answers with a high reward likelier",
}


def card(
    record: Record, prepared: Prepared, revision: str, before: Mapping[str, float], after: Mapping[str, float]
) -> str:
    """Markdown with the metadata that the Hugging Face hub reads. `before` and `after` are of the held-out pairs."""
    base, method = record.config.model, record.config.method
    lines = [
        "---",
        "library_name: peft",
        *([f"base_model: {base}"] if "/" in base and not base.startswith("/") else []),
        f"tags: [alignment-workbench, trl, {method}, lora]",
        "---",
        "",
        f"# LoRA adapter for {base}",
        "",
        f"Trained with the Alignment Workbench {__version__} on {record.created:%Y-%m-%d}.",
        f"Method: {METHODS[method].title}.",
        *([f"Loss: {', '.join(record.config.loss_type)}."] if method == "dpo" else []),
        f"{_MADE.get(method, _LIKELIER)}; nothing beyond the numbers below was measured here.",
        "",
        f"Base revision: `{revision}`",
        "",
        "## Data",
        "",
        f"{len(prepared.train)} pairs trained, {len(prepared.holdout)} held out.",
        f"{prepared.dropped} were dropped for their length, {prepared.truncated} truncated.",
        "",
        *(f"- {name}: sha256 `{digest}`" for name, digest in record.sources.items()),
        "",
        "## Held-out pairs",
        "",
        *_table(before, after),
        "",
        "## Settings",
        "",
        "```toml",
        to_toml(record.config).strip(),
        "```",
        "",
        "## Versions",
        "",
        ", ".join(f"{name} {number}" for name, number in record.versions.items()),
        "",
    ]
    return "\n".join(lines)


def _table(before: Mapping[str, float], after: Mapping[str, float]) -> list[str]:
    if not after:
        return ["None were held out, or the run was stopped before an evaluation."]
    shown = [name for each in quantities(after) for name in METRICS[each]]
    rows = [
        f"| {name} | {before[name]:.4f} | {after[name]:.4f} |" for name in shown if name in before and name in after
    ]
    return ["| metric | before | after |", "|---|---|---|", *rows]
