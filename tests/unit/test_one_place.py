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


def test_models_and_adapters_are_loaded_in_one_place_each() -> None:
    """There it is decided what of a model may run, and what an adapter may be."""
    callers = {
        f"{path}: {ast.unparse(node.func)}"
        for path, source in SOURCES.items()
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        if node.func.attr in ("from_pretrained", "load_adapter")
    }
    assert callers == {
        "engine/model/downloads.py: kind.from_pretrained",
        "engine/model/loading.py: PeftModel.from_pretrained",
        "engine/model/loading.py: model.load_adapter",
    }


def test_what_is_true_of_a_method_is_asked_of_its_entry() -> None:
    """So that a new one is an entry in `METHODS` and a trainer."""
    compared = re.compile(r"methods?\b\s*(==|!=|in|not in)\s*([\"'{\[]|\([\"']|frozenset)")
    askers = [path for path, source in SOURCES.items() if compared.search(source)]
    assert askers == []


_CONSOLE = "console.py"
_LOOKED_AT = {"isatty", "flush", "fileno", "encoding"}
"""What may be asked of `sys.stdout` and `sys.stderr` by anybody: nothing is printed by it."""


def _printing(tree: ast.AST) -> Iterator[int]:
    """The lines on which something goes to a terminal past the console, or could."""
    looked_at = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr in _LOOKED_AT
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            last = called.rpartition(".")[2]
            if last in ("print", "pprint", "print_exc", "print_exception", "print_stack", "secho", "echo"):
                yield node.lineno
            if called in ("typer.confirm", "typer.prompt", "click.confirm", "click.prompt", "input", "warnings.warn"):
                yield node.lineno
            if called == "os.write" and isinstance(node.args[0], ast.Constant):
                yield node.lineno
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load) and id(node) not in looked_at:
            if re.fullmatch(r"sys\.(__)?std(out|err)(__)?", ast.unparse(node)):
                yield node.lineno
        elif isinstance(node, ast.ImportFrom) and node.module in ("rich", "rich.console", "rich.progress", "rich.live"):
            yield node.lineno


def test_nothing_is_printed_past_the_console() -> None:
    """It alone makes what is printed safe (`workbench.console`)."""
    printed = {path: sorted(_printing(ast.parse(source))) for path, source in SOURCES.items()}
    assert len(printed.pop(_CONSOLE)) > 5
    assert {path: lines for path, lines in printed.items() if lines} == {}


_COMMAND = re.compile(r"workbench (--workspace NAME )?([a-z-]+ )+$|workbench [a-z].* (--[a-z-]+ |[a-z_]+=run:)$")
"""What stands before a word of a command that is shown to be pasted."""


def _unquoted(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        before = ""
        for part in node.values if isinstance(node, ast.JoinedStr) else ():
            if isinstance(part, ast.Constant):
                before += str(part.value)
            elif isinstance(part, ast.FormattedValue):
                value = ast.unparse(part.value)
                if _COMMAND.search(before) and not value.startswith("quoted(") and not value.lstrip("_").isupper():
                    yield value
                before += "NAME"


def test_names_in_commands_to_paste_are_quoted() -> None:
    """A name may hold what a shell runs."""
    found = {path: sorted(_unquoted(ast.parse(source))) for path, source in SOURCES.items()}
    assert {path: names for path, names in found.items() if names} == {}
    assert list(_unquoted(ast.parse("f'To go on: workbench resume {run.id}'"))) == ["run.id"]
