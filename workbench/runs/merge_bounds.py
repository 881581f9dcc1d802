"""How far a merged model may be from its run before `merge` says so: the section `[merge]` of workbench.toml."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from workbench.settings_file import read_section

SECTION = "merge"


class Bounds(BaseModel):
    """What is measured, and how much of it is told as a difference. Every key may be left out."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)

    turned: float = Field(default=0.05, ge=0, le=1)
    """The most held-out pairs, as a share, whose other answer may be the likelier one once merged."""
    moved: float = Field(default=0.10, ge=0)
    """The most that chosen, or rejected, answers may move on average, in nats of log-probability a token."""
    behaviours: float = Field(default=0.10, ge=0, le=1)
    """The most greedy answers, as a share, that may show other behaviours (refusing, empty …) once merged."""
    answers: int = Field(default=8, ge=0, le=64)
    """Held-out prompts that base, run and merged model answer greedily; 0 for none."""
    answer_tokens: int = Field(default=64, ge=1)
    """Tokens of such an answer at most."""


def read_bounds(path: Path) -> Bounds:
    """The bounds in `path`; the defaults where there is no such file or section.

    Raises `WorkbenchError` for a file that is no TOML, an unknown key (with the nearest right one), a wrong value.
    """
    return read_section(path, SECTION, Bounds)
