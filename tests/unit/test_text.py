"""Untrusted text is made visible and never loses what can be read."""

import re
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from workbench.text import cut, one_line, quoted, safe

_OBEYED = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("plain", "plain"),
        ("\x1b]52;c;aGk=\x07", "␛]52;c;aGk=␇"),
        ("a\tb\r\nc\rd", "a    b\nc␍d"),
        ("\x9b31m", "⟨9B⟩31m"),
        ("safe\u202etxt.exe", "safe⟨202E⟩txt.exe"),
        ("\udc80", "⟨DC80⟩"),
        ("[bold]x[/]", "[bold]x[/]"),
        ("日本語 👩‍👩‍👧", "日本語 👩⟨200D⟩👩⟨200D⟩👧"),
    ],
)
def test_what_a_terminal_would_obey_becomes_visible(raw: str, shown: str) -> None:
    assert safe(raw) == shown


@given(st.text(st.characters()))
def test_nothing_that_a_terminal_obeys_is_left(raw: str) -> None:
    assert not _OBEYED.search(safe(raw))
    assert not _OBEYED.search(one_line(raw))
    assert "\n" not in one_line(raw)


@given(st.text(), st.integers(0, 40))
def test_cut_fits(raw: str, width: int) -> None:
    text = one_line(raw)
    assert cell_len(cut(text, width)) <= width
    assert cut(text, cell_len(text)) == text


def test_cut_marks_what_it_took() -> None:
    assert cut("abcdef", 4) == "abc…"
    assert cut("日本語日本語", 6) == "日本…"


@given(st.text().filter(lambda name: "\0" not in name))
def test_a_quoted_name_is_one_word_of_a_shell(name: str) -> None:
    assert shlex.split(f"workbench resume {quoted(name)} --now") == ["workbench", "resume", name, "--now"]
    assert quoted("2026-03-04-1506-support-tone-dpo") == "2026-03-04-1506-support-tone-dpo"
