"""Lines that repaint only the cells that changed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from textual.app import App, ComposeResult
from textual.content import Content
from textual.geometry import Region
from textual.strip import Strip

from workbench.tui.widgets.quiet_lines import QuietLines, _changed

words = st.text(st.sampled_from("ab ─⣿界e\u0301"), max_size=12)


class _App(App[None]):
    def compose(self) -> ComposeResult:
        yield QuietLines()


async def test_only_what_changed_is_painted_again() -> None:
    app = _App()
    async with app.run_test(size=(40, 5)) as pilot:
        lines = app.query_one(QuietLines)
        lines.show([Content("step 10/100"), Content("the same")])
        await pilot.pause()
        painted: list[Region] = []
        refresh = lines.refresh
        lines.refresh = lambda *regions, **rest: painted.extend(regions) or refresh(*regions, **rest)  # type: ignore[method-assign]
        lines.show([Content("step 11/100"), Content("the same")])
        assert painted == [Region(6, 0, 1, 1)]
        await pilot.pause()
        assert [strip.text.rstrip() for strip in app.screen._compositor.render_strips()][:2] == [
            "step 11/100",
            "the same",
        ]
        painted.clear()
        lines.show([Content("step 11/100"), Content("the same")])
        assert not painted


async def test_a_line_more_or_less_changes_the_height() -> None:
    app = _App()
    async with app.run_test(size=(20, 6)) as pilot:
        lines = app.query_one(QuietLines)
        for count in (1, 3, 2):
            lines.show([Content(f"line {number}") for number in range(count)])
            await pilot.pause()
            assert lines.size.height == count


@given(words, words)
def test_what_lies_outside_the_change_is_the_same(before: str, after: str) -> None:
    was, now = (Strip(Content(text).render_segments()).adjust_cell_length(26) for text in (before, after))
    span = _changed(was, now)
    if span is None:
        assert was.text.rstrip() == now.text.rstrip()
        return
    first, last = span
    assert 0 <= first < last <= 26
    assert was.crop(0, first).text == now.crop(0, first).text
    assert was.crop(last).text == now.crop(last).text
