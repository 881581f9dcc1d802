"""A pair as text for an editor: nothing is lost on the way there and back, and what is wrong is named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.pairs.strategies import pairs, whole_turns
from workbench.errors import WorkbenchError
from workbench.pairs.as_text import from_text, tags_from_text, tags_to_text, to_text
from workbench.pairs.pair import ROLES, Message, Pair

WILD = st.lists(
    st.sampled_from(
        [
            "### chosen · assistant",
            "\\### prompt",
            "\\\\###rejected",
            "###",
            "# no remark",
            "status: new",
            "### CHOSEN",
            "\n",
            "\n\n",
            "\r",
            "\r\n",
            "\u2028",
            "\x85",
            "\x0b",
            "\t",
            "  ",
            "␊",
            "␍",
            "⟨0A⟩",
            "⟨",
            "\ufeff",
            "\ud800",
            "\x1b]52;c;aGk=\x07",
            "words",
            "ſ",
            "İ",
            "",
            ",",
            "é漢字👩‍👩‍👧",
        ]
    )
    | st.text(max_size=5),
    max_size=8,
).map("".join)
TURNS = st.lists(st.builds(Message, st.sampled_from(ROLES), WILD) | whole_turns(WILD), max_size=4).map(tuple)


@given(pairs(WILD) | pairs(TURNS))
def test_a_pair_comes_back_as_it_was(pair: Pair) -> None:
    assert from_text(to_text(pair), pair) == pair
    assert from_text(to_text(pair) + "\n", pair) == pair
    assert from_text(to_text(pair).removesuffix("\n").replace("\n", "\r\n"), pair) == pair


@given(pairs(WILD), WILD, st.lists(WILD.filter(bool), unique=True, max_size=4).map(tuple))
def test_all_that_the_text_says_is_taken_from_it(pair: Pair, note: str, tags: tuple[str, ...]) -> None:
    other = Pair(pair.id, "", "", "", source=pair.source, extra=pair.extra, note=note, tags=tags)
    read = from_text(to_text(pair), other)
    assert (read.prompt, read.chosen, read.rejected) == (pair.prompt, pair.chosen, pair.rejected)
    assert (read.status, read.split, read.note) == (pair.status, pair.split, pair.note)
    assert tags_from_text(tags_to_text(tags)) == tags


PAIR = Pair("a", (Message("user", "Why?"),), (Message("assistant", "Sorry."),), (Message("assistant", "No."),))


def test_the_text_is_readable() -> None:
    text = "".join(line for line in to_text(PAIR).splitlines(keepends=True) if not line.startswith("# "))
    assert text == (
        "status: new\nsplit: by prompt\ntags:\nnote:\n\n"
        "### prompt · user\nWhy?\n\n### chosen · assistant\nSorry.\n\n### rejected · assistant\nNo.\n"
    )


def test_what_a_person_changed_is_read() -> None:
    text = to_text(PAIR).replace("status: new", "status: flagged").replace("tags:", "tags: tone, late,tone ")
    text = text.replace("split: by prompt", "split: train").replace("note:", "note: ask Ann")
    text = text.replace("### chosen", "### Prompt: assistant\nHm.\n\n### prompt user\nSo?\n\n### chosen")
    read = from_text(text, PAIR)
    assert (read.status, read.split, read.tags, read.note) == ("flagged", "train", ("tone", "late"), "ask Ann")
    assert read.prompt == (Message("user", "Why?"), Message("assistant", "Hm."), Message("user", "So?"))
    assert read.chosen == PAIR.chosen


def test_markdown_headings_are_text() -> None:
    text = to_text(PAIR).replace("Sorry.", "### Steps\n\n# One")
    assert from_text(text, PAIR).chosen == (Message("assistant", "### Steps\n\n# One"),)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("status: new", "status: fine", "Line 4: “fine” is no status."),
        ("split: by prompt", "split: test", "Line 5: “test” is no split."),
        ("note:", "hello", "Line 7: “hello” is none of status, split, tags, note."),
        ("### prompt · user", "### promt · user", "Line 9: “### promt · user” begins no turn."),
        ("### chosen · assistant", "### chosen · assitant", "Line 12: “### chosen · assitant” has no known role."),
        ("### rejected · assistant", "", "There is no line “### rejected”."),
    ],
)
def test_what_is_wrong_is_named_with_its_line(old: str, new: str, message: str) -> None:
    with pytest.raises(WorkbenchError) as caught:
        from_text(to_text(PAIR).replace(old, new), PAIR)
    assert caught.value.message == message


def test_plain_text_has_no_turns() -> None:
    pair = Pair("a", "Why?", "Sorry.", "No.")
    for change, number in (("### chosen · assistant", 12), ("### prompt\nMore\n\n### chosen", 12)):
        with pytest.raises(WorkbenchError, match=rf"(?s)Line {number}: .*plain text"):
            from_text(to_text(pair).replace("### chosen", change), pair)
