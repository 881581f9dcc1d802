"""After its repair a check finds nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.pairs.checks.build import CLEAN, found, talk
from workbench.pairs.checks.repairs import REPAIRS, repair_for
from workbench.pairs.checks.run import run_checks
from workbench.pairs.pair import Pair, plain

_LONG = "The store on the corner of the old market square opens at nine in the morning on every day but Sunday."
PLANTED = {
    "empty": [talk("x", " ", "No.", "Yes.")],
    "undrafted": [talk("x", "So?", "", "Yes.")],
    "identical": [talk("x", "So?", "Yes, indeed.", "Yes, indeed.")],
    "identical-words": [talk("x", "So?", "Yes, indeed.", "yes,  indeed.")],
    "duplicate": [replace(CLEAN[0], id="x"), replace(CLEAN[0], id="y")],
    "near-duplicate": [
        talk("n", "When does it open, and where is it?", _LONG, "Look it up in the big yellow book by the phone."),
        talk("x", "When does it open, and where is it??", _LONG + " ", "Look it up in the big yellow book by a phone."),
    ],
    "leak": [replace(CLEAN[0], split="train"), replace(CLEAN[1], id="x", prompt=CLEAN[0].prompt, split="holdout")],
    "encoding": [talk("x", "Itâ€™s?", "CafÃ©", "TÃ© for two")],
    "invisible": [talk("x", "So\u202e?", "Yes\u200b.", "No\x1b[0m and never.")],
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_repair_mends(name: str) -> None:
    pairs = [*CLEAN[2:], *PLANTED[name]] if name == "leak" else [*CLEAN, *PLANTED[name]]
    finding = found(run_checks(pairs))[name]
    repair = repair_for(finding)
    assert name in REPAIRS
    assert repair is not None
    edits = repair.edits(pairs)
    assert edits
    assert {pair.id for pair in edits} <= set(finding.ids)
    after = {pair.id: pair for pair in pairs} | {pair.id: pair for pair in edits}
    assert name not in found(run_checks(after.values()))


def test_mended_text_is_what_was_meant() -> None:
    pairs = PLANTED["encoding"]
    repair = repair_for(found(run_checks(pairs))["encoding"])
    assert repair is not None
    (pair,) = repair.edits(pairs)
    assert [plain(text) for text in (pair.prompt, pair.chosen, pair.rejected)] == ["It’s?", "Café", "Té for two"]


def test_what_people_must_decide_has_no_repair() -> None:
    pairs: list[Pair] = [*CLEAN, replace(CLEAN[1].swapped(), id="back")]
    assert repair_for(found(run_checks(pairs))["contradiction"]) is None
