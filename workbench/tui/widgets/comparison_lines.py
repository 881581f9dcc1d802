"""Lines that are made of a comparison alone."""

from __future__ import annotations

from workbench.compare.comparison import Comparison
from workbench.tui.widgets.lines import Lines


class ComparisonLines(Lines):
    """Subclasses give `lines` of `self._comparison`."""

    def __init__(self) -> None:
        super().__init__()
        self._comparison = Comparison()

    def show(self, comparison: Comparison) -> None:
        """Shows what `lines` make of it."""
        self._comparison = comparison
        self.redraw()
