"""How a comparison is shown, apart from what it is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ViewOptions:
    """`hint` says what could be done next, `title` how answers are generated.

    `speaking`: on a low screen, what the columns say takes the place of the bars. `by_shift`: tokens are coloured by
    the class of their shift, not by how their log-probability moved. `bounds`: tokens show where they begin, control
    tokens too. `presenting`: large, and few words. `cursor`: the row of the bars that enter would take.
    """

    hint: str = ""
    title: str = ""
    speaking: bool = False
    by_shift: bool = False
    bounds: bool = True
    presenting: bool = False
    cursor: int | None = None
