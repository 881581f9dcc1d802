"""What the engine leans on inside its libraries is as `workbench.engine.compat` lists it, and nothing else is used."""

import ast
import importlib
import inspect
import re
import tomllib
from functools import cache
from importlib.metadata import version
from pathlib import Path

import pytest
from transformers import Trainer
from trl import DPOTrainer, GRPOTrainer, KTOTrainer, RewardTrainer, RLOOTrainer

import workbench.engine
from workbench.engine.compat import INTERNALS, VERSIONS, Internal

ENGINE = Path(workbench.engine.__file__).parent
FILES = [path for path in sorted(ENGINE.rglob("*.py")) if path.name != "compat.py"]


def test_the_libraries_are_as_they_were_read():
    """Where this fails: look at the library's file that is named, then at what the engine does with it."""
    wrong = [line for internal in INTERNALS if (line := difference(internal))]
    assert not wrong, "\n".join(["what the engine leans on has changed (workbench/engine/compat.py):", *wrong])


def test_a_change_is_told_with_its_users_and_the_way_to_look():
    told = difference(Internal("transformers.trainer:Trainer", "_save_checkpoint", "(self, model)", "a reason"))
    assert "transformers.trainer:Trainer._save_checkpoint (transformers 5.23." in told
    assert "(self, model, trial)" in told
    assert "methods/trl_trainer.py" in told
    assert "a reason" in told
    assert difference(Internal("peft:LoraConfig", "gone", "(self)", "")) != ""
    assert difference(Internal("bitsandbytes.nn:Linear4bit", "weight", "no such words", "")) != ""


def difference(internal):
    """What has changed and where to look; empty where nothing has."""
    found = f"{internal.where} has no {internal.name}"
    try:
        owner = resolve(internal.where)
        if internal.shape.startswith("("):
            found = parameters(getattr(owner, internal.name))
            same = found == internal.shape
        else:
            found, source = "its source says otherwise", source_of(owner)
            same = all(line in source for line in internal.shape.split("\n"))
    except (ImportError, AttributeError):
        same = False
    users = [str(path.relative_to(ENGINE)) for path in FILES if used(internal.name, path)]
    where = f"{internal.where}.{internal.name} ({internal.package} {version(internal.package)})"
    return (
        ""
        if same
        else f"  {where}\n    expected {internal.shape}\n    found {found}\n    used in {users}: {internal.why}"
    )


source_of = cache(inspect.getsource)


def resolve(where):
    module, _, path = where.partition(":")
    if module.startswith("torch.ops"):
        module, path = "torch", module.removeprefix("torch.")
    found = importlib.import_module(module)
    for name in filter(None, path.split(".")):
        found = getattr(found, name)
    return found


def parameters(function):
    if hasattr(function, "default"):  # an operator of torch's
        return f"({', '.join(argument.name for argument in function.default._schema.arguments)})"
    stars: dict[object, str] = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    names = inspect.signature(function).parameters.values()
    return f"({', '.join(stars.get(each.kind, '') + each.name for each in names)})"


def used(name, path):
    return re.search(rf"\b{re.escape(name)}\b", path.read_text("utf-8")) is not None


@pytest.mark.parametrize("library", VERSIONS)
def test_pins_are_to_the_minor_that_was_read(library):
    project = tomllib.loads((ENGINE.parent.parent / "pyproject.toml").read_text("utf-8"))
    major, minor = map(int, VERSIONS[library].split("."))
    assert f"{library}>={major}.{minor},<{major}.{minor + 1}" in project["project"]["dependencies"]
    assert version(library).startswith(f"{VERSIONS[library]}.")


def test_every_private_name_of_a_library_is_listed():
    ours = {name for path in FILES for name in defined(ast.parse(path.read_text("utf-8")))}
    listed = {part for internal in INTERNALS for part in internal.name.split(".")}
    unlisted = [
        f"{path.relative_to(ENGINE)}:{line} {name}"
        for path in FILES
        for line, name, overrides in private(ast.parse(path.read_text("utf-8")))
        if name not in listed and (overrides or name not in ours)
    ]
    trainers = (Trainer, DPOTrainer, KTOTrainer, RewardTrainer, GRPOTrainer, RLOOTrainer)
    theirs = {name for trainer in trainers for name in dir(trainer) if re.match(r"_[a-z]", name)}
    unlisted += sorted(ours & theirs - listed)
    assert not unlisted, "private names of libraries that workbench/engine/compat.py does not list"


def test_what_is_listed_is_used():
    assert not [each.name for each in INTERNALS if not any(used(each.name, path) for path in FILES)]


def defined(tree):
    """Private names that a module of ours gives: functions, classes, variables, attributes of its own objects."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self":
            yield node.attr


def private(tree):
    """Line, name and whether it overrides: private names asked of others, imported, or a library's classes' methods."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and re.match(r"_[a-z]", node.attr):
            if ast.unparse(node) != "os._exit":  # documented
                yield node.lineno, node.attr, ast.unparse(node.value) == "super()"
        elif isinstance(node, ast.ImportFrom):
            library = not (node.module or "").startswith("workbench")
            for name in [*(node.module or "").split("."), *(alias.name for alias in node.names)]:
                if library and re.match(r"_[a-z]", name) and name != "__future__":
                    yield node.lineno, name, True
