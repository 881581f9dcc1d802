"""What a run of 1,000, 10,000 and 100,000 pairs costs before its first step: seconds and memory, tokens cached or not.

Run as `python -m tests.bench growth [PAIRS …] [--to FOLDER]`. The pairs are made of the shared hh rows, each repetition
with other prompts; where these are not there, they are made up. A measurement is a process of its own that reads a
run's pairs.jsonl as a worker does, tokenizes it or finds its tokens, and goes on to the first batch. Memory is what is
added to the libraries and the embedded model: what this process alone has, and pages of mapped files beside it, which
the system takes back when it needs them.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.bench import machine
from tests.bench.child import run
from tests.bench.pairs import make_file

COUNTS = (1_000, 10_000, 100_000)
_MAX_LENGTH, _BATCH = 512, 8


def measure(rows: Path, cache: Path) -> dict[str, float]:
    """Seconds and bytes from the rows to the first batch, in this process."""
    from workbench.config import build_config
    from workbench.engine.model.downloads import load_tokenizer
    from workbench.engine.model.loading import load_base
    from workbench.engine.training.data import prepare
    from workbench.engine.training.trainers import build_trainer
    from workbench.runs.folder import RowsFile

    config = build_config({"pairs": ["x"], "batch_size": _BATCH, "max_length": _MAX_LENGTH, "holdout": 0.0})
    tokenizer, model = load_tokenizer(config.model), load_base(config.model, config.quantization)
    tokenizer("What is done for the first time is done now.")
    before = _memory()
    Path("/proc/self/clear_refs").write_text("5")  # The peak begins anew.
    began = time.perf_counter()
    prepared = prepare(tokenizer, RowsFile(rows), config.max_length, cache)
    tokenized = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        trainer = build_trainer(config, model, tokenizer, prepared, Path(scratch))
        next(trainer.shares())
    after = _memory()
    return {
        "tokens_seconds": tokenized - began,
        "seconds": time.perf_counter() - began,
        "own_bytes": after["RssAnon"] - before["RssAnon"],
        "mapped_bytes": after["RssFile"] - before["RssFile"],
        "peak_bytes": after["VmHWM"] - before["VmRSS"],
        "pairs": len(prepared.train),
    }


def _memory() -> dict[str, int]:
    found = re.findall(r"(\w+):\s+(\d+) kB", Path("/proc/self/status").read_text())
    return {name: 1024 * int(number) for name, number in found}


def table(found: dict[str, Any]) -> str:
    """Markdown: a line for each number of pairs and kind of start."""
    lines = [
        "# Start-up as the data grow",
        "",
        machine.told(found["machine"]) + ". Pairs of hh-rlhf's lengths, the embedded model's tokenizer.",
        "",
        "| pairs | start | rows to first batch | of that, tokens | memory of its own | mapped pages | peak |",
        "|---|---|---|---|---|---|---|",
    ]
    for each in found["measurements"]:
        memory = " | ".join(f"{each[name] / 1e6:.0f} MB" for name in ("own_bytes", "mapped_bytes", "peak_bytes"))
        seconds = f"{each['seconds']:.1f} s | {each['tokens_seconds']:.1f} s"
        lines += [f"| {each['rows']:,} | {each['start']} | {seconds} | {memory} |"]
    sizes = {each["rows"]: (each["rows_bytes"], each["tokens_bytes"]) for each in found["measurements"]}
    told = "; ".join(f"{n:,}: {rows / 1e6:.0f} MB and {ids / 1e6:.0f} MB" for n, (rows, ids) in sizes.items())
    return "\n".join([*lines, "", f"On disk, pairs.jsonl and its tokens: {told}."])


def main(given: Sequence[str]) -> int:
    """Measures each number of pairs, first without and then with its tokens on disk, and prints the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench growth", description=__doc__)
    parser.add_argument("pairs", type=int, nargs="*", default=COUNTS)
    parser.add_argument("--to", type=Path, default=machine.RESULTS)
    asked = parser.parse_args(given)
    found: dict[str, Any] = {"machine": machine.machine(), "measurements": []}
    for count in asked.pairs:
        with tempfile.TemporaryDirectory() as name:
            rows, cache = Path(name) / "pairs.jsonl", Path(name) / "tokens"
            make_file(rows, count)
            for start in ("cold", "cached"):
                code = "import json, pathlib, sys; from tests.bench import growth; "
                code += "print(json.dumps(growth.measure(*map(pathlib.Path, sys.argv[1:]))))"
                done = run(["-c", code, str(rows), str(cache)])
                took = json.loads(done.output.splitlines()[-1])
                on_disk = sum(path.stat().st_size for path in cache.iterdir())
                sizes = {"rows_bytes": rows.stat().st_size, "tokens_bytes": on_disk}
                found["measurements"].append({"rows": count, "start": start, **took, **sizes})
                machine.save("growth", found, table(found), asked.to)
                print(f"{count:,} pairs, {start}: {took['seconds']:.1f} s", file=sys.stderr)
    print(table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
