from html import unescape
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from tests.unit.evidence.report.a_report import HOSTILE
from workbench.evidence.report.html import element, escape
from workbench.text import safe

ANY = st.text(st.characters(codec=None, exclude_categories=[])) | st.sampled_from(HOSTILE)


class Seen(HTMLParser):
    """What a parser sees in a document."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(document)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


@given(ANY)
def test_any_text_stays_text(text: str) -> None:
    escaped = escape(text)
    assert not set("<>\"'") & set(escaped)
    assert unescape(escaped) == safe(text)
    seen = Seen(f"<p title='{escaped}' lang=\"{escaped}\">{escaped}</p>")
    assert seen.tags == ["p"]
    assert seen.text == safe(text)
    assert seen.attributes == [("title", safe(text)), ("lang", safe(text))]


def test_markup_is_left_as_it_is() -> None:
    assert escape(Markup("<b>x</b>")) == "<b>x</b>"
    assert escape(escape("<")) == "&lt;"


@pytest.mark.parametrize("invisible", ["\u202e", "\u2066", "\u200b", "\x1b", "\x00", "\x9b", "\ufeff", "\U000e0041"])
def test_what_cannot_be_seen_is_made_visible(invisible: str) -> None:
    assert invisible not in escape(f"a{invisible}b")
    assert invisible not in element("p", f"a{invisible}b", title=f"a{invisible}b")


@given(ANY, ANY)
def test_an_elements_children_and_attributes_are_text(child: str, attribute: str) -> None:
    seen = Seen(element("p", child, element("b", child), title=attribute))
    assert seen.tags == ["p", "b"]
    assert seen.attributes == [("title", safe(attribute))]


def test_attributes_are_named_as_svg_has_them_and_rounded() -> None:
    made = element("svg", class_="a", view_box="0 0 1 1", stroke_width=1 / 3, x=2.0, role=None)
    assert made == '<svg class="a" viewBox="0 0 1 1" stroke-width="0.33" x="2"/>'
