"""What the checks found, a line each; and all there is to say of one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from workbench.pairs.checks.catalog import CHECKS
from workbench.pairs.checks.findings import Finding, Severity
from workbench.pairs.checks.repairs import REPAIRS, Repair
from workbench.pairs.checks.running import SIGNS
from workbench.text import one_line
from workbench.tui.widgets.length_bars import full_bars

STYLES: dict[Severity, str] = {"error": "$error", "warning": "$warning", "note": "$secondary"}
_NAME, _COUNT = 17, 8
_SHOWN, _ID = 5, 24
_PEEKED, _NAMED = 60, 400


class FindingList(OptionList):
    """Findings by gravity; the cursor stays on its finding while others come."""

    DEFAULT_CSS = """
    FindingList, FindingList:focus { border: none; padding: 0; background: $surface; scrollbar-size-vertical: 1; }
    FindingList:focus { background-tint: $foreground 0%; }
    FindingList > .option-list--option { padding: 0; text-wrap: nowrap; text-overflow: ellipsis; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "cursor_down", "Down", show=False),
        Binding("k", "cursor_up", "Up", show=False),
    ]

    def __init__(self) -> None:
        super().__init__(markup=False, compact=True)
        self._findings: Sequence[Finding] = ()

    @property
    def finding(self) -> Finding | None:
        """The finding under the cursor."""
        at = self.highlighted
        return self._findings[at] if at is not None and at < len(self._findings) else None

    def show(self, findings: Sequence[Finding]) -> None:
        """Shows these findings."""
        if findings == self._findings:
            return
        before = self.finding if self._findings and self.highlighted else None
        self._findings = findings
        self._fill()
        checks = [finding.check for finding in findings]
        if findings:
            self.highlighted = checks.index(before.check) if before and before.check in checks else 0

    def on_resize(self, event: events.Resize) -> None:
        """Lines are made for the width."""
        del event
        at = self.highlighted
        self._fill()
        self.highlighted = at

    def _fill(self) -> None:
        width = self.scrollable_content_region.width
        self.clear_options()
        self.add_options([Option(_line(finding, width), id=finding.check) for finding in self._findings])


def _line(finding: Finding, width: int) -> Content:
    head = Content.assemble(
        (f"{SIGNS[finding.severity]} {finding.severity:<9}", STYLES[finding.severity]),
        (f"{finding.check:<{_NAME}}", "bold"),
        f"{finding.count:>{_COUNT},}",
    )
    said = CHECKS.get(finding.check, "")
    room = width - head.cell_length - 2
    return Content.assemble(head, "  ", (one_line(said, max(room, 1)), "$secondary"))


def details(
    finding: Finding, repair: Repair | None, peek: Callable[[str], str] | None = None, *, bars_in: int = 0
) -> Content:
    """The whole message, what to do, what one key would mend, the numbers, and the first few pairs.

    `peek` gives the first words of the pair with an id; `bars_in`: draw the lengths in so many cells.
    """
    lines: list[Any] = [one_line(finding.message), ("\n→ ", "$accent"), one_line(finding.hint)]
    if repair is not None and repair.ids:
        many = "1 pair" if len(repair.ids) == 1 else f"{len(repair.ids):,} pairs"
        lines += [("\nf ", "bold $accent"), f"{REPAIRS[finding.check]}: {many} ", ("(u undoes it)", "$secondary")]
    for name, values in finding.figures.items():
        if name in ("reasons", "characters") and values:
            told = " · ".join(f"{one_line(str(reason))} {count:,}" for reason, count in values.items())
            lines += [(f"\n{name}  ", "$secondary"), one_line(told, _NAMED)]
    if bars_in and "histogram" in finding.figures:
        lines += ["\n", *(each for bar in full_bars(finding.figures, bars_in) for each in ("\n", bar))]
    if finding.groups:
        lines += _groups(finding.groups)
    else:
        lines += _pairs(finding.ids, peek)
    return Content.assemble(*lines)


def _pairs(ids: Sequence[str], peek: Callable[[str], str] | None) -> Iterable[Any]:
    for place, identity in enumerate(ids[:_SHOWN]):
        yield ("\n" if place else "\n\n") + one_line(identity, _ID)
        if peek is not None and (words := one_line(peek(identity), _PEEKED)):
            yield (f"  {words}", "$secondary")
    if len(ids) > _SHOWN:
        yield (f"\nand {len(ids) - _SHOWN:,} more", "$secondary")


def _groups(groups: Sequence[Sequence[str]]) -> Iterable[Any]:
    for place, group in enumerate(groups[:_SHOWN]):
        yield ("\n" if place else "\n\n") + one_line(group[0], _ID)
        yield ("  with  ", "$secondary")
        yield ", ".join(one_line(identity, _ID) for identity in group[1:_SHOWN])
        if len(group) > _SHOWN:
            yield (f" and {len(group) - _SHOWN:,} more", "$secondary")
    if len(groups) > _SHOWN:
        yield (f"\nand {len(groups) - _SHOWN:,} more groups", "$secondary")
