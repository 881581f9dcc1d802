"""Puts a report together from its sources: what is proved first, where it comes from last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from workbench.evidence.report import measures
from workbench.evidence.report.content import Exchange, Exchanges, Report, Section
from workbench.evidence.report.provenance import data, limits, settings
from workbench.evidence.report.sources import Sources
from workbench.evidence.report.story import caveats, claims, headline, tally
from workbench.evidence.report.tokens import token_by_token
from workbench.evidence.report.training import answers, training
from workbench.figures import duration


def compose(sources: Sources) -> Report:
    """The report. The same sources give the same report."""
    sentence, tone = headline(sources.evidence, _scores(sources))
    return Report(
        title=sources.labels.name or sources.run,
        headline=sentence,
        caveats=caveats(sources.evidence),
        tone=tone,
        tally=tally(sources.evidence),
        facts=_facts(sources),
        sections=_sections(sources),
    )


def _sections(sources: Sources) -> list[Section]:
    evidence = sources.evidence
    found: list[Section | None] = []
    if evidence is not None:
        found += [claims(evidence), measures.probes(evidence), measures.held_out(evidence), measures.tags(evidence)]
        found.append(measures.regressions(evidence))
        found.append(token_by_token(evidence.tokens) if evidence.tokens else None)
    else:
        found.append(Section("claims", "Claims", _untested(sources), []))
    found.append(_answers(measures.said(evidence) if evidence and evidence.examples else answers(sources)))
    found += [training(sources), data(sources), settings(sources), limits(sources)]
    return [each for each in found if each is not None]


def _scores(sources: Sources) -> Mapping[str, float] | None:
    if sources.record.config.facts.answers:
        return None
    return sources.state.evals[-1].metrics if sources.state.evals else {}


def _untested(sources: Sources) -> str:
    if _scores(sources) is not None:
        return "None is tested of a reward model: it scores answers and gives none. How well it ranks is told below."
    return f"None was tested. Measure the run: workbench evaluate {sources.run}"


def _answers(exchanges: Sequence[Exchange]) -> Section | None:
    if not exchanges:
        return None
    lead = "Base and run on the same prompts, not chosen by hand."
    return Section("answers", "What they say", lead, [Exchanges(exchanges)])


def _facts(sources: Sources) -> list[tuple[str, str]]:
    config, started, evidence = sources.record.config, sources.state.started, sources.evidence
    facts = [("run", sources.run)] if sources.labels.name else []
    facts += [
        ("base model", config.model),
        ("method", f"{config.method.upper()}, {config.quantization}"),
        ("data", ", ".join(config.pairs)),
    ]
    if started is not None:
        facts.append(("pairs", f"{started.train_pairs:,} trained, {started.holdout_pairs:,} held out"))
    facts.append(("made", _when(sources.record.created)))
    if evidence is not None:
        facts.append(
            ("measured", f"{_when(datetime.fromisoformat(evidence.created))}, in {duration(evidence.seconds)}")
        )
    if sources.labels.tags:
        facts.append(("tags", ", ".join(sources.labels.tags)))
    if sources.labels.note:
        facts.append(("note", sources.labels.note))
    return facts


def _when(moment: datetime) -> str:
    zone = moment.isoformat()[-6:] if moment.utcoffset() else ""
    return f"{moment.day} {moment:%B %Y, %H:%M} UTC{zone}"
