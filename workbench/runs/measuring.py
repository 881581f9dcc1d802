"""Starts the process that tries a run (`workbench.engine.measure`)."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from workbench.child import ENVIRONMENT
from workbench.config import RunConfig


def command() -> list[str]:
    """What to start; it reads `question` from standard input and prints one `preview.Told` a line."""
    return [sys.executable, "-P", "-m", "workbench.engine.measure"]


def environment() -> dict[str, str]:
    """What to start it with: the worker's environment, without the network."""
    return {**ENVIRONMENT, "HF_HUB_OFFLINE": "1", **os.environ}


def question(workspace: Path, config: RunConfig) -> bytes:
    """What it reads."""
    return json.dumps({"workspace": str(workspace.resolve()), "config": config.model_dump(mode="json")}).encode()
