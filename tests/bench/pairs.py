"""A data set of hh-rlhf's size: opening, keys, filters, searches, sorting, bulk edits, saving, memory.

Run as `python -m tests.bench.pairs [ROWS] [--json] [--busy]`; `--busy` keeps one core computing beside it, as a worker
that trains does. The file is made of the shared hh rows, less the longest, so that a row is as large as hh-rlhf's;
each repetition has other prompts. Where they are not there, the rows are made up. The file is in the page cache.
"""

from __future__ import annotations

import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import psutil

from workbench.pairs.importers import import_rows
from workbench.pairs.pair import STATUSES, Message, Pair, to_line
from workbench.pairs.readers import read_rows

ROWS = 160_800
_BYTES_A_ROW = 154_000_000 / 160_800
_SHARED = Path("../shared/data/hh-rlhf/harmless-base-1500.jsonl.gz")
_SCREENFUL = 60
_OPENINGS = 5
LIMITS = {
    "open to usable": 1000.0,
    "lines of a screen": 5.0,
    "next new": 1.0,
    "filter": 50.0,
    "word": 150.0,
    "regex": 150.0,
    "status key, p95": 20.0,
    "bulk status": 1000.0,
    "bulk tag": 1000.0,
    "bulk swap": 1000.0,
    "bulk undo": 1000.0,
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


def measure_opening(path: Path) -> dict[str, float]:
    """Milliseconds from nothing imported to a screenful of pairs, in this process."""
    begin = time.perf_counter()
    from workbench.pairs.store import PairStore

    imported, computed = time.perf_counter(), time.process_time()
    with PairStore(path, quiet=1000) as store:
        opened, computed = time.perf_counter(), time.process_time() - computed
        store.counts()
        for row in store.rows.order[:_SCREENFUL].tolist():
            store.rows.number(row), store.rows.pair(row)
        return {
            "open to usable": 1000 * (time.perf_counter() - begin),
            "of that, imports": 1000 * (imported - begin),
            "of that, the file": 1000 * (opened - imported),
            "its processor time": 1000 * computed,
            "memory, opened (MB)": psutil.Process().memory_info().rss / 1e6,
        }


def measure(path: Path) -> dict[str, float]:
    """Milliseconds for each operation on a data set that is open, in this process."""
    from workbench.pairs.query import Order, parse
    from workbench.pairs.store import PairStore

    found: dict[str, float] = {}

    def timed(name: str, action: Callable[[], object], repeats: int = 5) -> None:
        times = []
        for _ in range(repeats):
            begin = time.perf_counter()
            action()
            times.append(1000 * (time.perf_counter() - begin))
        found[name] = statistics.median(times)

    store = PairStore(path, quiet=1000)
    middle = len(store) // 2
    timed(
        "lines of a screen",
        lambda: list(store.pairs[middle : middle + _SCREENFUL]),
    )
    timed("next new", lambda: store.next_with_status(store.rows.order, middle, "new"))
    timed("filter", lambda: store.find(parse("status:new len>1.5 -split:holdout")))

    def search(query: str) -> None:
        store._search._remembered.clear()
        store.find(parse(query))

    timed("word", lambda: search("police"))
    timed("regex", lambda: search("/how (do|can) (I|you) [a-z]+ing/"))
    for order in ("ratio", "status", "prompt"):
        timed(f"sort by {order}", partial(store.sorted, store.rows.order, Order(order)))
    rng, keys = random.Random(1), []
    for _ in range(300):
        row, status = rng.randrange(len(store)), rng.choice(STATUSES[1:])
        begin = time.perf_counter()
        store.set_status([row], status)
        keys.append(1000 * (time.perf_counter() - begin))
    keys.sort()
    found["status key, median"], found["status key, p95"], found["status key, worst"] = keys[150], keys[285], keys[-1]
    timed("save after 300 keys", store.file.save, 1)
    timed("bulk status", lambda: store.set_status(store.rows.order, "accepted"), 1)
    timed("bulk undo", lambda: store.file.turn("undo"), 1)
    timed("bulk tag", lambda: store.add_tag(store.rows.order, "bench"), 1)
    timed("bulk swap", lambda: store.swap(store.rows.order), 1)
    timed("save after bulk", store.close, 1)
    # The most there ever was, saving included, which writes a copy's lines beside what is open.
    found["memory (MB)"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    return found


def _in_a_process(function: str, path: Path) -> dict[str, float]:
    code = "import sys, json, pathlib; from tests.bench import pairs; "
    code += f"print(json.dumps(pairs.{function}(pathlib.Path(sys.argv[1]))))"
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def main(arguments: list[str]) -> int:
    """Prints the figures beside their limits; 1 where one is over."""
    rows = next((int(each) for each in arguments if each.isdigit()), ROWS)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hh.jsonl"
        make_file(path, rows)
        size = path.stat().st_size
        busy = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if "--busy" in arguments else None
        try:
            openings = [_in_a_process("measure_opening", path) for _ in range(_OPENINGS)]
            found = {name: statistics.median(each[name] for each in openings) for name in openings[0]}
            found |= _in_a_process("measure", path)
        finally:
            if busy is not None:
                busy.kill()
                busy.wait()
    over = [name for name, limit in LIMITS.items() if found[name] > limit]
    if "--json" in arguments:
        told = {"rows": rows, "bytes": size, "busy": busy is not None, "limits": LIMITS, "over": over}
        print(json.dumps(found | told))
    else:
        print(f"pairs: {rows:,} rows, {size / 1e6:.0f} MB{', a core busy beside it' if busy else ''}")
        print(f"{'':<24}{'measured':>10}{'limit':>13}")
        for name, value in found.items():
            limit = f"{LIMITS[name]:>10,.0f}" + ("   over" if name in over else "") if name in LIMITS else ""
            print(f"{name:<24}{value:>10,.1f}{'   ' if 'MB' in name else ' ms'}{limit}".rstrip())
    return int(bool(over))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
