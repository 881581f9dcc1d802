"""Makes untrusted text safe to show.

Pair text, model output, logs and file names may hold escape sequences that a terminal obeys (OSC 52 writes
the clipboard), C1 controls, and bidirectional overrides that make text read as what it is not. Everything
of that kind becomes a visible symbol here; the bytes on disk stay as they were.
"""

from __future__ import annotations

import re
import shlex
import sys
from os import PathLike

from rich.cells import cell_len, set_cell_size

_TAB = "    "
_VISIBLE: dict[int, str] = {code: chr(0x2400 + code) for code in range(0x20)}
_VISIBLE |= {0x7F: "\u2421", 0x09: _TAB, 0x0A: "\n"}
_VISIBLE |= {code: f"\u27e8{code:02X}\u27e9" for code in range(0x80, 0xA0)}
_INVISIBLE = re.compile(
    "[\u00ad\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0e\ufeff"
    "\uffa0\ufff0-\ufffb\ud800-\udfff\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_NOT_IN_JSON = re.compile(rf"[\x7f-\x9f]|{_INVISIBLE.pattern}")


def _spell_out(match: re.Match[str]) -> str:
    return f"\u27e8{ord(match.group()):04X}\u27e9"


def safe(text: str) -> str:
    """`text` with every control, override and invisible character made visible; newlines stay, tabs become spaces."""
    return _INVISIBLE.sub(_spell_out, text.replace("\r\n", "\n").translate(_VISIBLE))


def in_json(document: str) -> str:
    """A JSON document with all that `safe` makes visible written as escapes of JSON: its value stays the same."""
    return _NOT_IN_JSON.sub(_json_escape, document)


def _json_escape(match: re.Match[str]) -> str:
    code = ord(match.group())
    units = [code] if code < 0x10000 else [0xD800 + (code - 0x10000 >> 10), 0xDC00 + (code & 0x3FF)]
    return "".join(f"\\u{unit:04x}" for unit in units)


def one_line(text: str, width: int | None = None) -> str:
    """`safe(text)` on one line, runs of white space joined, cut to `width` terminal cells with an ellipsis."""
    line = " ".join(safe(text).split())
    return line if width is None else cut(line, width)


def quoted(name: str | PathLike[str]) -> str:
    """A name or path as one word of a command that is shown to be pasted into a shell, whatever it holds."""
    return shlex.quote(str(name))


def cut(text: str, width: int) -> str:
    """`text` cut to at most `width` terminal cells; the last one is an ellipsis where something was cut."""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, width - 1).rstrip() + "\u2026" if width > 0 else ""


def editable(text: str, *, one_line: bool = False) -> str:
    """`text` as an editor can show it and `edited` turn it back, whatever it holds.

    Like `safe`, but nothing is lost: symbols that stand for something else are spelled out too. Newlines and tabs
    stay, except where the editor has `one_line`.
    """
    return (_NOT_ON_ONE_LINE if one_line else _NOT_EDITABLE).sub(_stand_in, text)


def edited(shown: str) -> str:
    """The text that `editable` made `shown` of. A character can be typed by its number as well: \u27e8200D\u27e9."""
    return _STAND_IN.sub(_meant, shown)


def _stand_in(match: re.Match[str]) -> str:
    code = ord(match.group())
    return _PICTURES.get(code) or f"\u27e8{code:04X}\u27e9"


def _meant(match: re.Match[str]) -> str:
    if match["picture"]:
        return chr(_CONTROLS[match["picture"]])
    code = int(match["code"], 16)
    return chr(code) if code <= sys.maxunicode else match.group()


_PICTURES = {code: chr(0x2400 + code) for code in range(0x20)} | {0x7F: "\u2421"}
_CONTROLS = {picture: code for code, picture in _PICTURES.items()}
_SPELLED_OUT = "\u27e8(?=[0-9A-F]{2,6}\u27e9)"
_NEVER = f"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2400-\u241f\u2421]|{_INVISIBLE.pattern}|{_SPELLED_OUT}"
_NOT_EDITABLE = re.compile(_NEVER)
_NOT_ON_ONE_LINE = re.compile(rf"[\t\n]|{_NEVER}")
_STAND_IN = re.compile("(?P<picture>[\u2400-\u241f\u2421])|\u27e8(?P<code>[0-9A-F]{2,6})\u27e9")
