"""The part of a report that tells how the run trained: curves, numbers before and after, alerts."""

from __future__ import annotations

from collections.abc import Mapping

from workbench.evidence.report.blocks import Block, Cell, Charts, Drawing, Exchange, Facts, Points, Section, Table
from workbench.evidence.report.sources import Sources
from workbench.evidence.report.svg import NamedCurve, line_chart
from workbench.figures import decimal, duration, signed, size
from workbench.runs.events import Eval, Failed, Finished, Killed, Step, Stopped
from workbench.runs.quantities import PREFERENCE_ACCURACY, QUANTITIES, quantities
from workbench.runs.series import curve, downsample
from workbench.runs.state import RunState

_POINTS = 120
"""Columns of a curve: each keeps its lowest and its highest value."""
_MEASURES = {
    "loss": "loss",
    PREFERENCE_ACCURACY: "accuracy",
    "rewards/margins": "margin",
    "rewards/chosen": "reward of chosen",
    "rewards/rejected": "reward of rejected",
    "logps/chosen": "log-probability of chosen",
    "logps/rejected": "log-probability of rejected",
    "kl": "KL to the start, nats a token",
    "reward": "reward",
    "reward_std": "spread of the reward",
    "margin": "margin of scores",
}
_ANSWERS = 3


def training(sources: Sources) -> Section:
    """Curves, facts, held-out metrics before and after, and the alerts that the run raised."""
    state = sources.state
    blocks: list[Block] = []
    charts = _charts(state)
    if charts:
        blocks.append(Charts(charts))
    held_out = _held_out(state)
    if held_out:
        blocks.append(held_out)
    blocks.append(Facts("How it went", _facts(sources)))
    if state.warnings:
        blocks.append(
            Points(
                [_alert(warning.step, warning.title, warning.message, warning.remedy) for warning in state.warnings],
                "bad",
            )
        )
    lead = "Held-out pairs are never trained on. " if held_out else "No pairs were held out. "
    raised = len(state.warnings)
    lead += f"The run raised {raised} {'alert' if raised == 1 else 'alerts'}." if raised else "The run raised no alert."
    return Section("training", "Training", lead, blocks)


def answers(sources: Sources) -> list[Exchange]:
    """What base and run answer greedily to prompts of held-out pairs, at the last step that has some."""
    samples = sources.state.samples
    latest = [sample for sample in samples if sample.step == samples[-1].step][:_ANSWERS]
    return [
        Exchange("held-out pair", sample.prompt, [("base", sample.base), ("run", sample.aligned)]) for sample in latest
    ]


def _charts(state: RunState) -> list[Drawing]:
    """A chart of every quantity that the run's method has and a caption explains."""
    events: list[Step | Eval] = [*state.steps, *state.evals]
    logged = {metric: value for event in events for metric, value in event.metrics.items()}
    charts = []
    for name in quantities(logged):
        about = QUANTITIES[name]
        if not about.caption:
            continue
        if name == "logps":
            lines = [
                *_lines(state, "logps/chosen", "chosen", "", "chosen"),
                *_lines(state, "logps/rejected", "rejected", "", "rejected"),
            ]
        else:
            metric = next(metric for metric in about.metrics if metric in logged)
            lines = _lines(state, metric, "run", "training", "held-out")
        if lines:
            title, bounds = about.title[0].upper() + about.title[1:], (0.0, 1.05) if name == "accuracy" else None
            drawing = line_chart(f"chart-{name}", title, lines, x_name="step", bounds=bounds)
            charts.append(Drawing(title, drawing, about.caption))
    return charts


def _lines(state: RunState, metric: str, look: str, trained: str, held_out: str) -> list[NamedCurve]:
    """Training values faint, held-out values with dots; where there are none, training values bear the name."""
    steps, evals = curve(state.steps, metric), curve(state.evals, metric)
    lines = []
    if steps.xs:
        name = trained if evals.xs else trained or held_out
        lines.append(NamedCurve(name, downsample(steps, _POINTS), f"{look} train"))
    if evals.xs:
        lines.append(NamedCurve(held_out, downsample(evals, _POINTS), look, dots=True))
    return lines


def _held_out(state: RunState) -> Table | None:
    if len(state.evals) < 2:
        return None
    first, last = state.evals[0].metrics, state.evals[-1].metrics
    rows = [
        [Cell(name), *_change(metric, first, last)]
        for metric, name in _MEASURES.items()
        if metric in first and metric in last
    ]
    return Table(
        "Held-out pairs, before the first step and after the last",
        ["measure", "before", "after", "change"],
        rows,
        narrow=True,
    )


def _change(metric: str, first: Mapping[str, float], last: Mapping[str, float]) -> list[Cell]:
    before, after = first[metric], last[metric]
    return [Cell(text, "number") for text in (decimal(before), decimal(after), signed(after - before, 3))]


def _facts(sources: Sources) -> list[tuple[str, str]]:
    state = sources.state
    facts: list[tuple[str, str]] = [("status", sources.status)]
    facts.append(("optimizer steps", f"{state.step} of {state.total_steps or '?'}"))
    if isinstance(state.end, Finished | Stopped):
        facts += [
            ("time", duration(state.end.seconds)),
            ("peak memory", size(state.end.peak_memory_bytes)),
            ("adapter weights that moved", f"{state.end.changed:.1%}"),
        ]
    if isinstance(state.end, Failed | Killed):
        facts.append(("ended", state.end.message))
    if state.steps:
        seconds, pairs = state.steps[-1].seconds, state.steps[-1].pairs
        what = "answers" if sources.record.config.facts.online else "pairs"
        facts.append((f"{what} trained", f"{pairs:,}" + (f", {pairs / seconds:.1f} a second" if seconds else "")))
    started = state.started
    if started is not None:
        trainable = f"{started.trainable_parameters:,} of {started.total_parameters:,}"
        facts += [("reference", started.reference), ("parameters trained", trainable)]
        if started.checkpointing not in ("", "none"):
            facts.append(("layers computed twice", started.checkpointing))
    return facts


def _alert(step: int, title: str, message: str, remedy: str) -> tuple[str, str]:
    return f"Step {step}: {title}", " ".join(part for part in (message, remedy) if part)
