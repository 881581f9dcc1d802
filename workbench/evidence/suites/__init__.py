"""Suites of probes: those that ship, public ones brought in, and what a workspace's suites can show."""
