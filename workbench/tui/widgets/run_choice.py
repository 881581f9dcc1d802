"""A list of earlier runs to choose one from, for a new run to build on."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content
from textual.widgets import Select

from workbench.runs.catalog import Summary
from workbench.runs.quantities import quantity
from workbench.text import one_line
from workbench.tui import figures

_ID = 42
OTHER = ""
"""The value of what is no run."""


class RunChoice(Select[str]):
    """Runs by their ids, what they are beside them, and one thing that is no run. Ids may be untrusted."""

    def __init__(self, other: str, *, other_last: bool = False, id: str) -> None:  # noqa: A002
        """`other` is what is no run, offered before the runs or `other_last` behind them."""
        self._other, self._last = (Content(other), OTHER), other_last
        self._ids: list[str] = []
        super().__init__([self._other], value=OTHER, allow_blank=False, compact=True, id=id)

    def offer(self, runs: Sequence[Summary]) -> None:
        """These are the runs to choose from. The one that was chosen stays so, if it is among them."""
        chosen, ids = self.run, [each.id for each in runs]
        if ids == self._ids:
            return
        self._ids = ids
        options = [(told(each), each.id) for each in runs]
        self.set_options([*options, self._other] if self._last else [self._other, *options])
        self.value = chosen if chosen in ids else OTHER

    @property
    def offers(self) -> bool:
        """Whether there is a run to choose."""
        return bool(self._ids)

    @property
    def run(self) -> str:
        """The id of the run; empty where none is chosen."""
        return str(self.value)


def told(run: Summary) -> Content:
    """A run in a line: its id, how often it was right on held-out pairs, and how far it went if not to the end."""
    accuracy = quantity(run.state.evals[-1].metrics, "accuracy") if run.state.evals else None
    parts = [f"{figures.share(accuracy)} right"] if accuracy is not None else []
    if run.status != "finished":
        parts.append(f"{run.status} at {run.state.step:,}")
    return Content.assemble(one_line(run.id, _ID), "  ", (" · ".join(parts), "$secondary"))
