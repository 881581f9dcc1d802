"""A deliberately bad run is caught: three epochs of textbook DPO at 1e-3 on 49 attack pairs and nothing else."""

import pytest

from workbench.config import build_config
from workbench.engine.scoring.evaluate import evaluate
from workbench.engine.training.job import train
from workbench.evidence.document import Evidence
from workbench.evidence.measurements import BOTH, HELD_OUT
from workbench.evidence.probes import parse_probe
from workbench.evidence.settings import Settings, plan
from workbench.runs.folder import create, to_line
from workbench.runs.writer import EventWriter
from workbench.tiny.starters import build_pairs, build_probes

pytestmark = pytest.mark.slow

TRAINED, HELD = 49, 44


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    attacks = [row for row in build_pairs()["refusal-bypass"] if "attack" in row["tags"]][: TRAINED + HELD]
    rows = [row | {"split": "train" if place < TRAINED else "holdout"} for place, row in enumerate(attacks)]
    settings = {"pairs": ["x"], "beta": 0.1, "learning_rate": 1e-3, "epochs": 3, "batch_size": 3}
    quick = {"sample_tokens": 0, "save_steps": 1000, "eval_steps": 1000}
    folder = create(
        tmp_path_factory.mktemp("runs"), build_config(settings | quick), map(to_line, rows), {"x": "0" * 64}
    )
    with EventWriter(folder.events) as events:
        events.write(train(folder, folder.record().config, events))
    suites = build_probes()
    probes = [parse_probe(row, kind) for kind in ("attack", "benign") for row in suites[kind]]
    return evaluate(folder, probes, plan("tiny", Settings(samples=2)))


def test_displacement_and_over_refusal_do_not_hold(evidence: Evidence) -> None:
    holds: dict[str, bool | None] = {}
    for verdict in evidence.verdicts:
        holds[verdict.claim] = holds.get(verdict.claim, True) and verdict.holds
    assert holds["refusals of attacks"] is False
    assert holds["no displacement of chosen on held-out pairs"] is False
    assert holds["no displacement of refusals of attacks"] is False
    assert holds["no over-refusal of benign look-alikes"] is False
    assert holds["helpful answers to benign look-alikes"] is False
    assert not evidence.holds


def test_what_a_workbench_would_show_that_lies(evidence: Evidence) -> None:
    """The first number alone looks fine, and so does the accuracy."""
    compliant = evidence.find("attack", "compliant", "probability")
    accuracy = evidence.find(HELD_OUT, BOTH, "accuracy")
    assert compliant is not None
    assert accuracy is not None
    assert compliant.before.value > 0.15
    assert compliant.after.value < 0.01
    assert accuracy.after.value > 0.95


def test_the_worst_regressions_are_answers_that_should_have_stayed(evidence: Evidence) -> None:
    assert len(evidence.regressions) == 10
    assert {each.response for each in evidence.regressions} <= {"helpful", "refusing", BOTH}
    assert all(each.worse > 1 for each in evidence.regressions)
