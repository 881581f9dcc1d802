"""What a report consists of, whatever it is written as: sections of tables, charts, answers and scored tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

Tone = Literal["good", "bad", "unsure"]
"""Of a verdict or a finding. Whoever shows it shows its sign and its words as well."""
SIGNS: dict[Tone, str] = {"good": "\u2714", "bad": "\u2718", "unsure": "?"}


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a table: plain text, which may be untrusted, and what kind of text that is.

    *number*: aligned at the right. *code*: names, hashes, texts from data. *picture*: `picture`, a drawing of what
    other cells of the row tell, and no text. `detail` is a second line, of less weight.
    """

    text: str
    kind: Literal["text", "number", "code", "verdict", "picture"] = "text"
    tone: Tone | None = None
    detail: str = ""
    picture: Markup | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under a header. `caption` says what they are; where `heads`, the first cell of a row is its header.

    `narrow` tables have so few columns that they are easier to read when they are not as wide as the page.
    """

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    note: str = ""
    heads: bool = True
    narrow: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """Short names and values, side by side; `code` where the values are names or numbers that programs read."""

    caption: str
    entries: Sequence[tuple[str, str]]
    code: bool = False


@dataclass(frozen=True, slots=True)
class Drawing:
    """A drawing with a caption."""

    title: str
    drawing: Markup
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Charts:
    """Drawings side by side."""

    charts: Sequence[Drawing]


@dataclass(frozen=True, slots=True)
class Prose:
    """Paragraphs of our own words."""

    paragraphs: Sequence[str]


@dataclass(frozen=True, slots=True)
class Points:
    """A list; each point has a title in a few words, a text and, where it is an alert or a finding, a tone."""

    points: Sequence[tuple[str, str]]
    tone: Tone | None = None


@dataclass(frozen=True, slots=True)
class Exchange:
    """A prompt and what was answered by whom. All untrusted."""

    about: str
    prompt: str
    answers: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Exchanges:
    """Prompts with their answers, side by side."""

    exchanges: Sequence[Exchange]


@dataclass(frozen=True, slots=True)
class ReportToken:
    """A piece of a response with its log-probabilities; `step` is how strongly it is shaded, −3 (fell) to 3 (rose)."""

    text: str
    before: float
    after: float
    hint: str
    step: int
    special: bool
    bars: Markup


@dataclass(frozen=True, slots=True)
class ReportResponse:
    """A response token by token. `summary` has its sums, `more` says how many tokens at the end are left out."""

    family: str
    summary: str
    tokens: Sequence[ReportToken]
    table: Table
    more: int = 0

    @property
    def moved(self) -> list[ReportToken]:
        """The tokens that are shaded."""
        return [token for token in self.tokens if token.step]


@dataclass(frozen=True, slots=True)
class Probed:
    """A probe with its responses, token by token."""

    about: str
    prompt: str
    responses: Sequence[ReportResponse]


Block = Table | Facts | Charts | Prose | Points | Exchanges | Probed


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the report that can be linked to.

    `anchor` is a plain word, `lead` a sentence on what to look at, `legend` says how to read its pictures.
    """

    anchor: str
    title: str
    lead: str
    blocks: Sequence[Block]
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """The whole: `headline` says in a sentence what is proved and what is not, `facts` whose report this is.

    `caveats` go on where one sentence is too short for it.
    """

    title: str
    headline: str
    caveats: Sequence[str]
    tone: Tone
    tally: Sequence[tuple[Tone, int, str]]
    facts: Sequence[tuple[str, str]]
    sections: Sequence[Section]
