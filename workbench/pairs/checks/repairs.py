"""Changes that mend a finding, where that is safe: none takes a pair out of the file, and each is one step of undo."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from workbench.figures import plural
from workbench.pairs.checks.characters import cleaned, mended
from workbench.pairs.checks.findings import CheckFinding
from workbench.pairs.formats import Contents, as_conversation
from workbench.pairs.pair import Pair, Text

if TYPE_CHECKING:
    from workbench.pairs.rows import Rows

REPAIRS: dict[str, str] = {
    "plain-text": "make user and assistant turns of all pairs",
    "empty": "drop them",
    "undrafted": "drop them",
    "repeated-answer": "drop the later copies",
    "identical": "drop them",
    "identical-words": "drop them",
    "identical-cut": "drop them",
    "duplicate": "drop the later copies",
    "near-duplicate": "drop the later ones",
    "leak": "hold out all pairs of these prompts",
    "length-bias": "drop the surplus of one side, so that lengths balance",
    "encoding": "read the text again as UTF-8",
    "invisible": "take the characters out",
}
"""What can be mended at one key, and what that does."""


@dataclass(frozen=True, slots=True)
class Repair:
    """`change` is to be applied to each pair of `ids`, all as one step that `description` names. `whole`: to all pairs
    of the data set with them, dropped ones too, for a file is of one kind."""

    check: str
    ids: tuple[str, ...]
    change: Callable[[Pair], Pair]
    description: str
    whole: bool = False

    def ids_in(self, rows: Rows) -> list[str]:
        """The ids of the pairs to change that are there."""
        if self.whole and self.ids:
            return rows.ids(rows.order)
        return [identity for identity in self.ids if rows.row(identity) is not None]

    @property
    def question(self) -> str:
        """What is asked before it is done."""
        return f"{self.description[0].upper()}{self.description[1:]}: {plural(len(self.ids), 'pair')}?"

    def edits(self, pairs: Sequence[Pair]) -> list[Pair]:
        """The pairs that it changes, as they are afterwards."""
        wanted = set(self.ids)
        return [after for pair in pairs if pair.id in wanted and (after := self.change(pair)) != pair]


def repair_for(finding: CheckFinding) -> Repair | None:
    """The repair of a finding; None where there is no safe one."""
    ids = finding.ids if finding.to_mend is None else finding.to_mend
    match finding.check:
        case "empty" | "undrafted" | "identical" | "identical-words" | "identical-cut":
            return Repair(finding.check, ids, dropped, f"drop as {finding.check}")
        case "duplicate" | "near-duplicate" | "repeated-answer":
            return Repair(finding.check, ids, dropped, f"drop as {finding.check}")
        case "plain-text":
            return Repair(finding.check, ids, in_turns, "make conversations of plain text", whole=True)
        case "leak":
            return Repair(finding.check, ids, held_out, "hold out prompts that are on both sides")
        case "length-bias":
            return Repair(finding.check, ids, dropped, "drop a surplus so that lengths balance")
        case "encoding":
            return Repair(finding.check, ids, _in_texts(mended), "read misread text again")
        case "invisible":
            return Repair(finding.check, ids, _in_texts(cleaned), "take out invisible characters")
    return None


def dropped(pair: Pair) -> Pair:
    """The pair, dropped."""
    return replace(pair, status="dropped")


def in_turns(pair: Pair) -> Pair:
    """The pair as a conversation."""
    prompt, chosen, rejected = as_conversation(Contents(pair.prompt, pair.chosen, pair.rejected))
    return replace(pair, prompt=prompt, chosen=chosen, rejected=rejected)


def held_out(pair: Pair) -> Pair:
    """The pair, on the side that is not trained on."""
    return replace(pair, split="holdout")


def _in_texts(change: Callable[[str], str]) -> Callable[[Pair], Pair]:
    def changed(text: Text) -> Text:
        if isinstance(text, str):
            return change(text)
        return tuple(turn.with_content(change(turn.content)) for turn in text)

    return lambda pair: replace(
        pair, prompt=changed(pair.prompt), chosen=changed(pair.chosen), rejected=changed(pair.rejected)
    )
