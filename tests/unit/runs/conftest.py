"""Workspaces and workers, as the tests of the screens have them."""

from tests.tui.conftest import root, worker

__all__ = ["root", "worker"]
