"""A data set of hh-rlhf's size: opening, keys, filters, searches, sorting, bulk edits, memory.

Run as `python -m tests.bench.pairs [ROWS] [--json] [--busy]`; `--busy` keeps one core computing beside it, as a worker
that trains does. The file is made of the shared hh rows, less the longest, so that a row is as large as hh-rlhf's;
each repetition has other prompts. Where they are not there, the rows are made up.
"""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil

from workbench.pairs.importers import import_rows
from workbench.pairs.pair import Message, Pair, to_line
from workbench.pairs.readers import read_rows

ROWS = 160_800
_BYTES_A_ROW = 154_000_000 / 160_800
_SHARED = Path("../shared/data/hh-rlhf/harmless-base-1500.jsonl.gz")
LIMITS = {
    "open": 1000.0,
    "status key, p95": 20.0,
    "filter": 50.0,
    "word": 150.0,
    "regex": 150.0,
    "bulk status": 1000.0,
    "bulk tag": 1000.0,
    "bulk swap": 1000.0,
    "memory (MB)": 900.0,
}
"""Milliseconds, but for the memory."""


def rows_to_repeat() -> list[Pair]:
    """Pairs that are on average as large as hh-rlhf's."""
    if not _SHARED.exists():
        text = "word " * 40
        return [
            Pair(
                f"made-{n}",
                (Message("user", text),),
                (Message("assistant", text + str(n)),),
                (Message("assistant", text),),
            )
            for n in range(1500)
        ]
    found = sorted(import_rows(read_rows(_SHARED, lambda *_: None)).pairs, key=lambda pair: len(to_line(pair).encode()))
    while sum(len(to_line(pair).encode()) for pair in found) > len(found) * (_BYTES_A_ROW - 20):
        found.pop()
    random.Random(0).shuffle(found)
    return found


def make_file(path: Path, rows: int) -> None:
    """Writes a file of so many pairs, no two prompts the same."""
    base = rows_to_repeat()
    with path.open("w") as file:
        for number in range(rows):
            pair = base[number % len(base)]
            first = pair.prompt[0]
            assert isinstance(first, Message)
            prompt = (Message(first.role, f"{first.content} ({number // len(base)})"), *pair.prompt[1:])
            file.write(to_line(replace(pair, id=f"{pair.id}-{number}", prompt=prompt)))


def measure(path: Path) -> dict[str, float]:
    """Milliseconds for each operation on a data set, in this process; Arrow is imported first."""
    from workbench.pairs.query import parse
    from workbench.pairs.store import PairStore

    found: dict[str, float] = {}

    def timed(name: str, action: Callable[[], object], repeats: int = 5) -> None:
        times = []
        for _ in range(repeats):
            begin = time.perf_counter()
            action()
            times.append(1000 * (time.perf_counter() - begin))
        found[name] = statistics.median(times)

    begin, computed = time.perf_counter(), time.process_time()
    store = PairStore(path, quiet=1000)
    first = store.table(store.rows)
    found["open"] = 1000 * (time.perf_counter() - begin)
    found["of that, processor"] = 1000 * (time.process_time() - computed)
    assert first.num_rows == len(store)
    timed("filter", lambda: store.find(parse("status:new len>1.5 -split:holdout")))

    def search(query: str) -> None:
        store._search._remembered.clear()
        store.find(parse(query))

    timed("word", lambda: search("police"))
    timed("regex", lambda: search("/how (do|can) (I|you) [a-z]+ing/"))
    for order in ("ratio", "status", "prompt"):
        timed(f"sort by {order}", lambda order=order: store.sorted(store.rows, order))
    timed("pair under the cursor", lambda: store.pair(len(store) // 2))
    rng, keys = random.Random(1), []
    for _ in range(300):
        row, status = rng.randrange(len(store)), rng.choice(("accepted", "dropped", "flagged"))
        begin = time.perf_counter()
        store.set_status([row], status)
        keys.append(1000 * (time.perf_counter() - begin))
    keys.sort()
    found["status key, median"], found["status key, p95"], found["status key, worst"] = keys[150], keys[285], keys[-1]
    timed("save after 300 keys", store.save, 1)
    timed("bulk status", lambda: store.set_status(store.rows, "accepted"), 1)
    timed("bulk undo", store.undo, 1)
    timed("bulk tag", lambda: store.add_tag(store.rows, "bench"), 1)
    timed("bulk swap", lambda: store.swap(store.rows), 1)
    found["memory (MB)"] = psutil.Process().memory_info().rss / 1e6
    timed("save after bulk", store.close, 1)
    return found


def main(arguments: list[str]) -> int:
    """Prints the figures beside their limits; 1 where one is over."""
    rows = next((int(each) for each in arguments if each.isdigit()), ROWS)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hh.jsonl"
        make_file(path, rows)
        size = path.stat().st_size
        busy = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if "--busy" in arguments else None
        try:
            code = "import sys, json, pathlib; from tests.bench import pairs; "
            code += "print(json.dumps(pairs.measure(pathlib.Path(sys.argv[1]))))"
            done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
        finally:
            if busy is not None:
                busy.kill()
                busy.wait()
    found = json.loads(done.stdout)
    if "--json" in arguments:
        print(json.dumps({"rows": rows, "bytes": size, "busy": "--busy" in arguments, **found}))
    else:
        print(f"pairs: {rows:,} rows, {size / 1e6:.0f} MB{', a core busy beside it' if '--busy' in arguments else ''}")
        for name, value in found.items():
            limit = f"   limit {LIMITS[name]:.0f}" if name in LIMITS else ""
            unit = "   " if "MB" in name else " ms"
            print(f"{name:<24}{value:>10.1f}{unit}{limit}")
    return int(any(found[name] > limit for name, limit in LIMITS.items()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
