"""Merges a run as stdin asks: `python -m workbench.engine.merge_worker`, started by `workbench.runs.merging`.

Reads one JSON document (run, to, dtype, form, force); prints lines of JSON: progress, at the end merged or error.
SIGTERM ends it with nothing left behind.
"""

from __future__ import annotations

import json
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from workbench.engine.libraries import quick_imports, quiet_libraries
from workbench.errors import WorkbenchError
from workbench.runs.folder import RunFolder


def main() -> int:
    """Exit status: 0 merged, 1 not, 130 ended."""
    signal.signal(signal.SIGTERM, _interrupt)
    asked = json.load(sys.stdin)
    quiet_libraries()
    try:
        with quick_imports():
            from workbench.engine.shipping.merge import merge

        merged = merge(
            RunFolder(Path(asked["run"])),
            Path(asked["to"]),
            dtype=asked["dtype"],
            form=asked["form"],
            force=asked["force"],
            progress=lambda what, share: _say("progress", [what, share]),
        )
    except WorkbenchError as error:
        _say("error", [error.title, error.message, error.hint])
        return 1
    except KeyboardInterrupt:
        return 130
    _say("merged", merged.to_json())
    return 0


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _say(kind: str, value: Any) -> None:
    with suppress(BrokenPipeError):  # The screens were closed; the merge goes on.
        print(json.dumps({kind: value}), flush=True)


if __name__ == "__main__":
    sys.exit(main())
