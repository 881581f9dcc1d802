"""What is said of a run with few pairs, prompts or steps, and that the settings it names would do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.config import build_config
from workbench.runs.cautions import ENOUGH_STEPS, cautions

FEW = "too few to learn anything."


def said(train: int, held: int = 20, prompts: int = 20, **values: object) -> list[str]:
    return [str(each) for each in cautions(build_config({"pairs": ["x"], **values}), train, held, prompts)]


def test_48_pairs_at_the_default_batch_are_too_few_steps() -> None:
    assert said(48) == [f"3 steps of 16 pairs are {FEW} This would do: --set batch_size=4"]
    assert said(412) == []


@pytest.mark.parametrize(
    ("train", "values", "settings"),
    [
        (48, {"max_steps": 3}, "--set max_steps=10"),
        (1000, {"epochs": 0.01}, "--set epochs=1"),
        (100, {"epochs": 0.5}, "--set epochs=1 --set batch_size=8"),
        (48, {"gradient_accumulation": 16}, "--set epochs=4"),
        (2, {}, "--set epochs=10"),
        (5, {}, "--set batch_size=4 --set epochs=5"),
        (1, {"batch_size": 1}, "--set epochs=10"),
    ],
)
def test_the_settings_that_would_do(train: int, values: dict[str, object], settings: str) -> None:
    (only,) = said(train, **values)
    assert only.endswith(f"This would do: {settings}")


@given(
    st.integers(1, 3000),
    st.sampled_from([0.01, 0.5, 1.0, 1.7, 3.0]),
    st.integers(0, 12),
    st.integers(1, 130),
    st.integers(1, 9),
    st.sampled_from(["dpo", "reward", "grpo"]),
)
def test_with_the_settings_it_names_nothing_more_is_said(
    train: int, epochs: float, max_steps: int, batch: int, parts: int, method: str
) -> None:
    values: dict[str, object] = {"pairs": ["x"], "method": method, "epochs": epochs, "max_steps": max_steps}
    values |= {"batch_size": batch * parts * (8 if method == "grpo" else 1), "gradient_accumulation": parts}
    if method == "grpo":
        values |= {"reward": "run:x"}
    config = build_config(values)
    found = cautions(config, train, 20, 20)
    assert bool(found) == (config.total_steps(train) < ENOUGH_STEPS)
    for caution in found:
        settings = [setting for setting in str(caution).partition("This would do: ")[2].split("--set ") if setting]
        better = build_config(values, settings=[setting.strip() for setting in settings])
        assert cautions(better, train, 20, 20) == []


def test_what_cannot_be_shown_is_said() -> None:
    assert said(412, 0, 0, holdout=0)[0].endswith("This would do: --set holdout=0.1")
    assert said(412, 0, 0)[0].endswith("Add pairs with other prompts.")
    assert "One prompt is held out" in said(412, 3, 1)[0]
    few, nothing = said(2, 0, 0, holdout=0)
    assert few.startswith(f"1 step of 2 pairs is {FEW}")
    assert nothing.startswith("Nothing is held out")


@pytest.mark.parametrize(
    ("answers", "values", "settings"),
    [
        ((100, 100), {}, []),
        ((150, 100), {}, []),
        ((100, 300), {}, ["This would do: --set desirable_weight=3"]),
        ((300, 100), {}, ["This would do: --set undesirable_weight=3"]),
        ((100, 300), {"desirable_weight": 3.0}, []),
        ((100, 300), {"undesirable_weight": 2.0}, ["--set desirable_weight=3 --set undesirable_weight=1"]),
        ((100, 0), {}, ["All answers are judged good"]),
    ],
)
def test_uneven_judgements_are_told_with_weights_that_would_do(
    answers: tuple[int, int], values: dict[str, float], settings: list[str]
) -> None:
    config = build_config({"pairs": ["x"], "method": "kto", **values})
    found = [str(each) for each in cautions(config, 400, 20, 20, answers)]
    assert len(found) == len(settings)
    for words, expected in zip(found, settings, strict=True):
        assert expected in words
    assert cautions(build_config({"pairs": ["x"]}), 400, 20, 20, answers) == []
