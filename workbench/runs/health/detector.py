"""What a kind of alert is: a code, the events it looks at, and a function that finds it or not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import UnionType

from workbench.methods import Method
from workbench.runs.events import Event
from workbench.runs.health.history import History


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong, the reason with the numbers that were seen, and what to do."""

    title: str
    message: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Detector:
    """`find` is called after each event of the kinds `of`, which is then the latest in the history.

    `unless` names alerts that explain this one: once one of them was told, this one would only repeat it. `suits` says
    which methods it makes sense for.
    """

    code: str
    of: type[Event] | UnionType
    find: Callable[[History], Finding | None]
    unless: frozenset[str] = frozenset()
    suits: Callable[[Method], bool] = lambda _: True
