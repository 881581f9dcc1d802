"""Whether screens can be shown where the program was started."""

from __future__ import annotations

import os
import sys

from workbench.errors import WorkbenchError

NO_SCREENS = ("", "dumb", "unknown")
"""What TERM is where nothing but lines of text can be shown."""
_WITHOUT = "Everything that the screens do, commands do too: workbench --help."


def need_screens() -> None:
    """Raises `WorkbenchError` where screens would be garbage, or nobody could press a key."""
    if "TEXTUAL_DRIVER" in os.environ:
        return  # They are shown in a browser: `workbench serve`.
    term = os.environ.get("TERM", "")
    if term in NO_SCREENS:
        hint = f"Where it can do more than that: export TERM=xterm-256color. {_WITHOUT}"
        raise WorkbenchError("This terminal cannot show the screens", f"TERM is {term or 'not set'}.", hint)
    for is_terminal, name in ((sys.stdin.isatty(), "Standard input"), (sys.stderr.isatty(), "Standard error")):
        if not is_terminal:
            hint = f"Start it in a terminal; through SSH: ssh -t HOST workbench. {_WITHOUT}"
            raise WorkbenchError("The screens need a terminal", f"{name} is not one.", hint)
