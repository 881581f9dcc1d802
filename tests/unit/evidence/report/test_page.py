"""The page: one file, nothing loaded, no script, whatever is written in the run's folder."""

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.evidence.report.a_report import HOSTILE, some_sources
from tests.unit.evidence.report.test_markup import Seen
from workbench.evidence.report.html import to_html
from workbench.evidence.report.write import compose
from workbench.text import safe

_VOID = {"meta", "link", "br", "img", "hr", "input"}


def page(text: str = "plain") -> str:
    return to_html(compose(some_sources(text)))


def shape(document: str) -> list[str]:
    """Every start tag with the names of its attributes, every end tag: all but texts and values."""
    found: list[str] = []

    class Parser(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.append(f"<{tag} {' '.join(name for name, _ in attrs)}>")

        def handle_endtag(self, tag: str) -> None:
            found.append(f"</{tag}>")

        def handle_comment(self, data: str) -> None:
            found.append(f"<!--{data}-->")

    Parser().feed(document)
    return found


@pytest.fixture(scope="module")
def plain_shape() -> list[str]:
    return shape(page())


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_does_not_change_the_pages_shape(plain_shape: list[str], text: str) -> None:
    hostile = page(text)
    assert shape(hostile) == plain_shape
    assert safe(text).split("\n")[0] in Seen(hostile).text


@settings(max_examples=30, deadline=None)
@given(st.text(st.characters(codec="utf-8"), min_size=1))
def test_no_text_changes_the_pages_shape(text: str) -> None:
    assert shape(page(f"a{text}")) == shape(page())


def test_all_tags_are_closed_in_order() -> None:
    opened: list[str] = []

    class Parser(HTMLParser):
        def handle_starttag(self, tag: str, _: list[tuple[str, str | None]]) -> None:
            if tag not in _VOID:
                opened.append(tag)

        def handle_startendtag(self, *_: object) -> None:
            """It is closed as it is opened."""

        def handle_endtag(self, tag: str) -> None:
            assert opened.pop() == tag

    Parser().feed(page())
    assert opened == []


def test_nothing_is_loaded_and_nothing_runs() -> None:
    seen = Seen(page())
    assert not {"script", "iframe", "img", "object", "embed", "form", "base"} & set(seen.tags)
    assert not [name for name, _ in seen.attributes if name.startswith("on") or name in ("src", "style", "action")]
    links = [value or "" for name, value in seen.attributes if name in ("href", "xlink:href")]
    assert all(link.startswith("#") or link == "data:," for link in links)


def test_the_policy_allows_this_style_alone() -> None:
    document = page()
    (style,) = re.findall(r"<style>(.*?)</style>", document, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = next(value for name, value in Seen(document).attributes if name == "content" and value and "src" in value)
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    )
    assert "url(" not in style
    assert "@import" not in style


def test_names_are_unique_and_what_refers_to_them_finds_them() -> None:
    attributes = Seen(page()).attributes
    names = [value for name, value in attributes if name == "id"]
    assert len(names) == len(set(names))
    referred = [part for name, value in attributes if name == "aria-labelledby" for part in (value or "").split()]
    referred += [value[1:] for name, value in attributes if name == "href" and value and value.startswith("#")]
    assert referred
    assert set(referred) <= set(names)


def test_the_same_sources_give_the_same_page() -> None:
    assert page() == page()


def test_it_begins_with_the_verdict_and_has_every_part() -> None:
    text = Seen(page()).text
    assert text.index("1 of 4 claims holds") < text.index("Verdicts, each with its 95% interval")
    titles = re.findall(r"<h2 [^>]*>([^<]*)</h2>", page())
    assert titles == [
        "Claims", "Before and after", "Classified answers", "Held-out pairs", "By tag", "Worst regressions",
        "Token by token", "What they say", "Training", "Data", "Model and settings", "What this does not prove",
    ]  # fmt: skip


def test_without_evidence_the_training_is_told_and_that_nothing_is_proved() -> None:
    document = to_html(compose(some_sources(measured=False)))
    assert "No evidence yet" in document
    assert "workbench evaluate 2026-01-02-0304-some-dpo" in document
    assert re.findall(r"<h2 [^>]*>([^<]*)</h2>", document) == [
        "Claims", "What they say", "Training", "Data", "Model and settings", "What this does not prove",
    ]  # fmt: skip


def _luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(first: str, second: str) -> float:
    low, high = sorted((_luminance(first), _luminance(second)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_every_text_has_contrast_enough(number: int) -> None:
    """WCAG AA, in light, dark and print."""
    (style,) = re.findall(r"<style>(.*?)</style>", page(), re.DOTALL)
    block = re.findall(r":root \{(.*?)\}", style, re.DOTALL)[number]
    colours = {
        name: value if len(value) == 7 else "#" + "".join(2 * part for part in value[1:])
        for name, value in re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{3,6})", block)
    }
    assert len(colours) > 10
    texts = ("ink", "soft", "accent", "good", "bad", "unsure")
    pairs = [(text, ground) for text in texts for ground in ("paper", "card")]
    pairs += [("ink", shade) for shade in ("up1", "up2", "up3", "down1", "down2", "down3", "bad-tint")]
    for text, ground in pairs:
        assert _contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
