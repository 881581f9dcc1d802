"""DPO in NF4 of a Llama-3-8B-shaped model with random weights on a CUDA device: stock TRL and the workbench.

Run as `python -m tests.bench gpu [--rows FILE] [--minutes M] [--only NAME,…] [--again] [--to FOLDER]`, or with
`--dry-run` on the CPU with a tiny shape, which proves the code and nothing else. Every measurement is a process of its
own and is written down at once; what the results have already is not measured again, so a device that is lent for
minutes at a time is used up to the last: `--minutes` begins nothing and lets nothing go on after that.

Token lengths are those of a byte-level BPE of 8,192 tokens fitted to the hh rows at the time of the bench, which has
about as many letters a token on them as Llama 3's own has on English. LoRA has rank 16 on all linear layers. Stock
TRL computes all layers again in the backward, as it does by itself, and is tried with ever larger batches until one
does not fit; the workbench as many as memory asks, and once all, for its least memory.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.bench import machine
from tests.bench.training import HH
from workbench.child import ENVIRONMENT
from workbench.errors import WorkbenchError
from workbench.pairs.importers import import_rows
from workbench.pairs.pair import to_row
from workbench.pairs.readers import read_rows
from workbench.runs.folder import to_line
from workbench.tiny.starters import build_pairs

AIM, MEMORY_AIM, SHARE_AIM = 3.0, 0.6, 0.4
"""Times stock TRL's pairs a second, of its memory at equal pairs a step, share of the matrix peak."""
_VOCABULARY = 8192


@dataclass(frozen=True, slots=True)
class Ask:
    """A measurement: `pairs` an optimizer step, at most `part` of them at once; `warm` steps do not count."""

    side: str
    pairs: int
    part: int
    shape: str = "8B"
    steps: int = 8
    warm: int = 3
    max_length: int = 1024
    vocabulary: int = _VOCABULARY
    checkpointing: str = "auto"

    @property
    def name(self) -> str:
        """What results and --only call it."""
        if self.checkpointing != "auto":
            return f"{self.side}-{self.checkpointing}-{self.pairs}x{self.part}"
        return self.side if self.side in ("peak", "score", "kl", "profile") else f"{self.side}-{self.pairs}x{self.part}"


PLAN = (
    Ask("peak", 0, 0),
    Ask("stock", 16, 8),
    Ask("workbench", 16, 16),
    Ask("score", 16, 16),
    Ask("kl", 16, 16),
    Ask("profile", 16, 16, steps=1),
    Ask("workbench", 16, 16, checkpointing="all"),
    Ask("stock", 16, 16),
    Ask("stock", 16, 4),
    Ask("workbench", 64, 64),
    Ask("stock", 32, 32),
    Ask("stock", 64, 64),
)
_DRY = {"peak": 0, "stock": 2, "workbench": 4, "score": 4, "kl": 4, "profile": 4}
DRY = (
    *(Ask(side, 4, part, "dry", steps=1, warm=1, max_length=96) for side, part in _DRY.items()),
    Ask("workbench", 4, 4, "dry", steps=1, warm=1, max_length=96, checkpointing="all"),
)


