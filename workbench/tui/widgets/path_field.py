"""A line for the name of a file, which goes on as the files that there are do."""

from __future__ import annotations

import os
from pathlib import Path

from textual.suggester import Suggester

from workbench.tui.widgets.fields import LineField


class PathField(LineField):
    """The name of a file; → writes out what is offered."""

    def __init__(self, content: str = "", *, placeholder: str = "", id: str | None = None) -> None:  # noqa: A002
        super().__init__(content, placeholder=placeholder, id=id)
        self.suggester = _Files()

    @property
    def path(self) -> Path | None:
        """What was typed, "~" and all; None where that is nothing."""
        typed = self.content.strip()
        return Path(typed).expanduser() if typed else None


class _Files(Suggester):
    def __init__(self) -> None:
        super().__init__(use_cache=False, case_sensitive=True)

    async def get_suggestion(self, value: str) -> str | None:
        """The first name in the folder that goes on as `value` does; a folder's ends with a slash."""
        folder, slash, begun = value.rpartition("/")
        try:
            with os.scandir(Path(folder + slash).expanduser() if folder + slash else ".") as found:
                names = sorted(
                    each.name + ("/" if each.is_dir() else "") for each in found if each.name.startswith(begun)
                )
        except (OSError, ValueError):
            return None
        fitting = [name for name in names if name.isprintable() and not (name.startswith(".") and not begun)]
        return f"{folder}{slash}{fitting[0]}" if fitting else None
