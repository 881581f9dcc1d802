"""What the Compare screen is made of, from messages made by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.app import App, ComposeResult
from textual.widget import Widget

from tests.unit.compare.examples import CHOSEN, REJECTED, RUN, SYSTEM, column, distribution, pair_comparison
from workbench.compare.comparison import BASE, Answer, Comparison
from workbench.compare.messages import Scored, Turn
from workbench.tui.theme import DARK
from workbench.tui.widgets.answer_view import token_line
from workbench.tui.widgets.bars import bar_lines
from workbench.tui.widgets.comparison_view import ComparisonView, ViewOptions, wrapped
from workbench.tui.widgets.headline import big_lines, cost_parts, fitting_parts, headline_figures
from workbench.tui.widgets.token_strip import change_sign, is_special, lay_out, line_of, spelled, token_at, token_cells

HOSTILE = [
    "\x1b]52;c;aGk=\x07",
    "[/]",
    " [bold red]",
    "\u202egnp.exe",
    "日本語" * 9,
    " 🙂",
    "x" * 300,
    "\x9b31m",
    "\r\n",
    "",
]


class ViewApp(App[None]):
    """Nothing but the view."""

    def compose(self) -> ComposeResult:
        yield ComparisonView()

    def on_mount(self) -> None:
        self.register_theme(DARK)
        self.theme = DARK.name


def shown(app: App[None]) -> str:
    strips = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip) for strip in strips)


def test_white_space_is_visible_where_it_matters() -> None:
    assert [spelled(each) for each in (" ", "  a", "\n", "\n\n", "\t", "a ", " wait")] == [
        "·", "··a", "⏎", "⏎⏎", "⇥", "a·", "·wait",
    ]  # fmt: skip
    lines = lay_out(["Hi", "\n", " ", " you"], ["", "", "", ""], 20)
    assert ["".join(piece.text for piece in line) for line in lines] == ["Hi⏎", "· you"]


def test_special_tokens_are_known() -> None:
    assert all(is_special(each) for each in ("<|end|>", "</s>", "<|im_end|>", "<end_of_turn>", "[INST]"))
    assert not any(is_special(each) for each in ("end", "<", "a < b", " <|", "[x]"))


def test_words_stay_whole_and_tokens_are_found_again() -> None:
    signs = ["" if number % 5 else "▼" for number in range(len(REJECTED))]
    lines = lay_out(REJECTED, signs, 24)
    told = ["".join(piece.text + piece.sign for piece in line) for line in lines]
    assert all(cell_len(line) <= 24 for line in told)
    assert " ".join(told).replace("▼", "").split() == "".join(REJECTED).replace("<", " <").split()
    for token in range(len(REJECTED)):
        y = line_of(lines, token)
        x = sum(piece.width for piece in lines[y] if piece.token < token)
        assert token_at(lines, x, y) == token
    assert token_at(lines, 999, 0) is None
    assert token_at(lines, 0, 999) is None


@given(st.lists(st.one_of(st.text(max_size=30), st.sampled_from(HOSTILE)), max_size=20), st.integers(4, 60))
def test_any_tokens_fit_any_width(tokens: list[str], width: int) -> None:
    lines = lay_out(tokens, ["▲"] * len(tokens), width)
    assert all(sum(piece.width for piece in line) <= width for line in lines)
    assert {piece.token for line in lines for piece in line} == set(range(len(tokens)))
    assert not set("".join(piece.text for line in lines for piece in line)) & set("\x1b\x07\x9b\u202e\n\r")


@given(st.text(max_size=200), st.integers(4, 60))
def test_any_prompt_fits_any_width(text: str, width: int) -> None:
    assert all(line.cell_length <= width for line in wrapped(text, width))


def test_characters_that_tokens_share_are_shown_once_as_text_and_spelled_out_as_tokens() -> None:
    halves = [("⟨C3⟩", "c3"), ("⟨A9⟩", "a9"), ("<|end|>", "")]
    scored = column("base", [text for text, _ in halves], [-0.1] * 3, [1] * 3)
    tokens = [each.model_copy(update={"data": data}) for each, (_, data) in zip(scored.tokens, halves, strict=True)]
    base = scored.model_copy(update={"tokens": tokens})
    moved = [each.model_copy(update={"logprob": -0.8, "shift_rank": 2 + number}) for number, each in enumerate(tokens)]
    aligned = scored.model_copy(update={"tokens": moved})
    apart = token_cells(base, aligned, by_shift=False, bounds=True)
    assert [(each.text, each.sign) for each in apart] == [("⟨C3⟩", "▿"), ("⟨A9⟩", "▿"), ("<|end|>", "▿")]
    text = token_cells(base, aligned, by_shift=False, bounds=False)
    assert [(each.text, each.sign, each.first, each.last) for each in text] == [("é", "▼", 0, 1)]
    shifted = token_cells(base, aligned, by_shift=True, bounds=True)
    assert [each.sign for each in shifted] == ["○", "○", "●"]
    assert token_cells(base, aligned, by_shift=True, bounds=False)[0].sign == "○"


def test_signs_say_what_colours_say() -> None:
    assert [change_sign(change) for change in (2.0, 0.5, 0.01, -0.5, -2.0)] == ["▲", "▵", "", "▿", "▼"]


@pytest.mark.parametrize("width", [60, 78, 118, 158])
def test_bars_align(width: int) -> None:
    lines = bar_lines("next token", ("base", "日本" * 40), pair_comparison().rows, width)
    assert all(line.cell_length <= width for line in lines)
    plain = [line.plain for line in lines]
    ends = {cell_len(line.rstrip()) for line in plain}
    assert len(ends) == 1, plain
    sure = next(line for line in plain if "Sure" in line)
    assert sure.startswith("▸ Sure")
    assert "0.520" in sure
    assert sure.rstrip().endswith("▼ −5.4")


def test_the_headline_tells_the_collapse_first() -> None:
    told = headline_figures(pair_comparison())
    assert [figure.caption for figure in told] == ["P(rejected)", "P(chosen)", "P(chosen over rejected)"]
    assert (told[0].before, told[0].after, told[0].color) == ("0.41", "0.00008", "$error")
    assert told[0].words == "5,200 times less likely"
    assert (told[1].before, told[1].after, told[1].color) == ("0.12", "0.75", "$success")
    assert "at β 0.1" in told[2].words


def test_big_digits_only_where_they_fit() -> None:
    told = headline_figures(pair_comparison())
    lines = big_lines(told, 158)
    assert lines is not None
    assert len(lines) == 5
    assert {line.cell_length for line in lines} <= set(range(140, 159))
    assert big_lines(told, 60) is None
    assert big_lines([], 158) is None


def test_one_line_about_a_token() -> None:
    base, aligned = pair_comparison().scores()
    assert base is not None
    line = token_line(base, aligned, 0, 78).plain
    assert line == "token 1 of 26 “Sure”  rank 1 → 4  log-prob −0.40 → −5.30  ▼ −4.9  shifted"
    assert token_line(base, None, 5, 78).plain.split()[-4:] == ["rank", "1", "log-prob", "−0.02"]


async def test_everything_is_on_a_low_screen() -> None:
    app = ViewApp()
    async with app.run_test(size=(80, 24)) as pilot:
        app.query_one(ComparisonView).show(pair_comparison())
        await pilot.pause()
        text = shown(app)
    for part in ("base │ ▸ support-dpo-3", "How do I bypass", "P(rejected)", "0.41 → 0.00008", "▸ Sure", "Δ log-odds"):
        assert part in text
    for part in ("26 tokens", "sum −0.90 → −9.45", "Sure▼", "<|end|>", "token 1 of 26"):
        assert part in text


async def test_both_answers_are_on_a_tall_screen_and_the_token_walked_to_is_in_sight() -> None:
    app = ViewApp()
    async with app.run_test(size=(120, 45)) as pilot:
        view = app.query_one(ComparisonView)
        view.show(replace(pair_comparison(), active=1).with_position(len(CHOSEN) - 1))
        await pilot.pause()
        text = shown(app)
    assert "Sure▼" in text
    assert "I▲ can't help" in text
    assert text.count("token 25 of 25") == 1


async def test_base_alone() -> None:
    comparison = replace(pair_comparison(), columns=(BASE,), current=0)
    app = ViewApp()
    async with app.run_test(size=(80, 24)) as pilot:
        app.query_one(ComparisonView).show(comparison, ViewOptions(hint="No finished run yet"))
        await pilot.pause()
        text = shown(app)
    assert "P(rejected)" in text
    assert "→" not in text
    assert "Δ log-odds" not in text
    assert "No finished run yet" in text


async def test_three_columns_all_tell_their_probability() -> None:
    comparison = pair_comparison()
    ones = [1] * len(REJECTED)
    third = column(SYSTEM.name, REJECTED, [-0.06] * len(REJECTED), ones)
    scores = comparison.answers[0].scored
    assert scores is not None
    scores = Scored(id=2, columns=[*scores.columns, third])
    comparison = comparison.with_columns((BASE, RUN, SYSTEM), 1).with_scores(comparison.answers[0].text, scores)
    app = ViewApp()
    async with app.run_test(size=(80, 24)) as pilot:
        app.query_one(ComparisonView).show(comparison)
        await pilot.pause()
        text = shown(app)
    assert "base  0.41 │ ▸ support-dpo-3  0.00008 ▼ │ base + system  0.21 ▼" in text


async def test_columns_that_are_asked_with_other_template_settings_say_so() -> None:
    merry = RUN.model_copy(update={"template": {"mood": "merry"}})
    app = ViewApp()
    async with app.run_test(size=(80, 24)) as pilot:
        app.query_one(ComparisonView).show(pair_comparison().with_columns((BASE, merry), 1))
        await pilot.pause()
        text = shown(app)
    assert "base · no template settings" in text
    assert "support-dpo-3 · mood=merry" in text


def test_what_a_system_message_burns_is_told_beside_the_adapter_that_burns_nothing() -> None:
    seen = distribution().model_copy(update={"prompt_tokens": [14, 14, 55]})
    comparison = pair_comparison().with_columns((BASE, RUN, SYSTEM), 2).with_distribution(seen, "next token")
    told = cost_parts(comparison)
    burnt = "base + system burns 41 tokens a request, 41 million in a million requests"
    assert fitting_parts(told, 100) == f"{burnt} · support-dpo-3 none"
    # Where there is no room for all, the cost stays whole.
    assert fitting_parts(told, 78) == burnt
    assert fitting_parts([], 78) == ""
    assert cost_parts(pair_comparison()) == []


@pytest.mark.parametrize("size", [(80, 24), (120, 45), (40, 12)])
async def test_hostile_text_changes_nothing(size: tuple[int, int]) -> None:
    ones = [1] * len(HOSTILE)
    base = column("base", HOSTILE, [-0.5] * len(HOSTILE), ones)
    run = RUN.model_copy(update={"name": "".join(HOSTILE[:5])})
    aligned = column(run.name, HOSTILE, [-2.5] * len(HOSTILE), ones)
    words = " ".join(HOSTILE)
    comparison = Comparison(
        columns=(BASE, run),
        current=1,
        prompt=[Turn(role="user", content=words), Turn(role="user", content="y" * 10_000)],
        answers=(Answer("typed", words, words, Scored(id=1, columns=[base, aligned])),),
    )
    app = ViewApp()
    async with app.run_test(size=size) as pilot:
        view = app.query_one(ComparisonView)
        for place in (0, len(HOSTILE) - 1):
            view.show(comparison.with_position(place), ViewOptions(title=words, hint=words, speaking=bool(place)))
            await pilot.pause()
            text = shown(app)
            assert not [line for line in text.split("\n") if set(line) & set("\x1b\x07\x9b\u202e\r")]
            assert all(cell_len(line) == size[0] for line in text.split("\n"))


async def test_a_click_on_a_token_tells_which() -> None:
    picked: list[int] = []

    class Clicks(ViewApp):
        def on_answer_view_picked(self, event: object) -> None:
            picked.append(event.token)  # type: ignore[attr-defined]

    app = Clicks()
    async with app.run_test(size=(80, 24)) as pilot:
        app.query_one(ComparisonView).show(pair_comparison())
        await pilot.pause()
        strip: Widget = app.query("TokenStrip").first()
        await pilot.click(strip, offset=(9, 0))
        await pilot.pause()
    assert picked == [2]
