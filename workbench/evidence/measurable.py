"""Whether there is anything about a run to measure, told before a model is loaded."""

from __future__ import annotations

from workbench.errors import WorkbenchError
from workbench.runs.folder import RunFolder


def answers(folder: RunFolder) -> bool:
    """Whether the run's model gives answers, whose probabilities can be measured. Raises `WorkbenchError`."""
    return folder.record().config.facts.answers


def check(folder: RunFolder) -> None:
    """Raises `WorkbenchError` where the run has no adapter yet, or is a reward model."""
    if not answers(folder):
        raise WorkbenchError(
            "A reward model gives no answers to measure",
            f"{folder.id} scores answers, so there are no probabilities before and after. How well it ranks held-out "
            f"pairs, its accuracy and margin, was measured while it trained: workbench report {folder.id}",
            f"Train a policy with it, and evaluate that: workbench train --method grpo --set reward=run:{folder.id}",
        )
    folder.saved_adapter()
