"""The report in a real browser: whatever is written in a run, nothing runs, nothing is asked for, nothing breaks."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.devtools import CHROMIUM, Page, browser
from tests.unit.evidence.report.a_report import HOSTILE, some_sources
from workbench.evidence.report.html import to_html
from workbench.evidence.report.write import compose

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")

_SHAPE = "[...document.querySelectorAll('*')].map(e => e.tagName + [...e.attributes].map(a => ' ' + a.name).join(''))"
_BACKGROUND = "getComputedStyle(document.body).backgroundColor"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


def written(folder: Path, text: str = "plain") -> Path:
    """The report of a run in which every text of others is `text`."""
    path = folder / "report.html"
    path.write_text(to_html(compose(some_sources(text))), encoding="utf-8")
    return path


def complaints(page: Page) -> list[dict[str, Any]]:
    """Everything that the browser found fault with, or that a script said or did."""
    return [
        event
        for method in ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")
        for event in page.told(method)
    ] + page.told("Page.javascriptDialogOpening")


def requests(page: Page) -> list[str]:
    return [event["request"]["url"] for event in page.told("Network.requestWillBeSent")]


def test_this_browser_tells_of_scripts_and_requests(chromium: Page, tmp_path: Path) -> None:
    """Without this, the tests below would prove nothing."""
    path = tmp_path / "bad.html"
    path.write_text(
        "<p id=a>x</p><script>a.remove(); console.error('ran')</script><img src='http://127.0.0.1:9/x.png'>"
    )
    chromium.open(path)
    assert "http://127.0.0.1:9/x.png" in requests(chromium)
    assert complaints(chromium)
    assert chromium.evaluate("document.querySelector('p')") is None


def test_the_policy_stops_what_escaping_let_through(chromium: Page, tmp_path: Path) -> None:
    """The second line of defence holds without the first."""
    path = written(tmp_path)
    attack = (
        "<script>document.title='run'</script><img src='http://127.0.0.1:9/x.png'><style>body{display:none}</style>"
    )
    path.write_text(path.read_text("utf-8").replace("</main>", f"{attack}</main>"), "utf-8")
    chromium.open(path)
    assert chromium.evaluate("document.title") == "plain: alignment report"
    assert chromium.evaluate("getComputedStyle(document.body).display") != "none"
    blocked = [event for event in chromium.told("Network.loadingFailed") if event.get("blockedReason") == "csp"]
    assert blocked or "http://127.0.0.1:9/x.png" not in requests(chromium)


@pytest.fixture(scope="module")
def shape(chromium: Page, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The elements of a page of harmless text, each with the names of its attributes."""
    chromium.open(written(tmp_path_factory.mktemp("plain")))
    found: list[str] = chromium.evaluate(_SHAPE)
    assert len(found) > 500
    return found


@pytest.mark.parametrize("text", [*HOSTILE, "\n".join(HOSTILE)], ids=range(len(HOSTILE) + 1))
def test_hostile_text_is_text(chromium: Page, shape: list[str], tmp_path: Path, text: str) -> None:
    path = written(tmp_path, text)
    chromium.open(path)
    assert chromium.evaluate(_SHAPE) == shape
    assert chromium.evaluate("document.title").endswith(": alignment report")
    assert chromium.evaluate("location.href") == path.as_uri()
    assert requests(chromium) == [path.as_uri()]
    assert complaints(chromium) == []


def test_it_follows_the_users_taste_for_light_or_dark(chromium: Page, tmp_path: Path) -> None:
    chromium.open(written(tmp_path))
    looks = {}
    for scheme in ("dark", "light"):
        chromium.prefer(scheme)
        looks[scheme] = (chromium.evaluate(_BACKGROUND), chromium.evaluate("getComputedStyle(document.body).color"))
    assert looks == {
        "light": ("rgb(252, 251, 249)", "rgb(29, 37, 48)"),
        "dark": ("rgb(20, 24, 29)", "rgb(230, 233, 236)"),
    }


def test_it_prints(chromium: Page, tmp_path: Path) -> None:
    chromium.open(written(tmp_path))
    printed = chromium.pdf()
    assert printed.startswith(b"%PDF-")
    assert 3 <= printed.count(b"/Type /Page\n") + printed.count(b"/Type /Page ") <= 20
    assert complaints(chromium) == []


@pytest.mark.parametrize("text", ["plain", "w" * 400], ids=["plain", "one long word"])
def test_nothing_is_wider_than_the_window(chromium: Page, tmp_path: Path, text: str) -> None:
    """Tables scroll by themselves; the page does not."""
    chromium.open(written(tmp_path, text))
    widths = (320, 390, 768, 1280)
    found = []
    for width in widths:
        chromium.resize(width, 900, mobile=width < 500)
        found.append(chromium.evaluate("document.documentElement.scrollWidth"))
    assert found == list(widths)


def test_a_reader_of_screens_finds_its_way(chromium: Page, tmp_path: Path) -> None:
    """Landmarks, headings, names of tables and pictures, as the browser tells them to assistive technology."""
    chromium.open(written(tmp_path))
    nodes = [node for node in chromium("Accessibility.getFullAXTree")["nodes"] if not node.get("ignored")]
    names: dict[str, list[str]] = {}
    for node in nodes:
        names.setdefault(node["role"]["value"], []).append(node.get("name", {}).get("value", ""))
    assert {"main", "navigation", "banner", "contentinfo"} <= names.keys()
    assert names["heading"][:2] == ["plain", "Claims"]
    images = names.get("image", []) + names.get("img", [])
    assert len(images) >= 5
    assert all(images)
    assert all(names["table"])
    assert names["columnheader"].count("verdict") == 1
    described = [
        node for node in nodes if node["role"]["value"] in ("image", "img") and "Loss" in node["name"]["value"]
    ]
    assert described


def test_the_contents_lead_to_the_sections(chromium: Page, tmp_path: Path) -> None:
    chromium.open(written(tmp_path))
    links = chromium.evaluate(
        "[...document.querySelectorAll('nav a')].map(a => document.querySelector(a.hash)?.tagName)"
    )
    assert len(links) == 12
    assert set(links) == {"H2"}
