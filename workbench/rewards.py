"""What a run's `reward` setting names: another run, or a function in a Python file. Nothing is run here."""

from __future__ import annotations

from dataclasses import dataclass

from workbench.errors import WorkbenchError
from workbench.user_functions import UserFunction, parse_function

HOW = "Write it as run:ID, or as FILE.py:FUNCTION."


@dataclass(frozen=True, slots=True)
class RunReward:
    """A reward model's run, or one whose policy has an implicit reward."""

    run: str


def parse_reward(text: str) -> RunReward | UserFunction:
    """What `reward` names. Raises `WorkbenchError` where it is of neither form."""
    head, colon, name = text.rpartition(":")
    if colon and head == "run" and name:
        return RunReward(name)
    if function := parse_function(text):
        return function
    raise WorkbenchError("That is no reward", f"reward = {text!r}.", HOW)
