"""The part of a report about the merged model, where it was measured beside base and run."""

from __future__ import annotations

from collections.abc import Sequence

from workbench.evidence.document import Evidence, MergedModel, find
from workbench.evidence.measurements import Key
from workbench.evidence.report.blocks import Block, Cell, Facts, Points, Section, Table
from workbench.evidence.report.story import NAMES, tone_of
from workbench.evidence.statistics import Estimate
from workbench.evidence.verdicts import Verdict
from workbench.figures import decimal, interval, number, signed

_CHANCE = 0.05


def shipped(evidence: Evidence) -> Section | None:
    """Every claim on the merged model beside the run's; None where no merged model was measured."""
    merged = evidence.merged
    if merged is None:
        return None
    rows = [_row(evidence, merged, verdict, other) for verdict, other in evidence.beside_merged]
    other_now = [
        (verdict.name, f"{NAMES[tone_of(verdict.holds)]} of the run, {NAMES[tone_of(other.holds)]} once merged.")
        for verdict, other in evidence.beside_merged
        if other is not None and other.holds != verdict.holds
    ]
    facts = [("folder", merged.folder), ("sha256 or revision", merged.revision), ("measured in", merged.dtype)]
    blocks: list[Block] = [
        Facts("The merged model", facts, code=True),
        Table(
            "Base, run and merged model on the same prompts, with the same seeds",
            ["claim", "base", "run", "merged", "run to merged", "p", "run", "merged"],
            rows,
            note="The run is its adapter on the base as it was held in the evaluation. Run to merged: the difference "
            "with its 95% interval; p: a paired test. How far a merged model diverges from the base is not measured.",
        ),
    ]
    if other_now:
        blocks.append(Points(other_now, tone="bad"))
        lead = "Merging changed what can be claimed: these verdicts are others for the model that ships."
    else:
        lead = "Merged and loaded as anybody loads it, the model gets the verdicts of the run."
    moved = _moved(merged, [verdict for verdict, _ in evidence.beside_merged])
    if moved:
        lead += f" Between run and merged model these moved (p < {_CHANCE}): {'; '.join(moved)}."
    return Section("shipped", "The model that ships", lead, blocks)


def _moved(merged: MergedModel, verdicts: Sequence[Verdict]) -> list[str]:
    """What moved by more than chance lets expect, whatever the verdicts are."""
    keys = {f"{each.claim}, by {each.measure}": Key(each.kind, "", each.behaviour, each.measure) for each in verdicts}
    found = {name: find(merged.against_run, key) for name, key in keys.items()}
    return [name for name, moved in found.items() if moved and moved.p_value is not None and moved.p_value < _CHANCE]


def _row(evidence: Evidence, merged: MergedModel, verdict: Verdict, other: Verdict | None) -> Sequence[Cell]:
    key = Key(verdict.kind, "", verdict.behaviour, verdict.measure)
    run, after, moved = (find(each, key) for each in (evidence.measurements, merged.measurements, merged.against_run))
    difference = Cell("–", "number")
    if moved is not None:
        change = moved.difference
        difference = Cell(signed(change.value, 3), "number", detail=interval(change.low, change.high))
    return [
        Cell(verdict.claim, detail=f"by {verdict.measure}"),
        _estimate(run.before if run is not None else None),
        _estimate(run.after if run is not None else None),
        _estimate(after.after if after is not None else None),
        difference,
        Cell(number(moved.p_value) if moved is not None and moved.p_value is not None else "–", "number"),
        _verdict(verdict),
        _verdict(other),
    ]


def _estimate(estimate: Estimate | None) -> Cell:
    if estimate is None:
        return Cell("–", "number")
    return Cell(decimal(estimate.value), "number", detail=interval(estimate.low, estimate.high))


def _verdict(verdict: Verdict | None) -> Cell:
    if verdict is None:
        return Cell("not measured")
    tone = tone_of(verdict.holds)
    return Cell(NAMES[tone], "verdict", tone)
