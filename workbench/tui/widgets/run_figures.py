"""The three charts of a run: loss, reward margin, and both log-probabilities, so that displacement is seen."""

from __future__ import annotations

from workbench.runs.series import Curve, curve, horizon
from workbench.runs.state import RunState
from workbench.tui.widgets.chart import Figure, Line

TITLES = {"loss": "loss", "margin": "reward margin", "logps": "log-probability"}
"""The charts in their order: name and title."""


def figures_of(state: RunState) -> dict[str, Figure]:
    """The figure of each chart. Takes milliseconds where steps are many: not for the UI thread."""
    end = horizon(state.step, state.total_steps if state.status == "running" else state.step)
    both = (
        _train_with_marks(state, "logps/chosen", "✔", "chosen", "success"),
        _train_with_marks(state, "logps/rejected", "✘", "rejected", "error"),
    )
    return {
        "loss": Figure(TITLES["loss"], _train_and_eval(state, "loss"), end),
        "margin": Figure(TITLES["margin"], _train_and_eval(state, "rewards/margins"), end, zero=True),
        "logps": Figure(TITLES["logps"], both, end),
    }


def _train_and_eval(state: RunState, metric: str) -> tuple[Line, ...]:
    held_out = curve(state.evals, metric)
    return (
        Line(curve(state.steps, metric), "─", "train", "accent"),
        Line(held_out, "●", "eval", "warning", marks=held_out),
    )


def _train_with_marks(state: RunState, metric: str, sign: str, name: str, color: str) -> Line:
    """The training curve with the held-out values as signs on it; without any, a sign at its end."""
    train, held_out = curve(state.steps, metric), curve(state.evals, metric)
    tip = Curve(train.xs[-1:], train.ys[-1:], train.last, train.broken)
    return Line(train, sign, name, color, marks=held_out or tip)
