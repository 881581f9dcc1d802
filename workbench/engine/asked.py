"""What the user asks of a worker while it works: files in the run folder, and signals."""

from __future__ import annotations

from workbench.runs.folder import RunFolder
from workbench.runs.writer import RunDeletedError


class StopRequested(Exception):  # noqa: N818 - a request, not an error
    """Someone asked the run to stop while no step was being made."""


class Asked:
    """Looks up, each time anew, what the worker is asked to do."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._told = False

    def tell_stop(self) -> None:
        """A stop that came by signal. It counts even where no file can be made."""
        self._told = True

    @property
    def stop(self) -> bool:
        """Whether to finish the step, save and end."""
        return self._told or self._folder.stop.exists()

    @property
    def pause(self) -> bool:
        """Whether to wait between two steps."""
        return self._folder.pause.exists()

    def check_stop(self) -> None:
        """Raises `StopRequested` where someone asked for it. For use where no step is being made."""
        self.check_place()
        if self.stop:
            raise StopRequested

    def check_place(self) -> None:
        """Raises `RunDeletedError` where the run folder is gone: nothing more is to be made there."""
        if not self._folder.run_toml.exists():
            raise RunDeletedError(str(self._folder.path))
