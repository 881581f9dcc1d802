"""The demo: a scratch workspace with the starter sets and probes, and the run that the README's story tells."""

from __future__ import annotations

import tempfile
from pathlib import Path

from workbench.config import build_config
from workbench.launch import launch
from workbench.runs.folder import RunFolder
from workbench.workspace import Workspace

PAIRS = ("support-tone", "refusal-bypass")
PRESET = "demo"


def prepare(folder: Path | None = None) -> Workspace:
    """A workspace with the starter sets and the probes in `folder`, made where needed; None for a fresh temporary one.

    Files of the starter sets that are there already stay as they are. Raises `WorkbenchError` where the disk refuses.
    """
    from workbench.tiny.starters import build_pairs, build_probes, to_jsonl

    root = folder or Path(tempfile.mkdtemp(prefix="workbench-demo-"))
    root.mkdir(parents=True, exist_ok=True)
    workspace = Workspace.find(root)
    starters = {workspace.pairs_file(name): rows for name, rows in build_pairs().items()}
    starters |= {workspace.probes / f"{name}.jsonl": rows for name, rows in build_probes().items()}
    for path, rows in starters.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.write_text(to_jsonl(rows), encoding="utf-8")
    return workspace


def start(workspace: Workspace) -> RunFolder:
    """Starts the demo's run in the background. Raises `WorkbenchError`."""
    return launch(workspace, build_config({"pairs": list(PAIRS)}, preset=PRESET))
