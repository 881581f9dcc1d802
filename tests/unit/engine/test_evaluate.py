"""The evaluation on the embedded model: what it measures is what single questions tell."""

import json
import math
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.unit.engine.random_adapters import save_adapter
from tests.unit.engine.random_models import make
from workbench.compare.messages import Column, ScoreResponse, Turn
from workbench.config import build_config
from workbench.engine.model.downloads import load_tokenizer
from workbench.engine.model.loading import load_base
from workbench.engine.scoring.evaluate import evaluate
from workbench.engine.scoring.scorer import Scorer
from workbench.engine.shipping.merge_adapter import merge
from workbench.errors import WorkbenchError
from workbench.evidence.document import Evidence, read_evidence
from workbench.evidence.measurements import BOTH, HELD_OUT, OWN, ProbeReading, Reading
from workbench.evidence.probes import Probe, parse_probe
from workbench.evidence.report.write import render
from workbench.evidence.settings import Settings, plan
from workbench.pairs.pair import Pair, from_row
from workbench.runs.folder import RunFolder, create, to_line
from workbench.tiny import WEIGHTS
from workbench.tiny.starters import build_pairs, build_probes

SAMPLES = 2
PLAN = plan("tiny", Settings(samples=SAMPLES, seed=1))
HELD = 6
PER_TOKEN = "log-probability a token"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run whose adapter makes the model babble."""
    held = [row | {"split": "holdout"} for row in build_pairs()["support-tone"][:HELD]]
    config = build_config({"pairs": ["x"], "beta": 0.2, "max_length": 42})
    made = create(tmp_path_factory.mktemp("runs"), config, map(to_line, [*held, held[0] | {"split": "train"}]), {})
    save_adapter(made.adapter)
    return made


@pytest.fixture(scope="module")
def probes() -> list[Probe]:
    """Enough attacks to be judged, too few of tone, and some neutral ones, which no claim is about."""
    rows = build_probes()
    some = {"attack": rows["attack"][:40], "tone": rows["tone"][:5], "neutral": rows["neutral"][:3]}
    return [parse_probe(row, kind) for kind, rows in some.items() for row in rows]


@pytest.fixture(scope="module")
def evidence(folder: RunFolder, probes: list[Probe]) -> Evidence:
    return evaluate(folder, probes, PLAN)


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return Scorer("tiny", device="cpu")


def asked(folder: RunFolder, probe: Probe | Pair, response: str) -> ScoreResponse:
    assert not isinstance(probe.prompt, str)
    turns = [Turn(role=turn.role, content=turn.content) for turn in probe.prompt]
    columns = [Column(name="base"), Column(name="run", adapter=str(folder.adapter))]
    return ScoreResponse(id=1, prompt=turns, response=response, columns=columns)


def test_probabilities_are_those_of_the_scorer(
    folder: RunFolder, probes: list[Probe], evidence: Evidence, scorer: Scorer
) -> None:
    readings = {each.id: each for each in evidence.probe_readings}
    for probe in [probe for probe in probes if probe.kind == "tone"]:
        scored = scorer.score(asked(folder, probe, probe.responses["courteous"]))
        reading = readings[probe.id].responses["courteous"]
        assert (reading.before, reading.after) == pytest.approx([each.sum for each in scored.columns], rel=1e-3)
        assert reading.tokens == len(scored.columns[0].tokens)
        assert reading.kl is None
    change = evidence.find("tone", "courteous", "probability")
    assert change is not None
    before = [math.exp(each.responses["courteous"].before) for each in evidence.probe_readings if each.kind == "tone"]
    assert change.before.value == pytest.approx(sum(before) / len(before))


def test_a_run_is_evaluated_in_the_template_and_with_the_settings_that_it_was_trained_with(
    tmp_path: Path, probes: list[Probe]
) -> None:
    def readings(name: str, own: str | None, *, chosen: str = "", **given: str) -> Any:
        model = tmp_path / f"{name}-model"
        shutil.copytree(WEIGHTS, model)
        (model / "chat_template.jinja").unlink()
        if own is not None:
            (model / "chat_template.jinja").write_text(own)
        if chosen:
            (tmp_path / "chosen.jinja").write_text(chosen)
        values = {"pairs": ["x"], "model": str(model), "quantization": "none", "template": given}
        config = build_config(values | {"chat_template": str(tmp_path / "chosen.jinja") if chosen else ""})
        rows = [
            row | {"split": "holdout"} | ({"chat_template_kwargs": given} if given else {})
            for row in build_pairs()["support-tone"][:2]
        ]
        folder = create(tmp_path / name, config, map(to_line, rows), {})
        save_adapter(folder.adapter)
        few = plan("tiny", Settings(samples=1, seed=1))
        found = evaluate(folder, [probes[0], probes[-1]], few)
        return found.probe_readings, found.pair_readings

    asks = "{% for m in messages %}<|{{ m.role }}|>MOOD {{ m.content }}<|end|>{% endfor %}"
    asks += "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    own = readings("own", asks.replace("MOOD", "merry"))
    assert readings("set", asks.replace("MOOD", "{{ mood }}"), mood="merry") == own
    assert readings("chosen", None, chosen=asks.replace("MOOD", "merry")) == own
    assert readings("plain", asks.replace("MOOD", "glum")) != own


def test_the_drift_is_that_of_single_forwards(
    folder: RunFolder, probes: list[Probe], evidence: Evidence, scorer: Scorer
) -> None:
    readings = {each.id: each for each in evidence.probe_readings}
    for probe in [probe for probe in probes if probe.kind == "neutral"]:
        scored = scorer.score(asked(folder, probe, probe.responses["neutral"]))
        expected = sum(token.kl for token in scored.columns[1].tokens)
        assert expected > 0.1
        assert readings[probe.id].responses["neutral"].kl == pytest.approx(expected, rel=1e-3)


def test_held_out_pairs_are_read_as_they_trained(folder: RunFolder, evidence: Evidence, scorer: Scorer) -> None:
    pairs = [from_row(row, where="x") for row in folder.rows() if row["split"] == "holdout"]
    assert [each.id for each in evidence.pair_readings] == [pair.id for pair in pairs]
    cut = 0
    for pair, reading in zip(pairs, evidence.pair_readings, strict=True):
        assert reading.tags == pair.tags
        for response, read in ((pair.chosen, reading.chosen), (pair.rejected, reading.rejected)):
            scored = scorer.score(asked(folder, pair, response[0].content))  # type: ignore[union-attr]
            cut += read.tokens < len(scored.columns[0].tokens)
            for column, found in zip(scored.columns, (read.before, read.after), strict=True):
                expected = sum(token.logprob for token in column.tokens[: read.tokens])
                assert found == pytest.approx(expected, rel=1e-3)
    assert 0 < cut < 2 * HELD  # some are longer than max_length
    margin = evidence.find(HELD_OUT, BOTH, "margin")
    assert margin is not None
    assert margin.before.samples == HELD
    assert evidence.calibration is not None
    assert (evidence.calibration.pairs, evidence.calibration.beta) == (HELD, 0.2)


def test_of_many_held_out_pairs_some_are_drawn(folder: RunFolder, probes: list[Probe]) -> None:
    few = plan("tiny", Settings(samples=0, most_pairs=3))
    found = evaluate(folder, probes[-1:], few)
    assert len(found.pair_readings) == 3
    assert evaluate(folder, probes[-1:], few).pair_readings == found.pair_readings


def test_samples_are_counted_by_their_behaviours(evidence: Evidence) -> None:
    compliant = evidence.find("attack", "compliant", "samples")
    assert compliant is not None
    assert compliant.before.samples == 40 * SAMPLES
    assert 0.3 < compliant.before.value <= 1.0
    assert compliant.difference.value < 0
    rude = evidence.find("tone", "rude", "samples")
    assert rude is not None
    assert rude.after.samples == 5 * SAMPLES
    assert evidence.find("neutral", "neutral", "samples") is None
    assert [example.kind for example in evidence.examples] == ["attack"] * 40 * SAMPLES + ["tone"] * 5 * SAMPLES
    assert Counter(name for example in evidence.examples for name in example.before_shows)["compliant"] > 0
    # The run babbles: the base finds what it says as likely as noise.
    babbling = evidence.find("attack", "babbling", "samples")
    assert babbling is not None
    assert babbling.before.value == 0
    assert babbling.after.value > 0.9


def test_what_the_base_answers_is_scored_under_both(
    folder: RunFolder, probes: list[Probe], evidence: Evidence, scorer: Scorer
) -> None:
    first = next(reading for reading in evidence.probe_readings if reading.kind == "tone")
    probe = next(probe for probe in probes if probe.id == first.id)
    said = [example.before for example in evidence.examples if example.probe == probe.id]
    assert len(said) == first.samples == SAMPLES
    columns = [scorer.score(asked(folder, probe, text)).columns for text in said]
    own = first.responses[OWN]
    assert own.before == pytest.approx(sum(base.sum for base, _ in columns), rel=1e-3)
    assert own.after == pytest.approx(sum(run.sum for _, run in columns), rel=1e-3)
    assert own.tokens == sum(len(base.tokens) for base, _ in columns)


def test_a_few_probes_are_kept_token_by_token(evidence: Evidence) -> None:
    """What they hold is for `test_evidence_tokens`."""
    assert [view.kind for view in evidence.tokens] == ["attack"] * 2 + ["tone"] * 2 + ["neutral"] * 2


def test_the_same_seed_gives_the_same_digits(folder: RunFolder, probes: list[Probe], evidence: Evidence) -> None:
    def digits(found: Evidence) -> str:
        return json.dumps(replace(found, created="", seconds=0.0).to_json())

    again = evaluate(folder, probes, PLAN)
    assert digits(again) == digits(evidence)


def test_verdicts_are_given_where_there_are_probes_enough(evidence: Evidence) -> None:
    found = {verdict.name: verdict.holds for verdict in evidence.verdicts}
    assert len(found) == 15  # benign look-alikes have no probes: by one measure each
    assert found["refusals of attacks, by probability"] is False
    assert found["no displacement of refusals of attacks"] is False
    assert found["preference accuracy on held-out pairs"] is None
    assert found["compliant answers to attacks, by probability"] is not None
    assert found["rude answers, by samples"] is None
    assert found["helpful answers to benign look-alikes, by samples"] is None
    assert not evidence.holds


def test_the_evidence_is_in_the_runs_folder(folder: RunFolder, evidence: Evidence) -> None:
    document = json.loads(folder.evidence.read_text("utf-8"))
    assert document | {"created": "", "seconds": 0} == json.loads(
        json.dumps(replace(evidence, created="", seconds=0).to_json())
    )
    assert read_evidence(folder.evidence).run == document["run"] == folder.id
    assert evidence.verdicts[0].name in (folder.adapter / "README.md").read_text("utf-8")


def test_where_nothing_is_asked_for_nothing_is_sampled(folder: RunFolder, probes: list[Probe]) -> None:
    told: list[str] = []
    evidence = evaluate(folder, probes[-3:], plan("tiny", Settings(samples=0)), progress=told.append)
    assert {each.measure for each in evidence.measurements if each.kind == "neutral"} == {
        "probability",
        "log-probability",
        "log-probability a token",
        "kl a token",
    }
    assert len(evidence.verdicts) == 11
    assert told == [
        "loading the model",
        "scoring 3 responses under the base",
        "scoring 3 responses under the run",
        "scoring 12 responses of held-out pairs under the base",
        "scoring 12 responses of held-out pairs under the run",
        "looking at responses token by token",
        "computing intervals",
    ]


def test_a_run_without_an_adapter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WorkbenchError, match="saved no adapter"):
        evaluate(create(tmp_path, build_config({"pairs": ["x"]}), [], {}), [], PLAN)


@pytest.fixture(scope="module")
def few(probes: list[Probe]) -> list[Probe]:
    """Some of each kind."""
    return [*probes[:6], *probes[40:43], *probes[45:]]


def same(one: ProbeReading, other: ProbeReading, side: str) -> None:
    """That `one` has after what `other` has on `side`."""
    assert (one.id, list(one.responses)) == (other.id, list(other.responses))
    for name, reading in one.responses.items():
        theirs: Reading = other.responses[name]
        assert (reading.before, reading.tokens) == (theirs.before, theirs.tokens)
        assert reading.after == pytest.approx(getattr(theirs, side), rel=1e-3, abs=1e-3)
        assert reading.kl is None
    at = ["before", "after"].index(side)
    assert {name: counts[1] for name, counts in one.behaviours.items() if counts[1]} == {
        name: counts[at] for name, counts in other.behaviours.items() if counts[at]
    }
    assert {name: mass for name, (_, mass) in one.openings.items()} == pytest.approx(
        {name: masses[at] for name, masses in other.openings.items()}, abs=1e-3
    )


def test_a_merged_model_that_is_the_run_has_its_numbers_and_answers(folder: RunFolder, few: list[Probe]) -> None:
    to = folder.path.parent / "merged"
    merge(folder, to, dtype="fp32")
    claimed = replace(PLAN, settings=Settings(samples=SAMPLES, fewest=3))
    evidence = evaluate(folder, few, claimed, quantization="none", merged=to)
    merged = evidence.merged
    assert merged is not None
    assert (merged.folder, merged.dtype, merged.revision[:7]) == ("merged", "float32", "sha256:")
    for one, other in zip(merged.probe_readings, evidence.probe_readings, strict=True):
        same(one, other, "after")
    for pair, own in zip(merged.pair_readings, evidence.pair_readings, strict=True):
        assert (pair.id, pair.chosen.before) == (own.id, own.chosen.before)
        assert (pair.chosen.after, pair.rejected.after) == pytest.approx(
            (own.chosen.after, own.rejected.after), rel=1e-3, abs=1e-3
        )
    assert [(each.after, each.after_shows) for each in merged.examples] == [
        (each.after, each.after_shows) for each in evidence.examples
    ]
    assert any(set(each.after_shows) & {"babbling", "empty", "repeating"} for each in merged.examples)
    judged = {verdict.name: verdict.holds for verdict in evidence.verdicts}
    assert {verdict.name: verdict.holds for verdict in merged.verdicts}.items() <= judged.items()
    assert len(judged) == len(merged.verdicts) + 1  # the divergence
    assert all(abs(each.change.difference.value) < 0.01 for each in merged.against_run)
    assert json.dumps(read_evidence(folder.evidence).to_json()) == json.dumps(evidence.to_json())
    page = render(folder, "md").text
    assert "## The model that ships" in page
    assert "gets the verdicts of the run" in page
    assert "these moved" not in page
    assert "workbench evaluate RUN --merged" not in page


def test_a_merged_model_that_is_another_is_told_apart(folder: RunFolder, few: list[Probe], tmp_path: Path) -> None:
    """The base itself stands for a merge that lost the adapter."""
    load_base("tiny", "none", device="cpu").save_pretrained(tmp_path / "lost")
    load_tokenizer("tiny").save_pretrained(tmp_path / "lost")
    claimed = replace(PLAN, settings=Settings(samples=SAMPLES, fewest=3))
    evidence = evaluate(folder, few, claimed, quantization="none", merged=tmp_path / "lost")
    merged = evidence.merged
    assert merged is not None
    for one, other in zip(merged.probe_readings, evidence.probe_readings, strict=True):
        same(one, other, "before")
    assert any(other is not None and other.holds != verdict.holds for verdict, other in evidence.beside_merged)
    moved = {each.key: each.change.difference.value for each in merged.against_run}
    for each in evidence.measurements:
        if each.measure not in ("kl a token", "accuracy"):
            assert moved[each.key] == pytest.approx(-each.change.difference.value, rel=1e-3, abs=1e-3), each.key
    page = render(folder, "html").text
    assert "Merging changed what can be claimed" in page
    chosen = next(each.change for each in merged.against_run if each.key == (HELD_OUT, "", "chosen", PER_TOKEN))
    assert chosen.p_value is not None
    assert chosen.p_value < 0.05
    listed = page.split("these moved (p &lt; 0.05): ")[1].split("</p>")[0]
    assert f"no displacement of chosen on held-out pairs, by {PER_TOKEN}" in listed


def test_a_model_of_another_vocabulary_is_no_merged_model(folder: RunFolder, few: list[Probe], tmp_path: Path) -> None:
    make(tmp_path / "other", "llama")
    with pytest.raises(WorkbenchError, match="no merged model of the run"):
        evaluate(folder, few[:1], PLAN, merged=tmp_path / "other")
