"""The order that the pairs are shown in."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Order:
    """By a column of the data set (`pairs.view.ORDERS`), or by the margin that the run with the id `run` gave."""

    by: str = "row"
    descending: bool = False
    run: str = ""
