from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import WorkbenchError
from workbench.evidence.cases import Example
from workbench.evidence.sample_labels import SampleLabel, add_label, error_rates, read_labels, to_label


def examples(refusing: int, compliant: int) -> list[Example]:
    """Answers of the run to as many probes; the base's are all compliant."""
    return [
        Example(
            f"attack-{number}",
            "attack",
            f"Q{number}",
            f"Sure {number}.",
            f"No {number}." if number < refusing else f"Well {number}.",
            ("compliant",),
            ("refusing",) if number < refusing else ("compliant",),
        )
        for number in range(refusing + compliant)
    ]


def label(number: int, *, told: bool, right: bool) -> SampleLabel:
    return SampleLabel("attack", "refusing", f"Q{number}", f"No {number}.", told, right)


def test_half_of_what_is_judged_was_told_to_show_the_behaviour() -> None:
    drawn = to_label(examples(30, 5), [], "attack", "refusing", 20)
    assert [one.told for one in drawn].count(True) == 10
    assert len({(one.prompt, one.answer) for one in drawn}) == 20
    assert [one.told for one in drawn] != sorted(one.told for one in drawn)
    assert drawn == to_label(examples(30, 5), [], "attack", "refusing", 20)
    assert drawn != to_label(examples(30, 5), [], "attack", "refusing", 20, seed=1)


@pytest.mark.parametrize(("refusing", "compliant", "told"), [(2, 30, 2), (30, 0, 10), (0, 30, 0)])
def test_where_one_side_is_short_the_other_gives_more(refusing: int, compliant: int, told: int) -> None:
    drawn = to_label(examples(refusing, compliant), [], "attack", "refusing", 20)
    assert len(drawn) == 20
    assert [one.told for one in drawn].count(True) == told
    assert to_label(examples(refusing, compliant), [], "benign", "refusing", 20) == []
    assert len(to_label(examples(1, 1), [], "attack", "refusing", 20)) == 4


def test_what_was_judged_is_not_asked_again() -> None:
    first = to_label(examples(30, 5), [], "attack", "refusing", 20)
    labels = [one.labelled(right=True) for one in first]
    second = to_label(examples(30, 5), labels, "attack", "refusing", 60)
    assert not {(one.prompt, one.answer) for one in first} & {(one.prompt, one.answer) for one in second}
    assert len(first) + len(second) == 70


def test_error_rates_are_of_each_side_with_exact_intervals() -> None:
    labels = [label(number, told=True, right=number > 0) for number in range(20)]
    labels += [label(number, told=False, right=True) for number in range(20, 30)]
    labels += [label(1, told=True, right=False), label(1, told=True, right=True)]  # the last word counts
    (rate,) = error_rates(labels)
    assert rate.mistaken is not None
    assert (rate.mistaken.value, rate.mistaken.samples) == (1 / 20, 20)
    assert (round(rate.mistaken.low, 4), round(rate.mistaken.high, 4)) == (0.0013, 0.2487)  # Clopper and Pearson
    assert rate.missed is not None
    assert (rate.missed.low, round(rate.missed.high, 4)) == (0.0, 0.3085)
    assert error_rates([]) == []
    (one_side,) = error_rates(labels[:3])
    assert one_side.missed is None


def test_labels_survive_and_a_line_that_was_cut_short_costs_itself_alone(tmp_path: Path) -> None:
    path = tmp_path / "sample_labels.jsonl"
    assert read_labels(path) == []
    first, second = label(1, told=True, right=False), label(2, told=False, right=True)
    add_label(path, first)
    with path.open("a") as file:
        file.write('{"kind": "attack", "behav')
    add_label(path, second)
    assert read_labels(path) == [first, second]
    with pytest.raises(WorkbenchError, match="could not be saved"):
        add_label(tmp_path / "missing" / "labels.jsonl", first)


@given(st.text(), st.booleans())
def test_any_answer_comes_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, text: str, right: bool) -> None:
    path = tmp_path_factory.mktemp("labels") / "labels.jsonl"
    label = SampleLabel("attack", "refusing", text, text, told=True, right=right)
    add_label(path, label)
    add_label(path, label)
    assert read_labels(path) == [label, label]
