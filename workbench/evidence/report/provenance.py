"""The parts of a report that say what it is about: the data, the model, the settings, the versions, the limits."""

from __future__ import annotations

from collections.abc import Sequence

from workbench import __version__
from workbench.config import RunConfig
from workbench.evidence.report.blocks import Block, Cell, Facts, Points, Prose, Section, Table, Tone
from workbench.evidence.report.sources import Sources
from workbench.pairs.checks.findings import CheckFinding, Severity

_TONES: dict[Severity, Tone] = {"error": "bad", "warning": "unsure", "note": "good"}
_NAMED = 5


def data(sources: Sources) -> Section:
    """The pairs: the hashes of their data sets, how many trained, and what the checks find in them."""
    hashes = [(f"{name}, when the run began", digest) for name, digest in sources.record.sources.items()]
    if sources.evidence is not None:
        provenance = sources.evidence.provenance
        hashes.append(("pairs.jsonl in the run's folder, when measured", provenance.pairs))
        hashes += [(f"{name}, probes", digest) for name, digest in provenance.suites.items()]
    blocks: list[Block] = []
    started = sources.state.started
    if started is not None:
        counts = (
            ("trained on", started.train_pairs),
            ("held out", started.holdout_pairs),
            ("dropped, too long", started.dropped),
            ("cut at max_length", started.truncated),
            ("equal after the cut", started.identical),
        )
        blocks.append(Facts("Pairs", [(name, f"{count:,}") for name, count in counts]))
    blocks.append(_checks(sources))
    blocks.append(_hashes("Where the numbers come from", hashes))
    return Section("data", "Data", _data_lead(sources), blocks)


def settings(sources: Sources) -> Section:
    """The model, the machine, the versions, and every setting."""
    config, started, evidence = sources.record.config, sources.state.started, sources.evidence
    model = [("base model", config.model), ("quantization", config.quantization)]
    if started is not None:
        model += [("device", started.device)]
    model += [*sources.record.versions.items(), ("this page", f"alignment-workbench {__version__}")]
    weights = [("base model, revision", started.model_revision)] if started is not None else []
    weights += [("adapter, when measured", evidence.provenance.adapter)] if evidence is not None else []
    defaults = {name: field.get_default(call_default_factory=True) for name, field in RunConfig.model_fields.items()}
    values = config.model_dump(mode="json")
    given = [(name, _written(value)) for name, value in values.items() if value != defaults[name]]
    left = [(name, _written(value)) for name, value in values.items() if value == defaults[name]]
    blocks: list[Block] = [
        Facts("Model, machine and versions", model, code=True),
        _hashes("Weights", weights),
        Facts("Settings of this run that are not the default", given, code=True),
        Facts("Settings at their defaults", left, code=True),
    ]
    if evidence is not None:
        thresholds = [(name, _written(value)) for name, value in evidence.provenance.settings.items()]
        blocks.append(Facts("What was measured and demanded: [evidence] in workbench.toml", thresholds, code=True))
    lead = "Everything that another run needs to come out the same."
    return Section("settings", "Model and settings", lead, blocks)


def limits(sources: Sources) -> Section:
    """What the report does not prove."""
    own = sources.record.config.quantization
    measured = sources.evidence.quantization if sources.evidence is not None else own
    trained = "" if measured == own else f", and the run was trained with quantization {own}"
    differs = "Merged, or in another precision, they differ"
    if sources.evidence is not None and sources.evidence.merged is not None:
        shipped = "What its merged model does differently is told above; quantized anew, it would differ again."
    elif sources.record.config.facts.answers:
        shipped = f"{differs}: measure what ships with workbench evaluate RUN --merged DIR."
    else:
        shipped = f"{differs}."
    points = {
        "These prompts only": "A claim is about prompts like those of the suites. Other languages, longer "
        "conversations and attacks of another kind were not tried.",
        "One training run": "Intervals tell how far the numbers would move with other prompts of the same kind. They "
        "do not cover another seed, nor that settings may have been chosen by their results on these same prompts.",
        "One exact text": "The probability of a response is that of its exact words. A model can say the same in other "
        "words: samples, where they are counted, tell of that.",
        "As it was measured": f"Base and run were both measured with quantization {measured} and the adapter "
        f"attached{trained}. {shipped}",
        "The data": "The checks find what follows a pattern. Whether a label is right is for people to read.",
    }
    demo = {
        "A model made for the demo": "The embedded model has two million parameters and was made to misbehave. What "
        "holds of it shows that the pipeline works, and says nothing of another model."
    }
    if sources.record.config.model == "tiny":
        points = demo | points
    return Section("limits", "What this does not prove", "", [Points(list(points.items()))])


def _hashes(caption: str, hashes: Sequence[tuple[str, str]]) -> Table:
    rows = [[Cell(name), Cell(digest, "code")] for name, digest in hashes]
    return Table(caption, ["of", "sha256 or revision"], rows)


def _checks(sources: Sources) -> Block:
    checks = sources.checks
    if checks is None:
        return Prose([f"The pairs were not checked. {sources.unchecked}"])
    if not checks.findings:
        return Prose([f"The checks found nothing in {checks.checked:,} pairs."])
    rows = [[_severity(finding), Cell(finding.check, "code"), *_found(finding)] for finding in checks.findings]
    return Table(
        "What the checks find in the pairs that the run used",
        ["severity", "check", "what", "pairs", "among them"],
        rows,
        note=f"{checks.checked:,} pairs checked. The same with what to do: workbench check NAME.",
        heads=False,
    )


def _severity(finding: CheckFinding) -> Cell:
    return Cell(finding.severity, "verdict", _TONES[finding.severity])


def _found(finding: CheckFinding) -> list[Cell]:
    return [
        Cell(finding.message),
        Cell(f"{finding.count:,}", "number"),
        Cell(", ".join(finding.ids[:_NAMED]) + (" …" if finding.count > _NAMED else ""), "code"),
    ]


def _data_lead(sources: Sources) -> str:
    checks = sources.checks
    if checks is None:
        return ""
    counts = [f"{sum(finding.severity == severity for finding in checks.findings)} {severity}s" for severity in _TONES]
    return "The rows that the run used are frozen in its folder. The checks find " + ", ".join(counts) + "."


def _written(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
