"""How many tokens pairs have, and how many a trainer computes that pads two whole rows a pair to the longest.

Run as `python -m tests.bench.tokens ROWS.jsonl MODEL MAX_LENGTH BATCH`: a process of its own, as it needs a tokenizer.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

_ORDERS = 20


def count(rows: Path, model: str, max_length: int, batch: int) -> dict[str, float]:
    """Means a pair: `unique` counts a prompt once, `padded` both rows in batches of random order."""
    import numpy as np
    import torch

    from workbench.engine.model.downloads import load_tokenizer
    from workbench.engine.training.data import prepare, sizes
    from workbench.runs.folder import RowsFile

    prepared = prepare(load_tokenizer(model), RowsFile(rows), max_length)
    found = sizes(prepared.train).astype(np.int64)
    whole = np.minimum(found[:, :1] + found[:, 1:], max_length)
    longest, padded = whole.max(1), []
    for seed in range(_ORDERS):
        order = list(range(len(longest)))
        random.Random(seed).shuffle(order)
        parts = [longest[order[begin : begin + batch]] for begin in range(0, len(order), batch)]
        padded.append(sum(2 * len(part) * int(part.max()) for part in parts) / len(longest))
    unique = float((whole.sum(1) - found[:, 0]).mean())
    return {
        "pairs": len(found),
        "dropped": prepared.dropped,
        "truncated": prepared.truncated,
        "unique": unique,
        "padded": float(np.mean(padded)),
        "threads": torch.get_num_threads(),
        "ratio": float(np.mean(padded)) / unique,
    }


if __name__ == "__main__":
    print(json.dumps(count(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))
