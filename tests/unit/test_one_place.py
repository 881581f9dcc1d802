"""What is decided in one place is decided nowhere else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import workbench

ROOT = Path(workbench.__file__).parent
SOURCES = {str(path.relative_to(ROOT)): path.read_text("utf-8") for path in sorted(ROOT.rglob("*.py"))}


@pytest.mark.parametrize(
    ("pattern", "owners"),
    [
        (r"[\"'/](adapter_model\.safetensors|adapter_config\.json)[\"']", {"runs/folder.py"}),
        (r"[\"']checkpoint-", {"runs/checkpoints.py"}),
        (
            r"[\"'/](run\.toml|events\.jsonl|worker\.log|process\.json|labels\.toml)[\"']",
            {"runs/folder.py", "workspace.py"},
        ),
    ],
)
def test_names_in_a_run_folder_are_known_to_their_owners_alone(pattern: str, owners: set[str]) -> None:
    users = {path for path, source in SOURCES.items() if re.search(pattern, source)}
    assert users <= owners
    assert users
