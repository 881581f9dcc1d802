"""The bar below every screen: what its keys do."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.app import ComposeResult, RenderResult
from textual.binding import ActiveBinding
from textual.content import Content
from textual.reactive import reactive
from textual.screen import Screen
from textual.style import Style
from textual.widget import Widget
from textual.widgets import Footer


class KeyBar(Footer):
    """Textual's footer with one widget for all keys: one a key takes a third of the time in which a screen appears."""

    def __init__(self) -> None:
        super().__init__()
        self._keys = _Keys()
        self._keys.shrink = False

    def compose(self) -> ComposeResult:
        """The line of keys, which scrolls where the window is too narrow for it."""
        yield self._keys

    def bindings_changed(self, screen: Screen[object]) -> None:
        """Shows the keys that mean something now. An app that lost the focus keeps those it has."""
        if screen.app.app_focus and self.is_attached and screen is self.screen:
            shown = [active for active in screen.active_bindings.values() if active.binding.show]
            # Of several keys for one action, the first is shown.
            self._keys.shown = tuple({active.binding.action: active for active in reversed(shown)}.values())[::-1]


class _Keys(Widget):
    """The keys and what they do, to click on."""

    ALLOW_SELECT = False
    DEFAULT_CSS: ClassVar[str] = "_Keys { width: auto; height: 1; text-wrap: nowrap; }"

    shown: reactive[tuple[ActiveBinding, ...]] = reactive((), layout=True)
    under_mouse: reactive[str | None] = reactive(None)

    def render(self) -> RenderResult:
        parts: list[Content] = []
        for active in self.shown:
            binding = active.binding
            part = Content.assemble(
                (self.app.get_key_display(binding), "bold $footer-key-foreground"),
                (f" {binding.description}", "$footer-description-foreground"),
            ).stylize(Style.from_meta({"key": binding.key}))
            if not active.enabled:
                part = part.stylize("dim")
            elif binding.key == self.under_mouse:
                part = part.stylize("on $block-hover-background")
            parts.append(part)
        return Content(" ").join(parts)

    def on_mouse_down(self, event: events.MouseDown) -> None:
        key = event.style.meta.get("key")
        enabled = {active.binding.key: active.enabled for active in self.shown}
        if key in enabled:
            if enabled[key]:
                self.app.simulate_key(key)
            else:
                self.app.bell()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        self.under_mouse = event.style.meta.get("key")

    def on_leave(self) -> None:
        self.under_mouse = None
