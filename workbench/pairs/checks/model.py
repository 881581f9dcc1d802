"""Has the engine count the tokens of pairs, in a process of its own: no model library is imported here."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence

from workbench import child
from workbench.models import resolve
from workbench.pairs.checks.tokens import PairTokens, TokenCounts
from workbench.pairs.checks.watch import Progress, Watch
from workbench.pairs.pair import Pair, to_line


def count_tokens(pairs: Sequence[Pair], model: str, *, progress: Progress = lambda *_: None) -> TokenCounts:
    """The tokens of each pair under the chat template of `model`, exactly as training makes them.

    Raises `WorkbenchError` where the model cannot be had.
    """
    resolve(model)
    watch = Watch("tokens", progress)
    counts: dict[str, PairTokens] = {}

    def hear(message: child.Progress | child.Part) -> None:
        if isinstance(message, child.Part):
            counts.update((row["id"], PairTokens.from_json(row)) for row in message.value)
            watch.tick(len(counts), len(pairs))

    with tempfile.TemporaryFile() as rows:
        for pair in pairs:
            rows.write(to_line(pair).encode("utf-8", "replace"))
        rows.seek(0)
        command = child.python("workbench.engine.count_tokens")
        request = {"model": model, "rows": rows.fileno()}
        child.run(command, request, hear, name=f"Counting tokens with {model}", files=[rows.fileno()], grace=0)
    return TokenCounts(model, counts)
