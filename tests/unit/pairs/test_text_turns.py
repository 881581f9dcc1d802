"""Messages in a text: JSON is read, what Python prints is refused with the way out, everything else stays text."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.pairs.importers import import_rows
from workbench.pairs.lines import UnusableError
from workbench.pairs.pair import Message
from workbench.pairs.text_turns import turns_in_text

TURN = {"role": "user", "content": "Hi"}


def imported(**row: Any) -> Any:
    return import_rows([(1, row)])


def test_sharegpt_turns_as_text_are_turns() -> None:
    texts = {"prompt": ("human", "Hi"), "chosen": ("gpt", "Hello"), "rejected": ("gpt", "Bye")}
    row = {name: json.dumps([{"from": speaker, "value": said}]) for name, (speaker, said) in texts.items()}
    [pair] = imported(**row).pairs
    assert pair.prompt == (Message("user", "Hi"),)
    assert pair.chosen == (Message("assistant", "Hello"),)
    assert pair.rejected == (Message("assistant", "Bye"),)


@pytest.mark.parametrize(
    "row",
    [
        {"conversations": [TURN], "chosen": {"from": "gpt", "value": "a"}, "rejected": {"from": "gpt", "value": "b"}},
        {"messages": [TURN, {"role": "assistant", "content": "a"}], "rejected_response": "b"},
        {
            "chosen": [TURN, {"role": "assistant", "content": "a"}],
            "rejected": [TURN, {"role": "assistant", "content": "b"}],
        },
    ],
)
def test_in_every_shape(row: dict[str, Any]) -> None:
    as_text = {name: value if isinstance(value, str) else " " + json.dumps(value) for name, value in row.items()}
    assert imported(**as_text).pairs == imported(**row).pairs
    assert len(imported(**row).pairs) == 1


@pytest.mark.parametrize(
    "text",
    [
        json.dumps([TURN]),
        "  \n" + json.dumps([TURN], indent=2) + " ",
        json.dumps(TURN),
        '[ {"role": "user", "content": "Hi"}]',
    ],
)
def test_one_or_many_with_any_spacing(text: str) -> None:
    assert turns_in_text(text, "prompt") == [TURN]


@pytest.mark.parametrize(
    "text",
    [
        str([TURN]),
        " " + str(TURN),
        str((TURN, TURN)),
        str(np.array([TURN, TURN], dtype=object)),
        repr(np.array([TURN], dtype=object)),
        str([{"from": "human", "value": 'it\'s "x"'}]),
    ],
)
def test_what_python_prints_is_refused_with_the_way_out(text: str) -> None:
    [problem] = imported(prompt=text, chosen=str([TURN]), rejected="b").problems
    assert "as Python prints them" in problem.reason
    assert "its prompt" in problem.reason
    assert "json.dumps" in problem.reason


def test_json_that_breaks_is_refused() -> None:
    with pytest.raises(UnusableError, match="not quite JSON"):
        turns_in_text('[{"role": "user", "content": "a "b" c"}]', "chosen")


@pytest.mark.parametrize(
    "text",
    [
        "Hi",
        "[]",
        "[1, 2]",
        '{"name": "x", "content": "an answer that is JSON itself"}',
        '{"role": "admin", "content": "a record, by nobody who speaks"}',
        "[{'a': 1}]",
        '[{"role": "user", "content": "x"}] is how messages are written.',
        "{'role': 'user'} is a dict in Python.",
        "[" * 50_000,
        "",
    ],
)
def test_other_texts_stay(text: str) -> None:
    assert turns_in_text(text, "chosen") == text


@given(st.text() | st.sampled_from(["[{", "'role': ", '"role": ', "}]", "array(["]).flatmap(lambda a: st.just(a * 3)))
def test_anything_stays_or_is_refused(text: str) -> None:
    try:
        found = turns_in_text(text, "prompt")
    except UnusableError:
        return
    assert found == text or isinstance(found, list)
