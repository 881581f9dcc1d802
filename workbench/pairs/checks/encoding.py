"""Text that was read in the wrong encoding: UTF-8 taken for Windows-1252 (â€™ for ’), and
characters lost for good."""

from __future__ import annotations

import re

from workbench.pairs.checks.findings import Finding, plural
from workbench.pairs.checks.texts import Texts
from workbench.pairs.checks.watch import Watch


def _byte(code: int) -> str:
    """What Windows-1252 shows for a byte; the control of that number where it has nothing, as browsers do."""
    try:
        return bytes([code]).decode("cp1252")
    except UnicodeDecodeError:
        return chr(code)


_CHARACTERS = {_byte(code): code for code in range(0x80, 0x100)} | {chr(code): code for code in range(0x80, 0xA0)}
_LATER = re.escape("".join(sign for sign, code in _CHARACTERS.items() if 0x80 <= code < 0xC0))
_TWO, _THREE, _FOUR = (
    "".join(_byte(code) for code in codes) for codes in (range(0xC2, 0xE0), range(0xE0, 0xF0), range(0xF0, 0xF5))
)
_MISREAD = re.compile(f"(?:[{_TWO}][{_LATER}]|[{_THREE}][{_LATER}]{{2}}|[{_FOUR}][{_LATER}]{{3}})+")
_SURE = re.compile(f"[{_byte(0xC2)}{_byte(0xC3)}]")
_LOST = re.compile("[\ufffd\ue000-\uf8ff]")


def encoding(columns: Texts, watch: Watch) -> list[Finding]:
    """Pairs with misread characters, and those with replacement or private-use characters."""
    watch.tick(0, 1)
    places = columns.matching(f"[{_TWO}{_THREE}{_FOUR}][{_LATER}]|{_LOST.pattern}")
    misread = [
        place for place in places if any(mended(texts[place]) != texts[place] for texts in columns.fields.values())
    ]
    lost = [place for place in places if any(_LOST.search(texts[place]) for texts in columns.fields.values())]
    findings = []
    if misread:
        example = next(
            (text, whole)
            for texts in columns.fields.values()
            for text in (texts[misread[0]],)
            if (whole := mended(text)) != text
        )
        findings.append(
            Finding(
                "encoding",
                "warning",
                columns.named(misread),
                f"{plural(len(misread), 'pair has', 'pairs have')} text read in the wrong encoding"
                f" ({_shown(*example)}).",
                "Read the source as UTF-8 and import it anew, or mend the text here.",
            )
        )
    if lost:
        findings.append(
            Finding(
                "lost-characters",
                "warning",
                columns.named(lost),
                f"{plural(len(lost), 'pair has', 'pairs have')} characters that stand for nothing: replacement"
                " characters (U+FFFD), or private ones that one font alone knew.",
                "Go back to the source, or write what was meant.",
            )
        )
    return findings


def mended(text: str) -> str:
    """`text` with misread stretches read again as UTF-8, as long as that gives other text; twice misread counts too."""
    for _ in range(3):
        again = _MISREAD.sub(_read_again, text)
        if again == text:
            return text
        text = again
    return text


def _read_again(match: re.Match[str]) -> str:
    raw = match.group()
    try:
        found = bytes(_CHARACTERS[sign] for sign in raw).decode()
    except UnicodeDecodeError:
        return raw
    # Two characters that people write side by side (É», Ø°) may look misread by chance: only what begins with Â or Ã,
    # is longer, or comes twice is surely so.
    return found if len(raw) > 2 or _SURE.match(raw) else raw


def _shown(text: str, whole: str) -> str:
    """The first misread stretch, and what it should be."""
    for match in _MISREAD.finditer(text):
        if (found := mended(match.group())) != match.group():
            return f"{match.group()!r} for {found!r}" if len(match.group()) < 40 else "at length"
    return f"{len(text) - len(whole)} characters too many"
