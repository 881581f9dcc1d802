"""The keys that this program gives meaning to, without those that come along with Textual's own widgets."""

from __future__ import annotations

from typing import Any

from textual.app import App
from textual.binding import ActiveBinding, Binding
from textual.dom import DOMNode
from textual.screen import Screen


def own_keys(screen: Screen[Any]) -> list[ActiveBinding]:
    """The active bindings that have a description and are ours: the screen's, then its widgets', then the app's."""
    ours = [
        active
        for active in screen.active_bindings.values()
        if active.binding.description and _declared_here(active.node, active.binding)
    ]
    return sorted(ours, key=lambda active: (isinstance(active.node, App), not isinstance(active.node, Screen)))


def _declared_here(node: DOMNode, binding: Binding) -> bool:
    """Whether a class of this package declares the binding, and not one that it inherits from."""
    declared = (
        given
        for each in type(node).__mro__
        if each.__module__.startswith("workbench.")
        for given in vars(each).get("BINDINGS", ())
    )
    return any(
        (given.action, given.description) == (binding.action, binding.description)
        for given in declared
        if isinstance(given, Binding)
    )
