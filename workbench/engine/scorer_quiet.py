"""Call before the model libraries are imported: keeps off stderr what they say at every start."""

from __future__ import annotations

import logging
import os
import warnings

from workbench.runs.process import ENVIRONMENT


def quiet_libraries() -> None:
    """Leaves out progress bars, notes about optional kernels and coming renames; what the user has set stays."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
