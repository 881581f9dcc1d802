"""What is cut off ends with a sentence; what speaks against an answer is told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.compare.draft_flaws import flaw_of, to_last_sentence


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Open the door. Then turn the", "Open the door."),
        ("Open it! Then", "Open it!"),
        ('She said "Go." and then', 'She said "Go."'),
        ("It works (mostly.) And", "It works (mostly.)"),
        ("Ask Dr. Smith. He knows Mr. J", "Ask Dr. Smith."),
        ("Use e.g. a spoon. Or e.g. a", "Use e.g. a spoon."),
        ("It costs 3.50 a day. Or 4.", "It costs 3.50 a day. Or 4."),
        ("Do this.\n1. Open it.\n2. Close it.\n3.", "Do this.\n1. Open it.\n2. Close it."),
        ("Do this.\n1. Open it\n2.", "Do this."),
        ("Like so:\n```py\nprint(1.)\n```\nNow", "Like so:\n```py\nprint(1.)\n```"),
        ("Yes.\nNo.\nOr", "Yes.\nNo."),
        ("Do it so. Here:\n```py\nprint(1). x", "Do it so."),
        ("Do it so:\n```py\nprint(1)\n```", "Do it so:\n```py\nprint(1)\n```"),
        ("打开门。然后", "打开门。"),
        ("A sentence that never", ""),
        ("", ""),
    ],
)
def test_what_a_limit_cut_off_ends_with_its_last_whole_sentence(text: str, kept: str) -> None:
    assert to_last_sentence(text) == kept


@given(st.text(st.sampled_from(' .!?\n`ab1"。'), max_size=40))
def test_any_text_is_cut_to_a_beginning_of_itself_and_once(text: str) -> None:
    kept = to_last_sentence(text)
    assert text.startswith(kept)
    assert to_last_sentence(kept) == kept


def test_flaws_are_told_by_what_the_answers_show() -> None:
    assert flaw_of(["refusing"], ["refusing"]) == "refuses"
    assert flaw_of(["refusing"], ["answering"]) == ""
    assert flaw_of(["answering"], ["refusing"]) == ""
    assert flaw_of(["answering", "cut"], ["refusing"]) == "breaks off"
    assert flaw_of(["repeating"], []) == "repeats itself"
    assert flaw_of(["babbling"], []) == "babbles"
    assert flaw_of(["courteous"], [], wanted="rude") == "is not rude"
    assert flaw_of(["courteous", "rude"], [], wanted="rude") == ""
