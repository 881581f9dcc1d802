"""Whatever a pair holds: nothing crashes, nothing reaches the terminal raw, nothing is out of line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.widgets import Static

from tests.tui.pairs_data import make_pair
from tests.tui.pairs_screen import opened
from workbench.pairs.diff import word_diff
from workbench.pairs.pair import Message, Pair, plain
from workbench.pairs.store import write_pairs
from workbench.text import editable, edited, safe
from workbench.tui.widgets.fields import LineField, TextField
from workbench.tui.widgets.pair_table import Known, cells, columns, parts
from workbench.tui.widgets.pair_view import lay_out, wrap
from workbench.workspace import Workspace

WILD = [
    "\x1b]52;c;aGk=\x07 and \x1b[31mred",
    "[/] [bold red]x[/bold red] [link=file:///etc/passwd]y[/link] \\[",
    "\u202egnitirw\u202c \u200b\u2066zero\u2069 width",
    "x" * 10_000,
    "漢字かな交じり文 " * 40 + "👩\u200d👩\u200d👧 🇩🇪 é e\u0301",
    "line one\r\nline two\rthree\u2028four\x85five\ttab\x0bvt",
    "   indented\n\n\n\ncode:\n    if x:\n\ty",
    "",
    "\x00\x7f\x9b31m \ud7ff",
]
FORBIDDEN = set(map(chr, (*range(0x20), 0x7F, *range(0x80, 0xA0), 0x200B, 0x2028, 0x202C, 0x202E, 0x2066, 0x2069)))
TEXT = st.text(st.characters(codec="utf-8"), max_size=200)
SPELLED = st.text(st.sampled_from("\u27e8\u27e90123ABCDEF2028\x1b\u241b\u2421\u200d\x9b\n\t\r a"), max_size=30)


def wild_pairs() -> list[Pair]:
    return [
        make_pair(
            number,
            prompt=(Message("system", other), Message("user", wild)),
            chosen=(Message("assistant", wild + other),),
            rejected=(Message("assistant", other + " " + wild),),
            tags=(wild[:50], "b"),
            note=other,
            source=wild[:20],
        )
        for number, (wild, other) in enumerate(zip(WILD, [*WILD[1:], WILD[0]], strict=True), 1)
    ]


@pytest.mark.parametrize("size", [(80, 24), (160, 45), (30, 12)])
async def test_wild_text_is_shown_in_line_and_harmless(tmp_path: Path, size: tuple[int, int]) -> None:
    write_pairs(tmp_path / "pairs" / "wild.jsonl", wild_pairs())
    async with opened(Workspace.find(tmp_path), size) as screen:
        for _ in WILD:
            strips = screen.pilot.app.screen._compositor.render_strips()
            shown = "".join(strip.text for strip in strips)
            assert not FORBIDDEN & set(shown)
            assert {cell_len(strip.text) for strip in strips} == {size[0]}
            await screen.press("j")


async def test_wild_text_can_be_edited_and_comes_back_unharmed(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs" / "wild.jsonl", wild_pairs())
    async with opened(Workspace.find(tmp_path)) as screen:
        for number in (1, 2, 3, 6, 9):
            screen.table.go_to(number - 1)
            await screen.settle()
            await screen.press("e")
            fields = list(screen.pilot.app.screen.query(TextField))
            assert not FORBIDDEN - {"\n", "\t"} & set("".join(field.text for field in fields))
            fields[-1].insert("!", (0, 0))
            await screen.press("ctrl+s")
            before, after = wild_pairs()[number - 1], screen.on_disk("wild")[number - 1]
            assert after.chosen == before.chosen
            assert plain(after.rejected) == "!" + plain(before.rejected)
            for key in ("t", "o"):
                await screen.press(key)
                assert not FORBIDDEN & set(screen.pilot.app.screen.query_one(LineField).value)
                await screen.press("enter")
            assert screen.on_disk("wild")[number - 1].note == before.note


async def test_a_query_is_not_markup_either(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs" / "wild.jsonl", wild_pairs())
    async with opened(Workspace.find(tmp_path)) as screen:
        await screen.press("slash", "left_square_bracket", "slash", "right_square_bracket", "colon", "b")
        assert "[/]" in screen.pilot.app.screen.query_one("Input").value  # type: ignore[attr-defined]
        assert screen.pilot.app.screen.query_one("#found", Static)


@given(TEXT | SPELLED)
def test_what_is_edited_comes_back(text: str) -> None:
    for one_line in (False, True):
        shown = editable(text, one_line=one_line)
        assert edited(shown) == text
        allowed = set() if one_line else {"\n", "\t"}
        assert safe(shown) == shown.replace("\t", "    ")
        assert not (FORBIDDEN - allowed) & set(shown)


def test_a_character_can_be_typed_by_its_number() -> None:
    assert edited("a\u27e8200D\u27e9b") == "a\u200db"
    assert edited("\u27e8FFFFFF\u27e9") == "\u27e8FFFFFF\u27e9"


@given(st.lists(st.tuples(st.sampled_from(["b", "a"]), TEXT.map(safe)), max_size=6), st.integers(2, 60))
def test_wrapping_loses_nothing_but_white_space_and_keeps_the_width(runs: list[tuple[str, str]], width: int) -> None:
    lines = wrap(runs, width)
    assert all(cell_len("".join(text for _, text in line)) <= width for line in lines)
    for style in ("b", "a"):
        before = "".join(text for name, text in runs if name == style)
        after = "".join(text for line in lines for name, text in line if name == style)
        assert "".join(after.split()) == "".join(before.split())


def test_wrapping_keeps_indentation_empty_lines_and_words() -> None:
    lines = ["".join(text for _, text in line) for line in wrap([("a", "a:\n\n    if x:\nlong words"), ("b", "!")], 8)]
    assert lines == ["a:", "", "    if", "x:", "long", "words!"]


def test_a_word_that_begins_alike_is_marked_as_a_whole() -> None:
    pair = make_pair(1, prompt="q", chosen="Well, I'd go", rejected="Well, I will go")
    lines = lay_out(pair, 60, word_diff("Well, I'd go", "Well, I will go")).lines
    text = "\n".join("".join(part for _, part in line) for line in lines)
    assert "Well, +I'd go" in text
    assert "Well, I −will go" in text


def test_a_text_of_megabytes_is_cut_and_says_so() -> None:
    pair = make_pair(1, prompt="q", chosen="word " * 400_000, rejected="no")
    lines = lay_out(pair, 80, None).lines
    assert "… and 1,940,000 more" in "".join(part for line in lines for _, part in line)
    assert len(lines) < 10_000


@given(st.integers(1, 200), st.integers(0, 10**7), TEXT, st.booleans(), st.booleans())
def test_a_row_has_the_width_of_the_table(width: int, total: int, text: str, findings: bool, margin: bool) -> None:
    shown = columns(width, total, findings=findings, margin=margin)
    pair = make_pair(1, prompt=text, chosen=text, rejected="", tags=(text,))
    line = "".join(part for _, part in parts(shown, cells(pair, Known(max(1, total), finding=text))))
    head = sum(column.width for column in shown) + 2 * (len(shown) - 1)
    assert cell_len(line) == head
    assert head <= max(width, 30)


def test_the_narrower_the_fewer_columns() -> None:
    names = [[column.name for column in columns(width, 500)] for width in (120, 77, 60, 30)]
    assert names[0] == ["#", "status", "prompt", "chosen", "rejected", "ratio", "tags"]
    assert names[1] == names[0][:-1]
    assert names[2] == ["#", "status", "prompt", "ratio"]
    assert names[3] == ["#", "status", "prompt"]
