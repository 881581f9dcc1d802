"""The verdicts about a run, to read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.content import Content

from workbench.text import one_line

if TYPE_CHECKING:
    from workbench.evidence.document import Evidence

_SIGNS = {
    True: ("✔ holds", "$success"),
    False: ("✘ does not hold", "bold $error"),
    None: ("? too few", "$warning"),
}


def counted(evidence: Evidence) -> str:
    """How many claims hold, do not, or have too few samples."""
    holds = [verdict.holds for verdict in evidence.verdicts]
    told = [(holds.count(True), "hold"), (holds.count(False), "do not hold"), (holds.count(None), "too few samples")]
    return ", ".join(f"{count} {word}" for count, word in told if count)


def verdicts_in_full(evidence: Evidence) -> Content:
    """Every verdict with what was found, those that do not hold first; then what got worse by most."""
    order = {False: 0, None: 1, True: 2}
    lines = []
    for verdict in sorted(evidence.verdicts, key=lambda each: order[each.holds]):
        sign, style = _SIGNS[verdict.holds]
        lines.append(
            Content.assemble(
                (f"{sign:<16}", style),
                (one_line(verdict.name), "$foreground"),
                (f"\n                {one_line(verdict.message)}", "$secondary"),
            )
        )
    if evidence.regressions:
        lines.append(Content.styled("\nWhat got worse by most, log-probability before and after", "bold $foreground"))
        lines += [
            Content.assemble(
                (f"{each.before:8.2f} → {each.after:.2f}  ", "$foreground"),
                (f"{one_line(each.response)} · {one_line(each.prompt, 200)}", "$secondary"),
            )
            for each in evidence.regressions
        ]
    lines.append(Content.styled(f"\nMeasured {evidence.created} in {evidence.seconds:.0f} s.", "$secondary"))
    return Content("\n").join(lines)
