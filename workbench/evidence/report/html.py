"""A report as one HTML file that loads nothing and runs no script."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from workbench.evidence.report.content import SIGNS, Report, kind_name
from workbench.evidence.report.markup import escape
from workbench.figures import signed

_STEPS = {-3: "down3", -2: "down2", -1: "down1", 0: "still", 1: "up1", 2: "up2", 3: "up3"}
"""The class that shades a token."""


def to_html(report: Report) -> str:
    """The page. All text in `report` may be untrusted; only what is `Markup` is taken as it is."""
    style = files(__package__).joinpath("templates", "report.css").read_text("utf-8")
    return _environment().get_template("report.html").render(
        report=report, style=Markup(style), policy=_policy(style)
    )  # fmt: skip


def _policy(style: str) -> str:
    """Nothing may be loaded, sent or run; this very style sheet alone may apply."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"


@cache
def _environment() -> Environment:
    """Templates in which every value is made visible and escaped (`markup.escape`), wherever it stands."""
    environment = Environment(
        loader=PackageLoader(__package__), autoescape=True, finalize=escape, undefined=StrictUndefined
    )
    environment.globals |= {"signs": SIGNS, "steps": _STEPS, "kind_name": kind_name, "signed": signed}
    return environment
