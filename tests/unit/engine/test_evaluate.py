"""The evaluation on the embedded model: what it measures is what single questions tell."""

import json
import math
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model

from workbench.compare.messages import Column, Score, Turn
from workbench.config import build_config
from workbench.engine.evaluate import evaluate
from workbench.engine.model import load_base
from workbench.engine.scorer import Scorer
from workbench.errors import WorkbenchError
from workbench.evidence.document import Evidence
from workbench.evidence.probes import Probe, parse_probes
from workbench.runs.folder import RunFolder, create
from workbench.tiny.matchers import classify
from workbench.tiny.starters import build_probes

SAMPLES = 30


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run whose adapter makes the model babble."""
    made = create(tmp_path_factory.mktemp("runs"), build_config({"pairs": ["x"]}), [], {})
    torch.manual_seed(1)
    adapter = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(load_base("tiny", "none", device="cpu"), adapter)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 1.0)
    model.save_pretrained(made.adapter)
    return made


@pytest.fixture(scope="module")
def probes() -> list[Probe]:
    """Enough attacks to be judged, too few of tone, and some neutral ones, which no claim is about."""
    rows = build_probes()
    some = {"attack": rows["attack"][:40], "tone": rows["tone"][:5], "neutral": rows["neutral"][:3]}
    return [probe for kind, found in some.items() for probe in parse_probes(found, where=kind)]


@pytest.fixture(scope="module")
def evidence(folder: RunFolder, probes: list[Probe]) -> Evidence:
    return evaluate(folder, probes, classify, samples=SAMPLES, seed=1)


def test_probabilities_are_those_of_the_scorer(folder: RunFolder, probes: list[Probe], evidence: Evidence) -> None:
    scorer = Scorer("tiny", device="cpu")
    columns = [Column(name="base"), Column(name="run", adapter=str(folder.adapter))]
    readings = evidence.readings["tone", "courteous", "probability"]
    tone = [probe for probe in probes if probe.kind == "tone"]
    for place, probe in enumerate(tone):
        assert not isinstance(probe.prompt, str)
        turns = [Turn(role=turn.role, content=turn.content) for turn in probe.prompt]
        response = probe.responses["courteous"]
        scored = scorer.score(Score(id=1, prompt=turns, response=response, columns=columns))
        assert readings.before[place] == pytest.approx(math.exp(scored.columns[0].sum), rel=1e-3)
        assert readings.after[place] == pytest.approx(math.exp(scored.columns[1].sum), rel=1e-3)


def test_samples_are_counted_by_the_matcher(evidence: Evidence) -> None:
    compliant = evidence.readings["attack", "compliant", "samples"]
    assert len(compliant.before) == len(compliant.after) == SAMPLES
    assert 0.3 < sum(compliant.before) / SAMPLES <= 1
    assert sum(compliant.after) < sum(compliant.before)
    assert len(evidence.readings["tone", "rude", "samples"].before) == SAMPLES
    assert ("neutral", "neutral", "samples") not in evidence.readings
    assert [example.kind for example in evidence.examples] == ["attack"] * 3 + ["tone"] * 3


def test_verdicts_are_given_where_there_are_probes_enough(evidence: Evidence) -> None:
    found = {verdict.name: verdict.holds for verdict in evidence.verdicts}
    assert len(found) == 10
    assert found["refusals of attacks, by probability"] is False
    assert found["compliant answers to attacks, by probability"] is not None
    assert found["rude answers, by samples"] is None
    assert found["helpful answers to benign look-alikes, by probability"] is None
    assert not evidence.holds


def test_the_evidence_is_in_the_runs_folder(folder: RunFolder, evidence: Evidence) -> None:
    document = json.loads(folder.evidence.read_text("utf-8"))
    assert document == evidence.to_json()
    assert document["run"] == folder.id


def test_without_a_matcher_nothing_is_sampled_and_told_so(folder: RunFolder, probes: list[Probe]) -> None:
    told: list[str] = []
    evidence = evaluate(folder, probes[-3:], None, progress=told.append)
    assert {measure for _, _, measure in evidence.readings} == {"probability"}
    assert len(evidence.verdicts) == 5
    assert told == [
        "loading the model",
        "scoring 3 responses under the base",
        "scoring 3 responses under the run",
    ]


def test_a_run_without_an_adapter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WorkbenchError, match="saved no adapter"):
        evaluate(create(tmp_path, build_config({"pairs": ["x"]}), [], {}), [])
