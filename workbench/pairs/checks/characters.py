"""Characters that do not belong in a text: those that nobody sees, and those that a wrong encoding made."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator

from workbench.figures import plural
from workbench.pairs.checks.findings import CheckFinding, Watch
from workbench.pairs.checks.text_columns import TextColumns

_DIRECTION = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_ALWAYS = (
    "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u115f\u1160\u17b4\u17b5\u180e\u200b\u2028\u2029\u2060-\u2065"
    "\u206a-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e001f"
)
_SURROGATES = "\ud800-\udfff"
_JOINERS = "\u200c\u200d"
_FLAG = "\U0001f3f4[\U000e0020-\U000e007e]+\U000e007f"
_LOOK = f"[{_ALWAYS}{_DIRECTION}{_JOINERS}\U000e0020-\U000e007f]".encode("unicode-escape").decode()
_ONE = re.compile(
    f"{_FLAG}|(?P<bad>[{_ALWAYS}{_SURROGATES}\U000e0020-\U000e007f])|(?P<turn>[{_DIRECTION}])|(?P<join>[{_JOINERS}])"
)
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff]")


def invisible(columns: TextColumns, _: Watch) -> Iterator[CheckFinding]:
    """Pairs with control, direction or invisible characters, those left out that a script or an emoji needs."""
    named: list[int] = []
    kinds: Counter[str] = Counter()
    for index in columns.matching(_for_re2(_LOOK)):
        signs = {sign for texts in columns.fields.values() for sign in unwanted(texts[index])}
        if signs:
            named.append(index)
            kinds.update(signs)
    if not named:
        return
    examples = ", ".join(f"{_name(sign)} in {count:,}" for sign, count in kinds.most_common(4))
    yield CheckFinding(
        "invisible",
        "warning",
        columns.named(named),
        f"{plural(len(named), 'pair has', 'pairs have')} control, direction or invisible characters ({examples}).",
        "Take them out: they are tokens that the model learns to write.",
        figures={"characters": {f"U+{ord(sign):04X}": count for sign, count in kinds.most_common()}},
    )


def unwanted(text: str) -> list[str]:
    """The characters of `text` that should not be there, in order.

    Direction marks may stand in text that has Arabic or Hebrew in it; joiners between letters of other scripts than
    the Latin, and between the parts of an emoji.
    """
    return [match.group() for match in _ONE.finditer(text) if _bad(match, text)]


def cleaned(text: str) -> str:
    """`text` without its unwanted characters; line and paragraph separators become newlines."""
    return _ONE.sub(lambda match: _instead(match.group()) if _bad(match, text) else match.group(), text)


def _bad(match: re.Match[str], text: str) -> bool:
    if match["bad"]:
        return True
    if match["turn"]:
        return not _RIGHT_TO_LEFT.search(text)
    if match["join"]:
        before, after = text[max(0, match.start() - 1) : match.start()], text[match.end() : match.end() + 1]
        return not (_joinable(before) and (_joinable(after) or match.group() == "\u200c"))
    return False


def _joinable(sign: str) -> bool:
    """Whether a joiner may stand beside it: a letter or mark of a script that joins, or a part of an emoji."""
    return sign > "\u02ff" and unicodedata.category(sign) in ("Lo", "Mn", "Mc", "So", "Sk")


def _instead(sign: str) -> str:
    return "\n" if sign in "\u2028\u2029\x0b\x0c" else ""


def _name(sign: str) -> str:
    return f"U+{ord(sign):04X} {unicodedata.name(sign, 'control').lower()}"


def _for_re2(pattern: str) -> str:
    """RE2 writes characters by number as \\x{…}."""
    return re.sub(
        r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8}))", lambda m: rf"\x{{{m[1] or m[2] or m[3]}}}", pattern
    )


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


def encoding(columns: TextColumns, _: Watch) -> Iterator[CheckFinding]:
    """Pairs with misread characters, and those with replacement or private-use characters."""
    indices = columns.matching(f"[{_TWO}{_THREE}{_FOUR}][{_LATER}]|{_LOST.pattern}")
    misread = [
        index for index in indices if any(mended(texts[index]) != texts[index] for texts in columns.fields.values())
    ]
    lost = [index for index in indices if any(_LOST.search(texts[index]) for texts in columns.fields.values())]
    if misread:
        example = next(
            (text, whole)
            for texts in columns.fields.values()
            for text in (texts[misread[0]],)
            if (whole := mended(text)) != text
        )
        yield CheckFinding(
            "encoding",
            "warning",
            columns.named(misread),
            f"{plural(len(misread), 'pair has', 'pairs have')} text read in the wrong encoding ({_shown(*example)}).",
            "Read the source as UTF-8 and import it anew, or mend the text here.",
        )
    if lost:
        yield CheckFinding(
            "lost-characters",
            "warning",
            columns.named(lost),
            f"{plural(len(lost), 'pair has', 'pairs have')} characters that stand for nothing: replacement"
            " characters (U+FFFD), or private ones that one font alone knew.",
            "Go back to the source, or write what was meant.",
        )


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
        text = bytes(_CHARACTERS[sign] for sign in raw).decode()
    except UnicodeDecodeError:
        return raw
    # Two characters that people write side by side (É», Ø°) may look misread by chance: only what begins with Â or Ã,
    # is longer, or comes twice is surely so.
    return text if len(raw) > 2 or _SURE.match(raw) else raw


def _shown(text: str, whole: str) -> str:
    """The first misread stretch, and what it should be."""
    for match in _MISREAD.finditer(text):
        if (repaired := mended(match.group())) != match.group():
            return f"{match.group()!r} for {repaired!r}" if len(match.group()) < 40 else "at length"
    return f"{len(text) - len(whole)} characters too many"
