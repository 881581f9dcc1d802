"""A terminal that vanishes while SIGHUP is ignored: the screens end, at once and with everything saved."""

from __future__ import annotations

import os
import pty
import select
import signal
import sys
import time
from pathlib import Path

from tests.end_to_end.conftest import write_pairs
from workbench.pairs.store import PairStore, load_pairs


def test_the_screens_end_with_their_terminal_and_save(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs" / "support.jsonl", 5)
    pid, terminal = pty.fork()
    if pid == 0:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        os.environ |= {"TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"}
        os.execv(sys.executable, [sys.executable, "-m", "workbench", "--workspace", str(tmp_path)])
    shown, end = b"", time.monotonic() + 120
    while b"Case 0" not in shown and time.monotonic() < end:
        if select.select([terminal], [], [], 1)[0]:
            shown += os.read(terminal, 1 << 16)
    assert b"Case 0" in shown
    os.write(terminal, b"a")
    path = tmp_path / "pairs" / "support.jsonl"
    while load_pairs(path)[0][0].status != "accepted" and time.monotonic() < end:
        if select.select([terminal], [], [], 0.1)[0]:
            os.read(terminal, 1 << 16)
    os.close(terminal)
    while (ended := os.waitpid(pid, os.WNOHANG))[0] == 0 and time.monotonic() < end:
        time.sleep(0.1)
    if ended[0] == 0:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert ended[0] == pid, "it goes on without a terminal"
    assert b'"accepted"' in path.read_bytes()
    with PairStore(path) as store:
        assert not store.file.read_only
