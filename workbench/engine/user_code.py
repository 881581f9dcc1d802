"""Runs the user's own Python files: rewards and classifiers of answers that a setting names."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from typing import Any

from workbench.user_functions import UserFunction


def load_function(named: UserFunction) -> Callable[..., Any]:
    """The function, its file run, with the file's folder to import from meanwhile. Raises whatever the file raises."""
    sys.path.insert(0, str(named.file.parent))
    try:
        spec = importlib.util.spec_from_file_location(f"workbench_user_{named.file.stem}", named.file)
        assert spec is not None and spec.loader is not None  # noqa: PT018 - for a file that ends in .py
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        function: Callable[..., Any] = getattr(module, named.function)
        return function
    finally:
        sys.path.pop(0)