def measure(plan: Sequence[Ask], rows: Path, until: float, known: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Adds the figures of each measurement to `known`, or why there are none, and yields its name.

    Leaves out what is known and what cannot fit, and ends at the clock's `until`.
    """
    for ask in plan:
        if "failed" not in known.get(ask.name, {"failed": ""}) or _too_large(ask, known):
            continue
        left = until - time.monotonic()
        if left <= 0:
            return
        asked, began = json.dumps({**asdict(ask), "rows": str(rows)}), time.perf_counter()
        command = [sys.executable, "-m", "tests.bench.gpu_side", asked]
        # Ours runs in what workers run in; stock TRL in what is there.
        around = {**({} if ask.side == "stock" else ENVIRONMENT), **os.environ, "HF_HUB_OFFLINE": "1"}
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=left, check=False, env=around)
        except subprocess.TimeoutExpired:
            return
        took = {"failed": done.stderr[-2000:]} if done.returncode else json.loads(done.stdout.splitlines()[-1])
        known[ask.name] = {**asdict(ask), **took, "whole_seconds": time.perf_counter() - began}
        yield ask.name


def _too_large(ask: Ask, known: dict[str, dict[str, Any]]) -> bool:
    """Whether stock TRL had no room for as many pairs at once."""
    return ask.side == "stock" and any(
        each.get("out_of_memory") and each["side"] == "stock" and each["part"] <= ask.part for each in known.values()
    )


def table(found: dict[str, Any]) -> str:
    """Markdown, with the aims where both sides are there."""
    took = found["measurements"]
    top = took.get("peak", {})
    lines = [
        f"# DPO of a Llama-3-8B-shaped model in NF4 on {top.get('device', 'a device that was not asked')}",
        "",
        machine.told(found["machine"]) + f". Matrix peak {top.get('flops', 0) / 1e12:.1f} TFLOP/s.",
        "",
        "| | pairs a step, at once | pairs/s | unique tokens/s | of the matrix peak | peak memory | estimated |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, each in took.items():
        if name == "peak":
            continue
        if "seconds" not in each:
            reason = "out of memory" if each.get("out_of_memory") else "failed"
            lines.append(f"| {name} | | {reason} | | | | |")
        else:
            pairs, tokens = pace(each), each.get("unique_tokens", 0) / each["seconds"]
            share = f"{share_of_peak(each, top):.1%}" if tokens and top else ""
            lines.append(
                f"| {each['side']} | {each['pairs']}, {each['part']} | {pairs:.2f} "
                f"| {f'{tokens:.0f}' if tokens else ''} | {share} | {each['peak_bytes'] / 1e9:.2f} GB "
                f"| {_estimated(each)} |"
            )
    spent = took.get("profile", {}).get("milliseconds", {})
    total = sum(spent.values())
    kinds = [", ".join(f"{kind} {each / total:.0%}" for kind, each in spent.items())] if total else []
    told = [f"Of a step's {total:.0f} ms: {kinds[0]}."] if kinds else []
    return "\n".join([*lines, "", *told, *_aims(took, top)]).rstrip()


def _estimated(took: dict[str, Any]) -> str:
    """What the form would have told, and how far from the peak that is. A CPU's peak is that of the whole process."""
    if "estimated_bytes" not in took:
        return ""
    off = f" ({took['estimated_bytes'] / took['peak_bytes'] - 1:+.0%})" if "reserved_bytes" in took else ""
    return f"{took['estimated_bytes'] / 1e9:.2f} GB{off}"


def pace(took: dict[str, Any]) -> float:
    """Pairs a second, trained or scored."""
    return float((took.get("pairs_trained") or took["pairs_scored"]) / took["seconds"])


def share_of_peak(took: dict[str, Any], top: dict[str, Any]) -> float:
    """Of the matrix peak, what six operations for each parameter and unique token would take."""
    return float(6 * took["parameters"] * took["unique_tokens"] / took["seconds"] / top["flops"])


def _aims(took: dict[str, Any], top: dict[str, Any]) -> list[str]:
    sides = {
        side: [each for each in took.values() if each.get("side") == side and "seconds" in each]
        for side in ("stock", "workbench")
    }
    if not (all(sides.values()) and top) or any(each["shape"] == "dry" for each in sides["stock"]):
        return []
    best = {side: max(each, key=pace) for side, each in sides.items()}
    told = [f"{pace(best['workbench']) / pace(best['stock']):.2f} × stock TRL's best (aim ≥ {AIM:g})"]
    for ours in sides["workbench"]:
        theirs = [each for each in sides["stock"] if each["pairs"] == ours["pairs"]]
        if theirs:
            fastest = max(theirs, key=pace)
            told.append(
                f"{ours['peak_bytes'] / fastest['peak_bytes']:.2f} × its memory at {ours['pairs']} pairs a step "
                f"(aim ≤ {MEMORY_AIM:g})"
            )
    share = share_of_peak(best["workbench"], top)
    return ["; ".join([*told, f"{share:.1%} of the matrix peak (aim ≥ {SHARE_AIM:.0%})"]) + "."]


def main(given: Sequence[str]) -> int:
    """Measures, writes every figure down at once, prints the table; 1 where a measurement failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench gpu", description=__doc__)
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--rows", type=Path, default=HH)
    parser.add_argument("--minutes", type=float, default=600.0)
    parser.add_argument("--only", default="")
    parser.add_argument("--again", action="store_true", help="measure anew what the results have")
    parser.add_argument("--to", type=Path)
    asked = parser.parse_args(given)
    until = time.monotonic() + 60 * asked.minutes
    if not asked.dry_run and not has_cuda():
        print("GPU: skipped, there is no CUDA device. --dry-run tries the code on the CPU.")
        return 0
    plan = [ask for ask in (DRY if asked.dry_run else PLAN) if not asked.only or ask.name in asked.only.split(",")]
    with tempfile.TemporaryDirectory() as scratch:
        # A dry run's figures mean nothing, so they are kept only where that is asked for.
        to = asked.to or (Path(scratch) if asked.dry_run else machine.RESULTS)
        known = {} if asked.again else machine.read("gpu", to).get("measurements", {})
        found = {"machine": machine.machine(), "vocabulary": _VOCABULARY, "measurements": known}
        rows = Path(scratch) / "rows.jsonl"
        rows.write_bytes(b"".join(map(to_line, _rows(asked.rows, asked.dry_run))))
        for name in measure(plan, rows, until, known):
            machine.save("gpu", found, table(found), to)
            print(f"{name}: {'failed' if 'failed' in known[name] else 'done'}", file=sys.stderr)
    print(table(found))
    failed = {name: took["failed"] for name, took in known.items() if "failed" in took}
    for name, reason in failed.items():
        print(f"\n{name} failed:\n{reason}", file=sys.stderr)
    return int(bool(failed))


def _rows(path: Path, dry: bool) -> list[dict[str, Any]]:
    """The hh rows; for a dry run a few of the starter sets, which are everywhere."""
    if dry:
        return [row for rows in build_pairs().values() for row in rows[:8]]
    try:
        return [to_row(pair) | {"split": "train"} for pair in import_rows(read_rows(path)).pairs]
    except WorkbenchError as error:
        raise SystemExit(f"{error} Name the hh rows with --rows FILE.") from error


def has_cuda() -> bool:
    done = subprocess.run(
        [sys.executable, "-c", "import torch; print(torch.cuda.is_available())"], capture_output=True, text=True
    )
    return done.stdout.strip() == "True"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
