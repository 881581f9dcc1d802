"""Drawings are well-formed, stay within their frames, and say in words what they show."""

import itertools
import math
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.evidence.report.a_report import HOSTILE
from workbench.evidence.report.svg import (
    NamedCurve,
    Point,
    _spread,
    interval_plot,
    line_chart,
    reliability,
    two_bars,
)
from workbench.runs.series import Curve

NUMBERS = st.floats(-1e6, 1e6)


def curve(*ys: float) -> Curve:
    return Curve(tuple(float(x) for x in range(len(ys))), ys, ys[-1] if ys else None)


def parsed(drawing: str) -> ElementTree.Element:
    """The drawing as XML, every shape within its frame."""
    root = ElementTree.fromstring(drawing)
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    for each in root.iter():
        for name, value in each.attrib.items():
            if name in ("x", "x1", "x2", "cx"):
                assert -0.1 <= float(value) <= width + 0.1, (each.tag, name, value)
            if name in ("y", "y1", "y2", "cy"):
                assert -0.1 <= float(value) <= height + 0.1, (each.tag, name, value)
            if name == "points":
                for point in value.split():
                    x, y = map(float, point.split(","))
                    assert -0.1 <= x <= width + 0.1
                    assert -0.1 <= y <= height + 0.1
    return root


def words(root: ElementTree.Element, tag: str) -> str:
    return " ".join(each.text or "" for each in root.iter(tag))


def test_a_chart_says_what_it_shows() -> None:
    lines = [
        NamedCurve("training", curve(1.0, 3.0, 0.5), "run train"),
        NamedCurve("held-out", curve(2.0, 0.25), "run", dots=True),
    ]
    root = parsed(line_chart("chart-loss", "Loss", lines, x_name="step"))
    assert words(root, "title") == "Loss"
    assert "training: 1 at step 0, 0.5 at step 2; lowest 0.5, highest 3." in words(root, "desc")
    assert root.attrib["role"] == "img"
    ids = {each.attrib["id"] for each in root.iter() if "id" in each.attrib}
    assert set(root.attrib["aria-labelledby"].split()) == ids
    assert len(list(root.iter("circle"))) == 2
    assert [each.text for each in root.iter("text")][-2:] == ["training", "held-out"]


def test_higher_values_are_higher_up() -> None:
    root = parsed(line_chart("c", "t", [NamedCurve("", curve(0.0, 1.0, 0.5), "run")], x_name="step"))
    points = next(root.iter("polyline")).attrib["points"].split()
    heights = [float(point.split(",")[1]) for point in points]
    assert heights[1] < heights[2] < heights[0]


def test_a_chart_of_nothing_says_so() -> None:
    root = parsed(line_chart("c", "Loss", [NamedCurve("x", Curve(), "run")], x_name="step"))
    assert words(root, "desc") == "There are no points."
    assert not list(root.iter("polyline"))


@given(st.lists(st.lists(NUMBERS, min_size=1, max_size=5), max_size=4))
def test_any_curves_are_within_the_frame(curves: list[list[float]]) -> None:
    parsed(line_chart("c", "t", [NamedCurve("name", curve(*ys), "run", dots=True) for ys in curves], x_name="step"))


def test_values_beyond_given_bounds_stay_at_the_edge() -> None:
    parsed(
        line_chart(
            "c", "t", [NamedCurve("n", curve(-5.0, 0.5, 9.0), "run", dots=True)], x_name="step", bounds=(0.0, 1.0)
        )
    )


@given(st.lists(st.floats(0, 200), max_size=6))
def test_names_do_not_cover_each_other(heights: list[float]) -> None:
    moved = _spread(heights)
    order = sorted(moved)
    assert all(second - first >= 11.9 for first, second in itertools.pairwise(order))
    ranked = sorted(range(len(heights)), key=lambda place: heights[place])
    assert [moved[place] for place in ranked] == order


@given(NUMBERS, NUMBERS, st.floats(0, 10), st.one_of(st.none(), NUMBERS))
def test_any_interval_is_within_the_frame(before: float, after: float, width: float, threshold: float | None) -> None:
    drawing = interval_plot(
        "i", "t", (before, before - width, before + width), (after, after, after), axis=(0, 1), threshold=threshold
    )
    parsed(drawing)


def test_an_interval_tells_its_numbers_and_marks_base_and_run_by_shape() -> None:
    root = parsed(interval_plot("i", "t", (0.2, 0.1, 0.3), (0.9, 0.8, 1.0), axis=(0, 1), threshold=0.6))
    told = words(root, "desc")
    assert "Before: 0.2, 95% interval 0.1 to 0.3." in told
    assert "After: 0.9, 95% interval 0.8 to 1." in told
    assert "Threshold: 0.6." in told
    dots = list(root.iter("circle"))
    assert [each.attrib["class"] for each in dots] == ["dot base", "dot run"]
    assert float(dots[0].attrib["cx"]) < float(dots[1].attrib["cx"])


def test_an_axis_of_no_length_and_an_infinite_bound_are_drawn() -> None:
    parsed(interval_plot("i", "t", (0.0, 0.0, 0.0), (0.0, 0.0, 0.0), axis=(0, 0)))
    parsed(interval_plot("i", "t", (0.5, 0.1, math.inf), (0.5, -math.inf, 0.6), axis=(0, 1)))


def test_calibrated_points_lie_on_the_diagonal() -> None:
    points = [Point(share, (share, share - 0.1, min(share + 0.1, 1.0)), 10) for share in (0.6, 0.8, 1.0)]
    root = parsed(reliability("r", "Reliability", points))
    line = next(each for each in root.iter("line") if each.attrib["class"] == "threshold")
    x1, y1, x2, y2 = (float(line.attrib[name]) for name in ("x1", "y1", "x2", "y2"))
    for dot in root.iter("circle"):
        x, y = float(dot.attrib["cx"]), float(dot.attrib["cy"])
        assert y == pytest.approx(y1 + (x - x1) / (x2 - x1) * (y2 - y1), abs=0.05)
    assert "Confidence 0.8: right 0.8 of 10." in words(root, "desc")


@given(st.floats(0, 1), st.floats(0, 1))
def test_bars_are_as_tall_as_the_probabilities(before: float, after: float) -> None:
    root = parsed(two_bars(before, after))
    tall = [float(each.attrib["height"]) for each in root.iter("rect")]
    for bar, share in zip(tall, (before, after), strict=True):
        assert bar == pytest.approx(max(15 * share, 0.6), abs=0.01)


@pytest.mark.parametrize("text", HOSTILE)
def test_names_of_others_stay_text(text: str) -> None:
    plain = parsed(line_chart("c", "t", [NamedCurve("x", curve(0.0, 1.0), "run")], x_name="step"))
    root = parsed(line_chart("c", text, [NamedCurve(text, curve(0.0, 1.0), "run")], x_name=text))
    assert [each.tag for each in root.iter()] == [each.tag for each in plain.iter()]
