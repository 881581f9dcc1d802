"""The terminal that the screens are to be drawn on, as its environment tells."""

from __future__ import annotations

import locale
import os
import shutil
from collections.abc import Iterator, Mapping

from workbench.doctor.findings import Finding

_SMALLEST = (80, 24)


def look() -> Iterator[Finding]:
    """Of the terminal that this process has, if it has one."""
    size = _size()
    if size is None:
        yield Finding("terminal", "ok", "none here: the screens need one, the commands do not")
    else:
        yield colours(os.environ)
        yield room(size)
        yield characters(locale.getpreferredencoding(do_setlocale=False))
    yield _tmux()


def colours(environment: Mapping[str, str]) -> Finding:
    """What the terminal says that it can draw."""
    term, told = environment.get("TERM", ""), environment.get("COLORTERM", "")
    if term in ("", "dumb", "unknown"):
        return Finding("terminal", "missing", f"TERM is {term or 'not set'}", "export TERM=xterm-256color")
    inside = bool(environment.get("TMUX"))
    if inside and not term.startswith(("tmux", "screen")):
        hint = (
            "Let tmux set it: set -g default-terminal tmux-256color in ~/.tmux.conf, and nothing in your shell's files"
        )
        return Finding("terminal", "warning", f"in tmux, but TERM is {term}", hint)
    if told.lower() in ("truecolor", "24bit"):
        return Finding("terminal", "ok", f"{term}, 16 million colours{', in tmux' if inside else ''}")
    hint = "set -as terminal-features ',*:RGB' in ~/.tmux.conf, then: export COLORTERM=truecolor" if inside else ""
    hint = hint or "Where the terminal has more: export COLORTERM=truecolor"
    count = "256" if "256color" in term else "16"
    return Finding("terminal", "warning", f"{term}, {count} colours; all can be read without", hint)


def room(size: tuple[int, int]) -> Finding:
    """Columns and rows against what the screens are made for."""
    told = f"{size[0]}×{size[1]}"
    if size[0] < _SMALLEST[0] or size[1] < _SMALLEST[1]:
        return Finding("size", "warning", told, "Make the window larger: the screens need 80×24.")
    return Finding("size", "ok", told)


def characters(encoding: str) -> Finding:
    """Whether what is not ASCII can be written."""
    if encoding.replace("-", "").lower() == "utf8":
        return Finding("characters", "ok", "UTF-8")
    return Finding("characters", "missing", f"{encoding}: frames and charts cannot be drawn", "export LANG=C.UTF-8")


def _size() -> tuple[int, int] | None:
    for number in (1, 2, 0):
        try:
            found = os.get_terminal_size(number)
        except OSError:
            continue
        return found.columns, found.lines
    return None


def _tmux() -> Finding:
    if shutil.which("tmux"):
        return Finding("tmux", "ok", "installed")
    hint = "Runs go on all the same when a connection ends; tmux keeps the screens too: apt-get install tmux"
    return Finding("tmux", "warning", "not installed", hint)
