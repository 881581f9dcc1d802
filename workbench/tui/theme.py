"""The colours: one accent, green and red that never stand alone, and as little else as can be."""

from __future__ import annotations

from textual.theme import Theme

DARK = Theme(
    name="workbench-dark",
    primary="#7aa2f7",
    secondary="#8a93b2",
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
        "block-cursor-background": "#2d3650",
        "block-cursor-foreground": "#ffffff",
        "block-cursor-text-style": "none",
        "border": "#353b4e",
        "border-blurred": "#2a2f3d",
        "footer-background": "#181b24",
        "footer-key-foreground": "#7aa2f7",
        "footer-description-foreground": "#8a93b2",
        "scrollbar": "#353b4e",
        "scrollbar-background": "#14161d",
        "scrollbar-hover": "#4a5270",
        "scrollbar-active": "#7aa2f7",
        "input-selection-background": "#7aa2f7 35%",
    },
)

LIGHT = Theme(
    name="workbench-light",
    primary="#2f5bd0",
    secondary="#5f6780",
    accent="#2f5bd0",
    foreground="#20242f",
    background="#fafbfd",
    surface="#f1f3f8",
    panel="#e4e7ef",
    success="#2c7a2c",
    warning="#8f5b00",
    error="#bb2b3a",
    dark=False,
    variables={
        "block-cursor-background": "#cfdaf7",
        "block-cursor-foreground": "#10131b",
        "block-cursor-text-style": "none",
        "border": "#c4c9d6",
        "border-blurred": "#d6dae4",
        "footer-background": "#f1f3f8",
        "footer-key-foreground": "#2f5bd0",
        "footer-description-foreground": "#5f6780",
    },
)
