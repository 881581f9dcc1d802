"""Has the engine count the tokens of pairs, in a process of its own: no model library is imported here."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence

from workbench.errors import WorkbenchError
from workbench.models import resolve
from workbench.pairs.checks.tokens import PairTokens, TokenCounts
from workbench.pairs.checks.watch import Progress, Watch
from workbench.pairs.pair import Pair, to_line

_TOLD, _LOOKED = 100, 0.1


def count_tokens(
    pairs: Sequence[Pair],
    model: str,
    *,
    progress: Progress = lambda *_: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> TokenCounts:
    """The tokens of each pair under the chat template of `model`, exactly as training makes them.

    Raises `WorkbenchError` where the model cannot be had, and `CancelledError` soon after `cancelled` says so.
    """
    resolve(model)
    watch = Watch("tokens", progress, cancelled)
    found: dict[str, PairTokens] = {}
    # Files, not pipes, on two of three sides: no side ever waits for the other to read.
    with tempfile.TemporaryFile() as rows, tempfile.TemporaryFile() as told:
        for pair in pairs:
            rows.write(to_line(pair).encode("utf-8", "replace"))
        rows.seek(0)
        command = [sys.executable, "-P", "-m", "workbench.engine.count_tokens", model]
        with subprocess.Popen(command, stdin=rows, stdout=subprocess.PIPE, stderr=told, text=True) as process:
            assert process.stdout is not None
            ended = threading.Event()
            guard = threading.Thread(target=_kill_when, args=(process, cancelled, ended), daemon=True)
            guard.start()
            try:
                for line in process.stdout:
                    answer = json.loads(line)
                    if "error" in answer:
                        raise WorkbenchError(*answer["error"])
                    found[answer["id"]] = PairTokens.from_json(answer)
                    if len(found) % _TOLD == 0:
                        watch.tick(len(found), len(pairs))
            except BaseException:
                process.kill()
                raise
            finally:
                ended.set()
        watch.tick(len(found), len(pairs))
        told.seek(0)
        last = told.read().decode("utf-8", "replace").strip().rpartition("\n")[2]
    if len(found) < len({pair.id for pair in pairs}):
        raise WorkbenchError(
            "Tokens could not be counted",
            f"The process that counts them with {model} ended after {len(found):,} of {len(pairs):,} pairs: {last}",
            "Check the model with: workbench score --model …; or check without --model.",
        )
    return TokenCounts(model, found)


def _kill_when(process: subprocess.Popen[str], cancelled: Callable[[], bool], ended: threading.Event) -> None:
    """Ends a process when nobody waits for it any more: loading a tokenizer takes seconds without a word."""
    while not ended.wait(_LOOKED):
        if cancelled():
            process.kill()
            return
