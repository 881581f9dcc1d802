"""The dialog that decides between two versions of a pair."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from workbench.pairs.diff import Span, word_diff
from workbench.pairs.merge import Conflict
from workbench.pairs.pair import TEMPLATE_COLUMNS, Pair, field_value
from workbench.text import one_line, safe
from workbench.tui.dialogs.base import Dialog

_TEXTS = ("prompt", "chosen", "rejected")
_SIGNS = {"mine": "◂", "theirs": "▸"}
_COLOURS = {"mine": "$accent", "theirs": "$warning"}
_HEADS = {"mine": "yours", "theirs": "in the file"}
_SHOWN = 20_000


class ConflictDialog(Dialog[Literal["mine", "theirs"] | None]):
    """Both versions of a pair that was changed here and by another program; None: decided later.

    `left` says how many more there are to decide.
    """

    HORIZONTAL_BREAKPOINTS = [(0, "-stacked"), (100, "-beside")]  # noqa: RUF012 (Textual declares it so)
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("m", "dismiss('mine')", "Keep yours"),
        Binding("t", "dismiss('theirs')", "Keep the file's"),
        Binding("escape", "dismiss(None)", "Decide later"),
        Binding("j,down", "scroll(3)", "Down", show=False),
        Binding("k,up", "scroll(-3)", "Up", show=False),
    ]
    DEFAULT_CSS = """
    ConflictDialog {
        #box { width: 150; max-width: 96%; height: auto; padding: 0 2; }
        #about { color: $secondary; height: auto; margin-bottom: 1; }
        VerticalScroll { height: auto; max-height: 70vh; scrollbar-size-vertical: 1; }
        .field { color: $accent; text-style: bold; }
        .sides { height: auto; margin-bottom: 1; }
        .side { height: auto; }
    }
    ConflictDialog.-beside .sides { layout: horizontal; }
    ConflictDialog.-beside .side { width: 1fr; margin-right: 2; }
    """

    def __init__(self, conflict: Conflict, left: int) -> None:
        super().__init__()
        self._conflict, self._left = conflict, left

    def compose(self) -> ComposeResult:
        """What the pair is about, then each field that differs, in both versions."""
        conflict = self._conflict
        more = f" · {self._left:,} more to decide" if self._left else ""
        with Vertical(id="box", classes="frame") as box:
            box.border_title = f"Another program and you changed this pair{more}"
            yield Static(_about(conflict), markup=False, id="about")
            with VerticalScroll(can_focus=False):
                for field in self._fields():
                    yield Static(field, markup=False, classes="field")
                    with Container(classes="sides"):
                        for side in _sides(conflict, field):
                            yield Static(side, markup=False, classes="side")
            mine, theirs = ("takes it out" if pair is None else "keeps" for pair in (conflict.mine, conflict.theirs))
            yours = "m keeps yours" if mine == "keeps" else "m takes it out, as you did"
            others = "t keeps the file's" if theirs == "keeps" else "t leaves it out, as the file does"
            box.border_subtitle = f"{yours} · {others} · esc later"

    def _fields(self) -> tuple[str, ...]:
        conflict = self._conflict
        if conflict.mine is None or conflict.theirs is None:
            there = conflict.mine or conflict.theirs
            more = ("status", "split", "tags", "note", *TEMPLATE_COLUMNS)
            labels = [name for name in more if there and field_value(there, name)]
            return (*_TEXTS, *labels)
        return conflict.fields


def _about(conflict: Conflict) -> str:
    pair = conflict.mine or conflict.theirs or conflict.base
    about = f"“{one_line(pair.last_user_turn[:400], 100)}”" if pair else one_line(conflict.id, 60)
    if conflict.mine is None:
        return f"{about}\nYou took it out of the file; the other program kept it."
    if conflict.theirs is None:
        return f"{about}\nThe other program took it out of the file; you kept it."
    return f"{about}\nDifferent: {', '.join(conflict.fields)}"


def _sides(conflict: Conflict, field: str) -> Iterator[Content]:
    """Both versions of a field; the words that only one has are marked by its sign and colour."""
    texts = {name: _value(getattr(conflict, name), field) for name in _HEADS}
    mine, theirs = texts["mine"], texts["theirs"]
    marks: dict[str, list[Span]] = {}
    if mine is not None and theirs is not None and max(len(mine), len(theirs)) <= _SHOWN:
        marks["mine"], marks["theirs"] = word_diff(mine, theirs)
    for name, text in texts.items():
        head = (f"{_SIGNS[name]} {_HEADS[name]}\n", f"bold {_COLOURS[name]}")
        if text is None:
            yield Content.assemble(head, ("(taken out)", "$secondary"))
        elif not text:
            yield Content.assemble(head, ("(empty)", "$secondary"))
        elif name not in marks:
            yield Content.assemble(head, _cut(text))
        else:
            yield Content.assemble(head, *_runs(marks[name], name))


def _runs(spans: list[Span], name: str) -> Iterator[str | tuple[str, str]]:
    for span in spans:
        words = span.text.lstrip()
        if span.kind == "same" or not words:
            yield safe(span.text)
            continue
        yield safe(span.text[: len(span.text) - len(words)])
        yield f"{_SIGNS[name]}{safe(words)}", _COLOURS[name]


def _value(pair: Pair | None, field: str) -> str | None:
    """A field as text; None where there is no pair."""
    if pair is None:
        return None
    value = field_value(pair, field)
    if field == "split":
        return value or "by prompt"
    if field == "tags":
        return ", ".join(value)
    if isinstance(value, str):
        return value
    plain_answer = len(value) == 1 and value[0].role == ("user" if field == "prompt" else "assistant")
    return value[0].text if plain_answer else "\n\n".join(f"{turn.role}: {turn.text}" for turn in value)


def _cut(text: str) -> str:
    more = len(text) - _SHOWN
    return safe(text) if more <= 0 else f"{safe(text[:_SHOWN])}… and {more:,} more characters"
