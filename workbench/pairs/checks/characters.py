"""Characters that nobody sees: controls, overrides of the writing direction, and invisible ones."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

from workbench.pairs.checks.findings import Finding, plural
from workbench.pairs.checks.texts import Texts
from workbench.pairs.checks.watch import Watch

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


def invisible(columns: Texts, watch: Watch) -> list[Finding]:
    """Pairs with control, direction or invisible characters, those left out that a script or an emoji needs."""
    watch.tick(0, 1)
    named: list[int] = []
    kinds: Counter[str] = Counter()
    for place in columns.matching(_for_re2(_LOOK)):
        found = {sign for texts in columns.fields.values() for sign in unwanted(texts[place])}
        if found:
            named.append(place)
            kinds.update(found)
    if not named:
        return []
    told = ", ".join(f"{_name(sign)} in {count:,}" for sign, count in kinds.most_common(4))
    return [
        Finding(
            "invisible",
            "warning",
            columns.named(named),
            f"{plural(len(named), 'pair has', 'pairs have')} control, direction or invisible characters ({told}).",
            "Take them out: they are tokens that the model learns to write.",
            figures={"characters": {f"U+{ord(sign):04X}": count for sign, count in kinds.most_common()}},
        )
    ]


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
