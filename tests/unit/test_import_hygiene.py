"""What gets imported where: read from the sources, and told by fresh interpreters, since nothing else can tell."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import workbench

HEAVY = {"torch", "transformers", "trl", "peft", "datasets", "accelerate", "bitsandbytes", "pandas", "polars"}
SCREENS = ["workbench.tui.app", *(f"workbench.tui.screens.{name}" for name in ("pairs", "runs", "compare"))]
CORE = [
    "workbench.config",
    "workbench.workspace",
    "workbench.text",
    *(f"workbench.pairs.{name}" for name in ("pair", "store", "query", "split", "diff", "importers")),
    *(f"workbench.runs.{name}" for name in ("events", "state", "merging", "serving", "push")),
    "workbench.doctor",
    *(f"workbench.compare.{name}" for name in ("messages", "client")),
]
ENGINE = [f"workbench.engine.{name}" for name in ("train", "score", "merge_worker", "evaluate_worker", "selftest")]


def _imported(*modules: str) -> set[str]:
    """The top-level packages that a fresh interpreter has imported after these modules."""
    code = f"import sys, {', '.join(modules)}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_the_screens_import_nothing_heavy() -> None:
    imported = _imported(*SCREENS)
    assert "textual" in imported
    assert not imported & HEAVY


def test_the_first_screen_imports_nothing_that_it_does_not_need() -> None:
    imported = _imported("workbench.cli.main", "workbench.tui.app", "workbench.tui.screens.pairs")
    assert not imported & {"pyarrow", "plotext", "pydantic", "numpy"}


def test_the_command_line_starts_without_anything_heavy() -> None:
    assert not _imported("workbench.cli.main") & (HEAVY | {"textual", "pyarrow", "plotext"})


def test_the_rooms_between_import_neither_screens_nor_models() -> None:
    assert not _imported(*CORE) & (HEAVY | {"textual"})


def test_the_engine_imports_no_screens() -> None:
    imported = _imported(*ENGINE)
    assert "workbench" in imported
    assert "textual" not in imported


def _modules() -> dict[str, Path]:
    """Every module of the program, and its file."""
    root = Path(workbench.__file__).parent
    names = {path: ".".join(path.relative_to(root.parent).with_suffix("").parts) for path in root.rglob("*.py")}
    return {name.removesuffix(".__init__"): path for path, name in names.items()}


def _imports(path: Path) -> set[str]:
    """All that a file imports, wherever in it, for type checkers too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module, path
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def test_no_imports_go_round_in_a_circle() -> None:
    modules = _modules()
    assert len(modules) > 100
    graph = {name: modules.keys() & _imports(path) - {name} for name, path in modules.items()}
    TopologicalSorter(graph).prepare()  # CycleError names the modules of the first circle.
