"""The colours: one accent, green and red that never stand alone, and as little else as can be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from textual.color import BLACK, WHITE, Color
from textual.theme import Theme

TEXT, DRAWING = 4.5, 3.0
"""The least contrast of text, and of what is drawn, with the ground under it (WCAG 2.2, level AA)."""
TEXT_COLORS = ("foreground", "secondary", "accent", "success", "warning", "error")
"""The theme variables that text is written in."""
GROUNDS = ("background", "surface", "panel", "block-cursor-background")
"""The theme variables that text is written on."""

_TINT = 1.5
"""The most contrast of a ground with the background: signs in every colour stand on each of them."""
_FOCUS = 0.05
"""How much of the foreground is in the ground of a field with the focus."""

DARK = Theme(
    name="workbench-dark",
    primary="#7aa2f7",
    secondary="#8f98b6",
    accent="#7aa2f7",
    foreground="#d5d9e6",
    background="#14161d",
    surface="#181b24",
    panel="#222633",
    success="#8fcf7f",
    warning="#e2b35d",
    error="#f0757f",
    dark=True,
    variables={
        "block-cursor-background": "#262e45",
        "block-cursor-foreground": "#ffffff",
        "block-cursor-text-style": "none",
        "block-cursor-blurred-background": "#222633",
        "border": "#353b4e",
        "border-blurred": "#2a2f3d",
        "footer-background": "#181b24",
        "footer-key-foreground": "#7aa2f7",
        "footer-description-foreground": "#8f98b6",
        "scrollbar": "#353b4e",
        "scrollbar-background": "#14161d",
        "scrollbar-hover": "#4a5270",
        "scrollbar-active": "#7aa2f7",
        "input-selection-background": "#7aa2f7 35%",
    },
)

LIGHT = Theme(
    name="workbench-light",
    primary="#2c56c6",
    secondary="#586078",
    accent="#2c56c6",
    foreground="#20242f",
    background="#fafbfd",
    surface="#f1f3f8",
    panel="#e4e7ef",
    success="#276d27",
    warning="#845400",
    error="#b22837",
    dark=False,
    variables={
        "block-cursor-background": "#dce4f9",
        "block-cursor-foreground": "#10131b",
        "block-cursor-text-style": "none",
        "block-cursor-blurred-background": "#e4e7ef",
        "border": "#c4c9d6",
        "border-blurred": "#d6dae4",
        "footer-background": "#f1f3f8",
        "footer-key-foreground": "#2c56c6",
        "footer-description-foreground": "#586078",
    },
)


def contrast(one: Color, other: Color) -> float:
    """How far two opaque colours are apart, from 1 to 21 (WCAG 2.2, "contrast ratio")."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def readable(color: Color, grounds: Sequence[Color], least: float) -> Color:
    """The colour itself, or the nearest on its way to white or black that has `least` contrast with all grounds."""
    end = _farthest(grounds)
    for percent in range(100):
        mixed = color.blend(end, percent / 100)
        if all(contrast(mixed, ground) >= least for ground in grounds):
            return mixed
    return end


def grounds_of(variables: Mapping[str, str]) -> list[Color]:
    """What text stands on: `GROUNDS`, and the panel of a field with the focus, which is a little nearer to the text."""
    background = Color.parse(variables["background"])
    grounds = [background + Color.parse(variables[name]) for name in GROUNDS]
    return [*grounds, grounds[GROUNDS.index("panel")].blend(_farthest(grounds), _FOCUS)]


def legible(theme: Theme) -> Theme:
    """A theme of Textual's in which our widgets can be read.

    Its authors chose the colours for other uses: `secondary`, in which we write what is less important, is there to
    stand behind white text, and the ground of a cursor is as strong as a button.
    """
    colors = theme.to_color_system().generate()
    background = Color.parse(colors["background"])
    tints = {name: _tint(background + Color.parse(colors[name]), background).hex for name in GROUNDS}
    grounds = grounds_of(colors | tints)
    text = {name: readable(Color.parse(colors[name]), grounds, TEXT).hex for name in TEXT_COLORS}
    primary = readable(Color.parse(colors["primary"]), grounds, TEXT).hex
    chosen = ("block-cursor", "block-cursor-blurred", "input-selection")
    variables = {f"{each}-background": tints["block-cursor-background"] for each in chosen}
    variables |= {f"{each}-foreground": text["foreground"] for each in chosen}
    variables |= {"footer-background": tints["surface"], "footer-key-foreground": text["accent"]}
    variables |= {"footer-description-foreground": text["secondary"], "button-color-foreground": background.hex}
    return replace(
        theme,
        primary=primary,
        foreground=text["foreground"],
        secondary=text["secondary"],
        accent=text["accent"],
        success=text["success"],
        warning=text["warning"],
        error=text["error"],
        surface=tints["surface"],
        panel=tints["panel"],
        variables=theme.variables | variables,
    )


def told_without_colors(theme: Theme) -> Theme:
    """The theme for 16 colours or none: there the grounds are all the same, and what is chosen is underlined."""
    return replace(theme, variables=theme.variables | {"block-cursor-text-style": "bold underline"})


def _tint(color: Color, background: Color) -> Color:
    """The colour, or as much of it as leaves room for text between it and white or black."""
    mixed = (color.blend(background, percent / 100) for percent in range(101))
    return next(each for each in mixed if contrast(each, background) <= _TINT)


def _farthest(grounds: Sequence[Color]) -> Color:
    return max((WHITE, BLACK), key=lambda end: min(contrast(end, ground) for ground in grounds))


def _luminance(color: Color) -> float:
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in color.normalized]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
