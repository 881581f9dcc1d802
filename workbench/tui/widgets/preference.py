"""What a pair teaches, in words."""

from __future__ import annotations

from textual.app import RenderResult
from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from workbench.pairs.checks.roles import order_fault
from workbench.pairs.pair import Pair, plain
from workbench.text import cut, one_line

_QUOTED = 400
_LABEL = "the model will prefer: "
_OVER = " over "


def doubt(pair: Pair) -> str:
    """Why training on the pair would teach nothing, or something else than it says; empty where it would not."""
    empty = [part for part in ("prompt", "chosen", "rejected") if not plain(getattr(pair, part)).strip()]
    if empty:
        return f"empty: {' and '.join(empty)}"
    if plain(pair.chosen).split() == plain(pair.rejected).split():
        return "chosen and rejected are the same: nothing would be learnt"
    fault = order_fault(pair)
    return f"turns out of order: {fault}" if fault else ""


class Preference(Widget):
    """Two lines: what the model will prefer over what, and what is to be said against that."""

    DEFAULT_CSS = "Preference { height: 2; padding: 0 1; text-wrap: nowrap; text-overflow: ellipsis; }"

    pair: reactive[Pair | None] = reactive(None)

    def render(self) -> RenderResult:
        """The lines in the width there is; both quotations begin shortly before the texts part."""
        if self.pair is None:
            return ""
        chosen, rejected = (" ".join(plain(text).split()) for text in (self.pair.chosen, self.pair.rejected))
        room = max(8, (self.size.width - len(_LABEL) - len(_OVER) - 4) // 2)
        begin = _parting(chosen, rejected, room // 2)
        said = doubt(self.pair)
        return Content.assemble(
            (_LABEL, "$secondary"),
            (f"“{_quoted(chosen, begin, room)}”", "$success"),
            (_OVER, "$secondary"),
            (f"“{_quoted(rejected, begin, room)}”", "$error"),
            "\n",
            (f"▲ {said}" if said else "", "$warning"),
        )


def _quoted(text: str, begin: int, room: int) -> str:
    return cut(("…" if begin else "") + one_line(text[begin : begin + _QUOTED]), room)


def _parting(one: str, other: str, room: int) -> int:
    """Where to begin both texts so that the place where they part is in view: 0 where it is within `room`."""
    same = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    if same <= room or one == other:
        return 0
    return one.rfind(" ", 0, max(1, same - room // 3)) + 1
