"""Probe suites, statistics and verdicts. No torch, no textual."""
