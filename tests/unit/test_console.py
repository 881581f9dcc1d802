"""What reaches a terminal, whoever prints it; and JSON that is safe there and still says the same."""

from __future__ import annotations

import io
import json
import re
import sys
import traceback

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.console import ProgressBar, SafeStream, StatusLine, guarded, note, print_json, print_table, say
from workbench.text import in_json

OBEYED = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")
HOSTILE = "a\x1b]0;title\x07b\x9b31mc\u202ed\u2066e\x7ff\rg"


class Terminal(io.StringIO):
    """A stream that takes itself for a terminal."""

    def isatty(self) -> bool:
        return True


def obeyed(text: str) -> list[str]:
    return OBEYED.findall(text)


@given(st.text(st.characters()))
def test_nothing_that_a_terminal_obeys_gets_through_the_stream(text: str) -> None:
    behind = io.StringIO()
    stream = SafeStream(behind)
    assert stream.write(text) == len(text)
    stream.writelines([text])
    assert not obeyed(behind.getvalue())


def test_say_and_note_are_safe_by_themselves(capsys: pytest.CaptureFixture[str]) -> None:
    say(HOSTILE)
    note(HOSTILE)
    print_table([HOSTILE], [[HOSTILE]])
    print_json({HOSTILE: [HOSTILE]})
    out, err = capsys.readouterr()
    assert "title" in out
    assert "title" in err
    assert not obeyed(out + err)


def test_what_libraries_click_and_tracebacks_print_is_covered(capsys: pytest.CaptureFixture[str]) -> None:
    with guarded():
        sys.stdout.write(HOSTILE)
        click.echo(HOSTILE, err=True)
        traceback.print_exception(ValueError(HOSTILE))
        assert not hasattr(sys.stdout, "buffer")
    out, err = capsys.readouterr()
    assert not obeyed(out + err)
    assert err.count("title") >= 2
    print(HOSTILE)
    assert obeyed(capsys.readouterr().out)  # as before, once it is over


def test_a_line_that_is_redrawn_obeys_us_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with guarded():
        with StatusLine() as line:
            line.show(HOSTILE)
            line.stage(HOSTILE)
        with ProgressBar(HOSTILE) as bar:
            bar.line(HOSTILE)
            bar.update(HOSTILE, 1, 2, HOSTILE)
    told = terminal.getvalue()
    assert "\x1b[K" in told
    assert "title" in told
    ours = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", told)
    assert not obeyed(ours)


_TEXT = st.text(st.characters(exclude_categories=["Cs"]))
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | _TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4),
    max_leaves=12,
)


@given(_JSON)
def test_json_says_the_same_and_has_nothing_that_a_terminal_obeys(document: object) -> None:
    text = in_json(json.dumps(document, ensure_ascii=False, indent=2))
    assert json.loads(text) == document
    assert not obeyed(text)


@pytest.mark.parametrize("text", ["\x1b]0;x\x07", "\x9b31m", "\x7f", "\u202e", "\U000e0041", "\ud800", "\ufeff"])
def test_json_escapes(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    print_json(text)
    printed = capsys.readouterr().out
    assert json.loads(printed) == text
    assert printed.isascii()
    assert printed.strip("\n").isprintable()
