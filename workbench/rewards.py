"""What a run's `reward` setting names: another run, or a function in a Python file. Nothing is run here."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

from workbench.errors import WorkbenchError

_HOW = "Write it as run:ID, or as FILE.py:FUNCTION."


@dataclass(frozen=True, slots=True)
class RunReward:
    """A reward model's run, or one whose policy has an implicit reward."""

    run: str


@dataclass(frozen=True, slots=True)
class FunctionReward:
    """A function at the top of a Python file."""

    file: Path
    function: str


def parse_reward(text: str) -> RunReward | FunctionReward:
    """What `reward` names. Raises `WorkbenchError` where it is of neither form."""
    head, colon, name = text.rpartition(":")
    if colon and head == "run" and name:
        return RunReward(name)
    if colon and head.endswith(".py") and name.isidentifier():
        return FunctionReward(Path(head).expanduser(), name)
    raise WorkbenchError("That is no reward", f"reward = {text!r}.", _HOW)


def check_function(reward: FunctionReward) -> None:
    """Raises `WorkbenchError` where the file cannot be read as Python, or has no such function at its top."""
    try:
        source = ast.parse(reward.file.read_text("utf-8"), str(reward.file))
    except (OSError, UnicodeDecodeError) as error:
        raise WorkbenchError("The reward's file cannot be read", f"{reward.file}: {error}.", _HOW) from error
    except (SyntaxError, ValueError) as error:
        raise WorkbenchError("The reward's file is not Python", f"{reward.file}: {error}.", "Correct it.") from error
    names = [statement.name for statement in source.body if isinstance(statement, ast.FunctionDef)]
    if reward.function not in names:
        there = f"It has {', '.join(names)}." if names else "It has none."
        raise WorkbenchError(
            f"No function {reward.function!r}", f"{reward.file} defines no such function at its top. {there}", _HOW
        )
