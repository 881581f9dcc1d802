"""Alignment Workbench: preference pairs, 4-bit DPO runs and base beside aligned, in a terminal."""

__version__ = "0.1.0"
