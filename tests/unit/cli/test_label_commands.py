"""What a person's keys say of classified answers: each word is saved at once, and one may go back and correct it."""

from pathlib import Path

import pytest
import typer

from workbench.cli.label_commands import _judge
from workbench.evidence.sample_labels import ToLabel, error_rates, read_labels
from workbench.runs.folder import RunFolder

ANSWERS = [ToLabel("attack", "refusing", f"Prompt {number}?", f"Answer {number}.", number < 2) for number in range(3)]


def judged(folder: Path, monkeypatch: pytest.MonkeyPatch, keys: str) -> list[tuple[str, bool]]:
    """The labels saved once these keys were typed, and no more were asked for."""
    typed = iter(keys)
    monkeypatch.setattr(typer, "getchar", lambda: next(typed))
    _judge(RunFolder(folder), ANSWERS)
    assert next(typed, None) is None
    return [(label.answer, label.right) for label in read_labels(RunFolder(folder).sample_labels)]


def test_each_word_is_saved_and_a_skipped_answer_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = judged(tmp_path, monkeypatch, "nsY")
    assert labels == [("Answer 0.", False), ("Answer 2.", True)]


def test_what_was_judged_stays_when_it_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert judged(tmp_path, monkeypatch, "yq") == [("Answer 0.", True)]


def test_a_key_without_a_meaning_judges_nothing_and_asks_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert judged(tmp_path, monkeypatch, "x\rnq") == [("Answer 0.", False)]
    asked = capsys.readouterr().err
    assert [asked.count(f"{number} of 3") for number in (1, 2, 3)] == [3, 1, 0]
    assert asked.count("answer  Answer 0.\nclassified as refusing. Right?") == 3


def test_going_back_corrects_the_answer_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert judged(tmp_path, monkeypatch, "bsybns") == [("Answer 1.", True), ("Answer 1.", False)]
    (rate,) = error_rates(read_labels(RunFolder(tmp_path).sample_labels))
    assert rate.mistaken is not None
    assert (rate.mistaken.value, rate.missed) == (1.0, None), "one answer was judged, and its last judgement counts"
