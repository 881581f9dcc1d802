"""A function of the user's, named as FILE.py:FUNCTION. Nothing is run here."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

from workbench.errors import WorkbenchError


@dataclass(frozen=True, slots=True)
class UserFunction:
    """A function at the top of a Python file."""

    file: Path
    function: str

    def __str__(self) -> str:
        return f"{self.file}:{self.function}"


def parse_function(text: str) -> UserFunction | None:
    """What `text` names; None where it is not of that form."""
    head, colon, name = text.rpartition(":")
    if colon and head.endswith(".py") and name.isidentifier():
        return UserFunction(Path(head).expanduser(), name)
    return None


def check_function(named: UserFunction, what: str, hint: str) -> None:
    """Raises `WorkbenchError` where the file cannot be read as Python, or has no such function at its top.

    `what` the function is for ("reward"), and `hint`: how to name it.
    """
    try:
        source = ast.parse(named.file.read_text("utf-8"), str(named.file))
    except (OSError, UnicodeDecodeError) as error:
        raise WorkbenchError(f"The {what}'s file cannot be read", f"{named.file}: {error}.", hint) from error
    except (SyntaxError, ValueError) as error:
        raise WorkbenchError(f"The {what}'s file is not Python", f"{named.file}: {error}.", "Correct it.") from error
    names = [statement.name for statement in source.body if isinstance(statement, ast.FunctionDef)]
    if named.function not in names:
        there = f"It has {', '.join(names)}." if names else "It has none."
        raise WorkbenchError(
            f"No function {named.function!r}", f"{named.file} defines no such function at its top. {there}", hint
        )
