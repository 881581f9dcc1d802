"""Merges a run in a process that `runs.merging` starts. Ended early, it leaves nothing behind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from workbench.child import Parent, serve
from workbench.engine.libraries import quick_imports, quiet_libraries
from workbench.runs.folder import RunFolder
from workbench.runs.merge_bounds import Bounds


def work(request: Mapping[str, Any], parent: Parent) -> dict[str, Any]:
    """Gives `Merged` as a document."""
    quiet_libraries()
    with quick_imports():
        from workbench.engine.shipping.merge_adapter import merge

    folder, to = RunFolder(Path(request["run"])), Path(request["to"])
    how = {name: request[name] for name in ("dtype", "form")}
    return asdict(merge(folder, to, **how, bounds=Bounds(**request["bounds"]), progress=parent.progress))


if __name__ == "__main__":
    serve(work, outlives=True)
