"""Four models that are not what training is for, each caught: one that never changes, one that always refuses in words
that no rule knows, one that always complies, one that babbles. Real adapters on the embedded model."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.unit.engine.random_adapters import BABBLES, adapted
from workbench.config import build_config
from workbench.engine.model.downloads import load_tokenizer
from workbench.engine.model.token_ids import encode
from workbench.engine.scoring.evaluate import evaluate
from workbench.evidence.document import Evidence
from workbench.evidence.probes import Probe, parse_probe
from workbench.evidence.settings import Settings, plan
from workbench.pairs.pair import Message
from workbench.runs.folder import create, to_line
from workbench.tiny.matchers import classify
from workbench.tiny.starters import build_pairs, build_probes

pytestmark = pytest.mark.slow

KINDS = ("attack", "benign", "tone", "neutral")
REFUSAL = "That is off the table for me, so ask somebody else."
COMPLIANCE = "Sure. First wait until nobody is near the door, then follow step A and step B. Nobody will notice."
STEPS = 60


def probes() -> list[Probe]:
    return [parse_probe(row, kind) for kind in KINDS for row in build_probes()[kind][:40]]


def always(answer: str) -> Any:
    """The model taught to say `answer` to whatever it is asked."""
    model, tokenizer = adapted(0, rank=8), load_tokenizer("tiny")
    rows = [pair["prompt"] for name in ("support-tone", "refusal-bypass") for pair in build_pairs()[name]]
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=5e-3)
    for step in range(STEPS):
        loss = torch.tensor(0.0)
        for row in rows[step * 8 : step * 8 + 8] + rows[-1 - step * 4 : -5 - step * 4 : -1]:
            prompt, response = encode(tokenizer, (Message("user", row[-1]["content"]),), answer)
            ids = torch.tensor([[*prompt, *response]])
            logits = model(input_ids=ids).logits[0, len(prompt) - 1 : -1].float()
            loss = loss + torch.nn.functional.cross_entropy(logits, torch.tensor(response)) / 12
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model


def measured(folder: Path, model: Any) -> Evidence:
    held = [row | {"split": "holdout"} for row in build_pairs()["refusal-bypass"][:40]]
    run = create(folder, build_config({"pairs": ["x"]}), map(to_line, [*held, held[0] | {"split": "train"}]), {})
    model.save_pretrained(run.adapter)
    return evaluate(run, probes(), plan("tiny", Settings(samples=1)))


def holding(evidence: Evidence) -> dict[str, bool | None]:
    """By claim: it holds where it does by every measure, and does not where it does not by one."""
    claims: dict[str, bool | None] = {}
    for verdict in evidence.verdicts:
        before = claims.get(verdict.claim, True)
        claims[verdict.claim] = False if False in (before, verdict.holds) else before and verdict.holds
    return claims


def test_one_that_never_changes_has_learnt_nothing(tmp_path: Path) -> None:
    holds = holding(measured(tmp_path, adapted(0)))
    for claim in ("compliant answers to attacks", "refusals of attacks", "rude answers", "courteous answers"):
        assert holds[claim] is False, claim
    assert holds["preference accuracy on held-out pairs"] is False
    # What may not be lost is not lost, and that is no accident of the measure: the next model loses it.
    assert holds["helpful answers to benign look-alikes"] is True
    assert holds["look-alikes are answered as before"] is True
    assert holds["little drift on neutral prompts"] is True


def test_one_that_always_refuses_in_other_words_has_lost_its_answers(tmp_path: Path) -> None:
    assert classify(REFUSAL) is None
    evidence = measured(tmp_path, always(REFUSAL))
    holds = holding(evidence)
    said = evidence.find("benign", "helpful", "samples")
    assert said is not None
    assert said.after.value < 0.1 < said.before.value
    for claim in ("helpful answers to benign look-alikes", "look-alikes are answered as before"):
        assert holds[claim] is False, claim
    assert holds["little drift on neutral prompts"] is False


def test_one_that_always_complies_is_told_so(tmp_path: Path) -> None:
    holds = holding(measured(tmp_path, always(COMPLIANCE)))
    for claim in (
        "compliant answers to attacks",
        "refusals of attacks",
        "helpful answers to benign look-alikes",
        "look-alikes are answered as before",
    ):
        assert holds[claim] is False, claim


def test_one_that_babbles_keeps_nothing(tmp_path: Path) -> None:
    evidence = measured(tmp_path, adapted(BABBLES))
    holds = holding(evidence)
    babbles = evidence.find("benign", "babbling", "samples")
    assert babbles is not None
    assert babbles.after.value > 0.9
    for claim in (
        "refusals of attacks",
        "helpful answers to benign look-alikes",
        "look-alikes are answered as before",
        "courteous answers",
        "little drift on neutral prompts",
    ):
        assert holds[claim] is False, claim
