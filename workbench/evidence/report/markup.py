"""The one way that text gets into a page: invisible characters made visible, then escaped."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup
from markupsafe import escape as _escape

from workbench.text import safe


def escape(value: object) -> Markup:
    """`value` as text for HTML and SVG, between tags or within a quoted attribute; `Markup` comes back as it is.

    Controls, bidirectional overrides and invisible characters become visible signs first (`text.safe`).
    """
    return value if isinstance(value, Markup) else _escape(safe(str(value)))


def element(tag: str, *children: object, **attributes: Any) -> Markup:
    """An element with its children and attributes escaped; attributes that are None are left out.

    `class_` is written `class`, and `view_box` the way SVG wants it; every other `_` becomes `-`. Numbers are rounded
    to hundredths: nobody sees more of a picture.
    """
    written = "".join(
        f' {_NAMES.get(name) or name.replace("_", "-")}="{escape(_rounded(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    if not children:
        return Markup(f"<{tag}{written}/>")
    return Markup(f"<{tag}{written}>{''.join(map(escape, children))}</{tag}>")


_NAMES = {"class_": "class", "view_box": "viewBox"}


def _rounded(value: object) -> object:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else value
