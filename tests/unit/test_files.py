"""What is damaged is named; what is not is read as what it says."""

import pytest

from workbench.files import json_in, toml_in


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "'c' twice"),
        ("NaN", "NaN"),
        ("[-Infinity]", "-Infinity"),
        ("[1.5, 1e999]", "1e999"),
        ("1" * 400 + ".5", "which is none"),
        ("9" * 5000, "4300 digits"),
        ("[" * 100_000, "nested too deeply"),
        ('"\\ud800"', "not UTF-8"),
        (b"\xff\xfe{\x00}\x00", "not UTF-8"),
        ("{", "Expecting"),
        ("", "Expecting"),
    ],
)
def test_json_that_is_damaged_is_named(text: str | bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        json_in(text)


def test_json_is_read_as_what_it_says() -> None:
    assert json_in(b'{"a": [1e300, -1.5E-400, 1.0], "b": "\\ud83d\\ude00", "c": {"a": null}}') == {
        "a": [1e300, 0.0, 1.0],
        "b": "😀",
        "c": {"a": None},
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a = " + "[" * 5000, "nested too deeply"),
        ("a = 1\na = 2", "overwrite"),
        (b"a = '\xff'", "not UTF-8"),
        ("a = 1".encode("utf-16"), "not UTF-8"),
        ("a = ", "Invalid"),
    ],
)
def test_toml_that_is_damaged_is_named(text: str | bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        toml_in(text)
