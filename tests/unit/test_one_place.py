"""What is decided in one place is decided nowhere else."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
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


def outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    """All that a module or class runs while it is imported."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield child
            yield from outside_functions(child)


def test_errors_are_made_where_they_are_raised() -> None:
    """One that is made once and raised again carries the traceback and the context of the time before."""
    made = [
        f"{path}:{node.lineno}"
        for path, source in SOURCES.items()
        for node in outside_functions(ast.parse(source))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Error")
    ]
    assert made == []


def test_what_is_true_of_a_method_is_asked_of_its_entry() -> None:
    """So that a new one is an entry in `METHODS` and a trainer."""
    compared = re.compile(r"methods?\b\s*(==|!=|in|not in)\s*([\"'{\[]|\([\"']|frozenset)")
    askers = [path for path, source in SOURCES.items() if compared.search(source)]
    assert askers == []
