"""Writes a run's report: for the command line, and in a process for the screens."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from workbench.child import Parent, serve
from workbench.errors import WorkbenchError
from workbench.evidence.document import Evidence
from workbench.evidence.report.compose import compose
from workbench.evidence.report.html import to_html
from workbench.evidence.report.markdown import to_markdown
from workbench.evidence.report.sources import gather
from workbench.runs.folder import RunFolder

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
    return Report(to_html(page) if form == "html" else to_markdown(page), page.headline, sources.evidence)


def save(report: Report, path: Path) -> None:
    """Writes the file whole or not at all. Raises `WorkbenchError` where that is refused."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        unfinished.write_text(report.text, encoding="utf-8")
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
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
