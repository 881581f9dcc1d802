"""Runs that this user's workbench did not make: what they name, and that nothing of it is started unasked."""

from __future__ import annotations

from workbench.config import RunConfig
from workbench.errors import WorkbenchError
from workbench.runs.folder import RunFolder
from workbench.text import one_line, quoted

_STARTS = {
    "launcher_command": "a command that is run",
    "launcher_config": "read by accelerate, which starts processes",
    "reward": "judges its answers; FILE.py:FUNCTION is run",
    "trust_remote_code": "Python that comes with the model is run",
    "allow_pickle": "weights that are a pickle are read",
    "report_to": "gets its metrics",
    "model": "is loaded",
    "adapter": "is gone on from",
    "chat_template": "writes its prompts",
}
"""The settings that start something, or name something outside the run, and what is done with that."""


def named(config: RunConfig) -> dict[str, str]:
    """What of a run's settings starts something, or names something outside it, in words that follow the setting.

    Only those that are set, safe to show.
    """
    values = {setting: getattr(config, setting) for setting in _STARTS}
    return {
        setting: f"{one_line(str(value))} ({_STARTS[setting]})"
        for setting, value in values.items()
        if value and value != "tiny"
    }


def told(folder: RunFolder) -> str:
    """What a person who is asked about a run needs to know, in lines that are safe to show. Raises `WorkbenchError`."""
    lines = [f"  {setting} = {what}" for setting, what in named(folder.record().config).items()]
    begin = "Its run.toml was made elsewhere, or was changed since."
    return "\n".join([f"{begin} It names:", *lines] if lines else [f"{begin} It names nothing outside the run."])


def require_own(folder: RunFolder) -> None:
    """Raises `WorkbenchError` where run.toml is neither as this user's workbench made it nor as the user trusts it."""
    if not folder.own:
        raise WorkbenchError(
            "The run was not made here",
            f"{one_line(folder.id)}: {told(folder)}",
            f"If you trust it: workbench trust {quoted(folder.id)} (with --yes, nobody is asked)",
        )
