"""Puts a run's report together and writes it: for the command line, and in a process for the screens.

What is proved comes first, where it comes from last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from workbench.child import Parent, serve
from workbench.credentials import without_secrets
from workbench.errors import WorkbenchError
from workbench.evidence.document import Evidence
from workbench.evidence.report import numbers
from workbench.evidence.report.blocks import Exchange, Exchanges, Page, Section
from workbench.evidence.report.html import to_html
from workbench.evidence.report.markdown import to_markdown
from workbench.evidence.report.numbers import token_by_token
from workbench.evidence.report.provenance import data, limits, settings
from workbench.evidence.report.shipped import shipped
from workbench.evidence.report.sources import Sources, gather
from workbench.evidence.report.story import caveats, claims, headline, tally
from workbench.evidence.report.training import answers, training
from workbench.figures import duration
from workbench.files import write_whole
from workbench.runs.folder import RunFolder
from workbench.text import quoted


def compose(sources: Sources) -> Page:
    """The report. The same sources give the same report."""
    sentence, tone = headline(sources.evidence, _scores(sources))
    return Page(
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
    sections: list[Section | None] = []
    if evidence is not None:
        sections += [
            claims(evidence),
            shipped(evidence),
            numbers.probes(evidence),
            numbers.answers(evidence, sources.sample_labels),
            numbers.held_out(evidence),
            numbers.tags(evidence),
        ]
        sections.append(numbers.regressions(evidence))
        sections.append(token_by_token(evidence.tokens) if evidence.tokens else None)
    else:
        sections.append(Section("claims", "Claims", _untested(sources), []))
    sections.append(_answers(numbers.said(evidence) if evidence and evidence.examples else answers(sources)))
    sections += [training(sources), data(sources), settings(sources), limits(sources)]
    return [section for section in sections if section is not None]


def _scores(sources: Sources) -> Mapping[str, float] | None:
    if sources.record.config.facts.answers:
        return None
    return sources.state.evals[-1].metrics if sources.state.evals else {}


def _untested(sources: Sources) -> str:
    if _scores(sources) is not None:
        return "None is tested of a reward model: it scores answers and gives none. How well it ranks is told below."
    return f"None was tested. Measure the run: workbench evaluate {quoted(sources.run)}"


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
        held = "" if evidence.quantization == config.quantization else f", on {evidence.quantization} weights"
        facts.append(
            ("measured", f"{_when(datetime.fromisoformat(evidence.created))}, in {duration(evidence.seconds)}{held}")
        )
    if sources.labels.tags:
        facts.append(("tags", ", ".join(sources.labels.tags)))
    if sources.labels.note:
        facts.append(("note", sources.labels.note))
    return facts


def _when(moment: datetime) -> str:
    zone = moment.isoformat()[-6:] if moment.utcoffset() else ""
    return f"{moment.day} {moment:%B %Y, %H:%M} UTC{zone}"


Form = Literal["html", "md"]


@dataclass(frozen=True, slots=True)
class Report:
    """A report as text. `headline` is its first sentence; `evidence` is None before `evaluate`."""

    text: str
    headline: str
    evidence: Evidence | None


def render(folder: RunFolder, form: Form = "html") -> Report:
    """The report about a run. Raises `WorkbenchError` where run.toml or evidence.json cannot be read."""
    sources = gather(folder)
    page = compose(sources)
    text = without_secrets(to_html(page) if form == "html" else to_markdown(page))
    return Report(text, page.headline, sources.evidence)


def save(report: Report, path: Path) -> None:
    """Writes the file whole or not at all. Raises `WorkbenchError` where that is refused."""
    try:
        write_whole(path, report.text)
    except OSError as error:
        raise WorkbenchError(
            "The report could not be written", f"{path}: {error.strerror or error}.", "Name another file with --to."
        ) from error


def work(request: Mapping[str, Any], _: Parent) -> str:
    """Leaves the page in the run's folder."""
    folder = RunFolder(Path(request["run"]))
    report = render(folder)
    save(report, folder.report)
    return report.headline


if __name__ == "__main__":
    serve(work)
