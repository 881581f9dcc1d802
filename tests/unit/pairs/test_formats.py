"""Every shape of row becomes prompt, chosen and rejected; an implicit prompt is parted at turns, never inside one."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.pairs.transcripts import to_transcript
from workbench.pairs.formats import Contents, contents, from_transcript
from workbench.pairs.lines import UnusableError
from workbench.pairs.pair import Message

HH = Path("../shared/data/hh-rlhf/harmless-base-1500.jsonl.gz")


BLANK = (Message("assistant", ""),)


def turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def turns(*contents: str) -> tuple[Message, ...]:
    """Messages of user and assistant by turns; an answer begins with "a"."""
    return tuple(Message("assistant" if content.startswith("a") else "user", content) for content in contents)


def test_explicit_standard_is_taken_as_it_is() -> None:
    row = {"prompt": " p ", "chosen": "The sky is blue", "rejected": "The sky is black"}
    assert contents(row) == Contents(" p ", "The sky is blue", "The sky is black")


def test_explicit_conversational() -> None:
    row = {"prompt": [turn("user", "q")], "chosen": [turn("assistant", "a1")], "rejected": [turn("assistant", "a2")]}
    assert contents(row) == Contents(turns("q"), turns("a1"), turns("a2"))


@pytest.mark.parametrize("prompt", ["q", [turn("user", "q")]])
@pytest.mark.parametrize("repeats", [True, False])
def test_a_prompt_beside_conversations_that_may_repeat_it(prompt: Any, repeats: bool) -> None:
    before = [turn("user", "q")] if repeats else []
    row = {
        "prompt": prompt,
        "chosen": [*before, turn("assistant", "a1")],
        "rejected": [*before, turn("assistant", "a2")],
    }
    assert contents(row) == Contents(turns("q"), turns("a1"), turns("a2"))


def test_turns_for_a_prompt_and_texts_for_responses() -> None:
    row = {"prompt": [turn("user", "q")], "chosen": "a1", "rejected": "a2"}
    assert contents(row) == Contents(turns("q"), turns("a1"), turns("a2"))


def test_implicit_prompts_are_parted_at_turns() -> None:
    row = {
        "chosen": [turn("user", "q"), turn("assistant", "The sky is blue")],
        "rejected": [turn("user", "q"), turn("assistant", "The sky is black")],
    }
    found = contents(row)
    assert found.prompt == turns("q")
    assert found.chosen == (Message("assistant", "The sky is blue"),)


@pytest.mark.parametrize(
    ("chosen", "rejected", "prompt_turns"),
    [
        ("q a1", "q a2", 1),
        ("q a q2 a1", "q a q2 a2", 3),
        ("q a1 q2 a", "q a2 q2 a", 1),
        ("q a a1", "q a a2", 1),
        ("q a1 a2", "q a", 1),
        ("q q2 a1", "q q2 a2", 2),
    ],
)
def test_where_conversations_part(chosen: str, rejected: str, prompt_turns: int) -> None:
    one, other = turns(*chosen.split()), turns(*rejected.split())
    found = contents({"chosen": to_transcript(one), "rejected": to_transcript(other)})
    assert len(found.prompt) == prompt_turns
    assert found.prompt[-1].role == "user"
    assert (found.prompt + found.chosen, found.prompt + found.rejected) == (one, other)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({}, "no chosen and rejected"),
        ({"prompt": "p"}, "no chosen and rejected"),
        ({"chosen": " ", "rejected": []}, "no chosen and rejected"),
        ({"chosen": "c"}, "no prompt"),
        ({"chosen": [turn("user", "q")]}, "ends with a user turn"),
        ({"prompt": "p", "chosen": "c", "rejected": "c"}, "nothing to prefer"),
        ({"prompt": " ", "chosen": "c", "rejected": "r"}, "empty prompt"),
        ({"chosen": "c", "rejected": "r"}, "no prompt"),
        ({"prompt": "p", "chosen": 3, "rejected": "r"}, "neither a text nor a list"),
        ({"prompt": "p", "chosen": "c", "rejected": [turn("assistant", "a")]}, "of one kind"),
        ({"prompt": "p", "chosen": [turn("user", "c")], "rejected": [turn("assistant", "a")]}, "ends with a user turn"),
        ({"prompt": "p", "chosen": [turn("boss", "c")], "rejected": [turn("assistant", "a")]}, "role 'boss'"),
        ({"prompt": "p", "chosen": ["c"], "rejected": [turn("assistant", "a")]}, "where a message should be"),
        ({"prompt": "p", "chosen": [{"role": "assistant"}], "rejected": "r"}, "no text as its content"),
        ({"chosen": "\n\nHuman: a\n\nAssistant: x", "rejected": "\n\nHuman: b\n\nAssistant: y"}, "different prompts"),
        (
            {"chosen": "\n\nHuman: a\n\nAssistant: x\n\nHuman: z", "rejected": "\n\nHuman: a\n\nAssistant: y"},
            "ends with",
        ),
        ({"chosen": "\n\nAssistant: x", "rejected": "\n\nAssistant: y"}, "no user turn"),
    ],
)
def test_what_is_no_pair_is_refused_with_the_reason(row: dict[str, Any], reason: str) -> None:
    with pytest.raises(UnusableError, match=reason):
        contents(row)


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ({"prompt": "p", "chosen": "c"}, ("p", "c", "")),
        ({"prompt": "p", "chosen": " ", "rejected": []}, ("p", "", "")),
        ({"prompt": "p", "chosen": None, "rejected": "r"}, ("p", "", "r")),
        ({"prompt": "p", "chosen": "c", "rejected": " \n"}, ("p", "c", "")),
        ({"prompt": "q", "chosen": [turn("assistant", "a")]}, (turns("q"), turns("a"), BLANK)),
        ({"prompt": "q", "chosen": [], "rejected": [turn("assistant", "a")]}, (turns("q"), BLANK, turns("a"))),
        ({"prompt": [turn("user", "q")], "rejected": "a"}, (turns("q"), BLANK, turns("a"))),
        ({"prompt": "q", "chosen": [turn("user", "q"), turn("assistant", "a")]}, (turns("q"), turns("a"), BLANK)),
        ({"chosen": [turn("user", "q"), turn("assistant", "a")]}, (turns("q"), turns("a"), BLANK)),
        ({"chosen": to_transcript(turns("q", "a1", "q2", "a2"))}, (turns("q", "a1", "q2"), turns("a2"), BLANK)),
    ],
)
def test_an_answer_that_is_not_there_is_to_be_drafted(row: dict[str, Any], found: tuple[Any, ...]) -> None:
    assert contents(row) == Contents(*found)


def test_other_names_for_roles_and_contents_in_parts() -> None:
    row = {
        "prompt": [{"from": "human", "value": "q", "weight": None}],
        "chosen": [{"role": "assistant", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "1"}]}],
        "rejected": [{"from": "gpt", "value": "a2"}],
    }
    assert contents(row) == Contents(turns("q"), turns("a1"), turns("a2"))


def test_what_is_not_a_marker_stays_in_the_text() -> None:
    transcript = (
        "Be kind.\n\nHuman: I said Human: and\nAssistant: too \n\nAssistant:  \n\nHuman:\tno marker\n\nAssistant: "
    )
    found = from_transcript(transcript)
    assert [each.role for each in found] == ["system", "user", "assistant", "assistant"]
    assert found[2].content == " \n\nHuman:\tno marker"
    assert to_transcript(found) == transcript


pieces = st.sampled_from(["\n", " ", "Human:", "Assistant:", "\n\nHuman: ", "\n\nAssistant: ", "x", "\u2028", "\r"])


@given(st.lists(pieces, max_size=12).map("".join))
def test_transcripts_come_back_exactly(text: str) -> None:
    found = from_transcript("\n\nHuman: " + text)
    back = to_transcript(found)
    # A marker that ends without its space is the one thing that is made regular.
    if "Human:\n\n" not in text and "Assistant:\n\n" not in text and not text.endswith(("Human:", "Assistant:")):
        assert back == "\n\nHuman: " + text
    assert from_transcript(back) == found


def test_hh_rlhf_comes_back_exactly() -> None:
    if not HH.exists():
        pytest.skip(f"{HH} is not here")
    rows = [json.loads(line) for line in gzip.decompress(HH.read_bytes()).splitlines()]
    assert len(rows) == 1500
    for row in rows:
        found = contents(row)
        assert found.prompt[-1].role == "user"
        assert found.chosen[-1].role == found.rejected[-1].role == "assistant"
        assert to_transcript(found.prompt + found.chosen) == row["chosen"]
        assert to_transcript(found.prompt + found.rejected) == row["rejected"]
