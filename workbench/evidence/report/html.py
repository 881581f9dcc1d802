"""A report as one HTML file that loads nothing and runs no script.

Text gets into the page in one way, `escape`: invisible characters are made visible, then all is escaped.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from markupsafe import escape as _escape

from workbench.evidence.report.blocks import SIGNS, Block, Page
from workbench.figures import signed
from workbench.text import safe

_NAMES = {"class_": "class", "view_box": "viewBox"}
"""Attributes whose names Python cannot have."""
_STEPS = {-3: "down3", -2: "down2", -1: "down1", 0: "still", 1: "up1", 2: "up2", 3: "up3"}
"""The class that shades a token."""


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


def _rounded(value: object) -> object:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else value


def to_html(report: Page) -> str:
    """The page. All text in `report` may be untrusted; only what is `Markup` is taken as it is."""
    style = files(__package__).joinpath("templates", "report.css").read_text("utf-8")
    return _environment().get_template("report.html").render(
        report=report, style=Markup(style), policy=_policy(style)
    )  # fmt: skip


def _policy(style: str) -> str:
    """Nothing may be loaded, sent or run; this very style sheet alone may apply."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"


def _kind_name(block: Block) -> str:
    """The macro that shows the block."""
    return type(block).__name__.lower()


@cache
def _environment() -> Environment:
    """Templates in which every value is made visible and escaped (`escape`), wherever it stands."""
    environment = Environment(
        loader=PackageLoader(__package__), autoescape=True, finalize=escape, undefined=StrictUndefined
    )
    environment.globals |= {"signs": SIGNS, "steps": _STEPS, "kind_name": _kind_name, "signed": signed}
    return environment
