"""One line of what the doctor says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "missing"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, how it is, and what to do about it. Texts may hold untrusted parts.

    *warning*: it works, but less well, or a part of the workbench will not. *missing*: the workbench does not work.
    """

    name: str
    level: Level
    message: str
    hint: str = ""
