"""Makes untrusted text safe to show.

Pair text, model output, logs and file names may hold escape sequences that a terminal obeys (OSC 52 writes
the clipboard), C1 controls, and bidirectional overrides that make text read as what it is not. Everything
of that kind becomes a visible symbol here; the bytes on disk stay as they were.
"""

from __future__ import annotations

import re

from rich.cells import cell_len, set_cell_size

_TAB = "    "
_VISIBLE: dict[int, str] = {code: chr(0x2400 + code) for code in range(0x20)}
_VISIBLE |= {0x7F: "\u2421", 0x09: _TAB, 0x0A: "\n"}
_VISIBLE |= {code: f"\u27e8{code:02X}\u27e9" for code in range(0x80, 0xA0)}
_INVISIBLE = re.compile(
    "[\u00ad\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0e\ufeff"
    "\uffa0\ufff0-\ufffb\ud800-\udfff\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


def _spell_out(match: re.Match[str]) -> str:
    return f"\u27e8{ord(match.group()):04X}\u27e9"


def safe(text: str) -> str:
    """`text` with every control, override and invisible character made visible; newlines stay, tabs become spaces."""
    return _INVISIBLE.sub(_spell_out, text.replace("\r\n", "\n").translate(_VISIBLE))


def one_line(text: str, width: int | None = None) -> str:
    """`safe(text)` on one line, runs of white space joined, cut to `width` terminal cells with an ellipsis."""
    line = " ".join(safe(text).split())
    return line if width is None else cut(line, width)


def cut(text: str, width: int) -> str:
    """`text` cut to at most `width` terminal cells; the last one is an ellipsis where something was cut."""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, width - 1).rstrip() + "\u2026" if width > 0 else ""
