"""The model card that lies beside an adapter."""

from __future__ import annotations

from collections.abc import Mapping

from workbench import __version__
from workbench.config import to_toml
from workbench.engine.data import Prepared
from workbench.runs.folder import Record

_SHOWN = ("loss", "rewards/accuracies", "rewards/margins", "logps/chosen", "logps/rejected")


def card(
    record: Record, prepared: Prepared, revision: str, before: Mapping[str, float], after: Mapping[str, float]
) -> str:
    """Markdown with the metadata that the Hugging Face hub reads. `before` and `after` are of the held-out pairs."""
    base = record.config.model
    lines = [
        "---",
        "library_name: peft",
        *([f"base_model: {base}"] if "/" in base and not base.startswith("/") else []),
        "tags: [alignment-workbench, trl, dpo, lora]",
        "---",
        "",
        f"# LoRA adapter for {base}",
        "",
        f"Trained with the Alignment Workbench {__version__} on {record.created:%Y-%m-%d}.",
        f"Method: {record.config.method.upper()}; loss: {', '.join(record.config.loss_type)}.",
        "It makes preferred answers likelier than rejected ones; nothing beyond the numbers below was measured here.",
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
    rows = [
        f"| {name} | {before[name]:.4f} | {after[name]:.4f} |" for name in _SHOWN if name in before and name in after
    ]
    return ["| metric | before | after |", "|---|---|---|", *rows]
