"""As Markdown: what others wrote shows as it is, and does nothing."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from tests.unit.evidence.report.a_report import HOSTILE, some_sources
from tests.unit.evidence.report.test_markup import Seen
from workbench.evidence.report.markdown import code, plain, to_markdown
from workbench.evidence.report.write import compose
from workbench.text import one_line

ANY = st.text(st.characters(codec="utf-8")) | st.text("`|\\ a\n") | st.sampled_from(HOSTILE)


def rendered(markdown: str) -> str:
    return MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(markdown)


@given(ANY)
@example("`")
@example("a``b`")
@example(" x ")
def test_code_shows_what_it_was_given(text: str) -> None:
    seen = Seen(rendered(f"x {code(text)} y"))
    assert seen.text.strip() == f"x {one_line(text)} y" if one_line(text) else "x  y"
    assert seen.tags == (["p", "code"] if one_line(text) else ["p"])


@given(ANY, ANY)
@example("a\\|b", "\\")
@example("\\\\|", "|")
def test_a_cell_stays_a_cell(first: str, second: str) -> None:
    table = f"| a | b |\n|---|---|\n| {code(first, in_table=True)} | {code(second, in_table=True)} |\n| x | y |"
    seen = Seen(rendered(table))
    assert seen.tags.count("tr") == 3
    assert seen.tags.count("td") == 4
    assert seen.tags.count("code") == bool(one_line(first)) + bool(one_line(second))


@given(ANY)
def test_github_finds_the_same_cells(text: str) -> None:
    """GitHub takes pipes for borders that an even number of backslashes is before; markdown-it looks at one alone."""
    cell = code(text, in_table=True)
    place = cell.find("|")
    while place >= 0:
        before = cell[:place]
        assert (len(before) - len(before.rstrip("\\"))) % 2 == 1
        place = cell.find("|", place + 1)


@given(ANY)
def test_plain_text_stays_text(text: str) -> None:
    seen = Seen(rendered(plain(text)))
    assert set(seen.tags) <= {"p", "code"}
    if "code" not in seen.tags:
        assert seen.text.strip() == one_line(text)


@pytest.mark.parametrize("live", ["@someone", "see #12", "http://example.com", "www.example.com"])
def test_what_github_makes_live_becomes_code(live: str) -> None:
    assert plain(live) == f"`{live}`"


def test_our_own_words_stay_readable() -> None:
    assert plain("Held-out pairs: 0.443 (≥ 0.15), after < 0.001.") == r"Held-out pairs: 0.443 (≥ 0.15), after \< 0.001."
    assert plain("1. x") == r"1\. x"
    assert plain("- x") == r"\- x"
    assert plain("---") == r"\---"


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_changes_nothing_but_words(text: str) -> None:
    allowed = {"h1", "h2", "p", "strong", "ul", "li", "code", "table", "thead", "tbody", "tr", "th", "td", "br"}
    seen = Seen(rendered(to_markdown(compose(some_sources(text)))))
    assert set(seen.tags) <= allowed
    assert not seen.attributes or {name for name, _ in seen.attributes} <= {"style"}  # of the columns' alignment
    rows = to_markdown(compose(some_sources("plain"))).count("\n|")
    assert to_markdown(compose(some_sources(text))).count("\n|") == rows
    assert one_line(text) in seen.text


def test_it_begins_with_what_is_proved_and_is_the_same_every_time() -> None:
    written = to_markdown(compose(some_sources()))
    lines = written.splitlines()
    assert lines[0] == "# Alignment report: `plain`"
    assert lines[2] == "**1 of 4 claims holds, 2 do not; 1 cannot be judged.**"
    assert written == to_markdown(compose(some_sources()))
    assert "<svg" not in written


def test_tokens_that_moved_are_listed_with_their_change() -> None:
    written = to_markdown(compose(some_sources("tok")))
    assert "moved: `tok` −2.5, `tok` +2.4" in written
