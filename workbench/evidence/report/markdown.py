"""A report as GitHub-flavoured Markdown, for a pull request. Charts, and tokens that did not move, are for the page."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from workbench.evidence.report.blocks import (
    SIGNS,
    Block,
    Cell,
    Charts,
    Exchanges,
    Facts,
    Page,
    Points,
    Probed,
    Prose,
    Table,
)
from workbench.figures import signed
from workbench.text import one_line

_MARKS = re.compile(r"([\\`*_\[\]<>&|~#$])")
_BEGINNING = re.compile(r"^(\d*)([-+=:.)])(?=[-=:\s]|$)")
_LIVE = re.compile(r"@|#\d|://|www\.", re.IGNORECASE)
"""What GitHub makes a mention, a reference or a link of, escaped or not."""
_BACKTICKS = re.compile("`+")
_ODD_BACKSLASHES = re.compile(r"(?<!\\)((?:\\\\)*\\)(?=\|)")


def to_markdown(report: Page) -> str:
    """The report. What may be untrusted becomes code, in which nothing is a link, a mention or HTML."""
    lines = [f"# Alignment report: {code(report.title)}", "", f"**{plain(report.headline)}**", ""]
    for caveat in report.caveats:
        lines += [plain(caveat), ""]
    if report.tally:
        lines += [", ".join(f"{SIGNS[tone]} {count} {name}" for tone, count, name in report.tally) + ".", ""]
    lines += [*_facts(report.facts), ""]
    for section in report.sections:
        blocks = [list(_written(block)) for block in section.blocks]
        if section.lead or any(blocks):
            lines += [f"## {plain(section.title)}", ""]
            lines += [plain(section.lead), ""] if section.lead else []
            lines += [line for block in blocks for line in block]
    return "\n".join(lines).rstrip() + "\n"


def plain(text: str) -> str:
    """`text` on one line with marks escaped; as code where it holds what no escape would keep from being live."""
    if _LIVE.search(text):
        return code(text, in_table=True)
    return _BEGINNING.sub(r"\1\\\2", _MARKS.sub(r"\\\1", one_line(text)))


def code(text: str, *, in_table: bool = False) -> str:
    """`text` on one line as a code span, whatever backticks it holds; empty text as nothing.

    In a table a pipe is escaped, and an odd number of backslashes before it made even: GitHub would take the pipe for
    the end of the cell.
    """
    line = one_line(text)
    if not line:
        return ""
    if in_table:
        line = _ODD_BACKSLASHES.sub(r"\1\\", line).replace("|", "\\|")
    fence = "`" * (1 + max((len(run) for run in _BACKTICKS.findall(line)), default=0))
    room = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{room}{line}{room}{fence}"


def _written(block: Block) -> Iterator[str]:
    match block:
        case Table():
            yield from _table(block)
        case Facts():
            facts = ", ".join(f"{plain(name)} {code(value)}" for name, value in block.entries)
            yield from [f"**{plain(block.caption)}**", "", facts, ""]
        case Charts():
            return
        case Prose():
            for paragraph in block.paragraphs:
                yield from [plain(paragraph), ""]
        case Points():
            yield from [*(f"- **{plain(title)}** {plain(text)}" for title, text in block.points), ""]
        case Exchanges():
            for exchange in block.exchanges:
                yield f"- {code(exchange.about)}: {code(exchange.prompt)}"
                yield from (f"  - {plain(name)}: {code(text) or '(nothing)'}" for name, text in exchange.answers)
            yield ""
        case Probed():
            yield f"**{plain(block.about)}**: {code(block.prompt)}"
            yield ""
            for response in block.responses:
                moved = ", ".join(
                    f"{code(token.text)} {signed(token.after - token.before, 1)}" for token in response.moved
                )
                yield f"- {code(response.family)}: {plain(response.summary)}" + (f"; moved: {moved}" if moved else "")
            yield ""


def _facts(entries: Sequence[tuple[str, str]]) -> list[str]:
    return [f"- {plain(name)}: {code(value)}" for name, value in entries]


def _table(table: Table) -> Iterator[str]:
    """Pictures are left out, with their columns."""
    kinds = [cell.kind for cell in table.rows[0]] if table.rows else ["text"] * len(table.header)
    shown = [column for column, kind in enumerate(kinds) if kind != "picture"]
    yield from [f"**{plain(table.caption)}**", ""]
    yield _row([plain(table.header[column]) for column in shown])
    yield _row(["---:" if kinds[column] == "number" else "---" for column in shown])
    for row in table.rows:
        yield _row([_cell(row[column]) for column in shown])
    yield ""
    if table.note:
        yield from [plain(table.note), ""]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(cell: Cell) -> str:
    if cell.kind == "code":
        text = code(cell.text, in_table=True)
    else:
        sign = f"{SIGNS[cell.tone]} " if cell.kind == "verdict" and cell.tone else ""
        text = sign + plain(cell.text)
    return f"{text}<br>{plain(cell.detail)}" if cell.detail else text
