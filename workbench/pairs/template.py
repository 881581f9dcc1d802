"""The columns of a pair that its prompt is rendered with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from workbench.errors import WorkbenchError

TEMPLATE_COLUMNS = ("tools", "chat_template_kwargs")


def template_arguments(columns: Mapping[str, Any]) -> dict[str, Any]:
    """What TRL passes on to the chat template from a row's columns `tools` and `chat_template_kwargs`.

    Raises `WorkbenchError` where `tools` is text and no JSON.
    """
    arguments = dict(columns.get("chat_template_kwargs") or {})
    tools = columns.get("tools")
    if tools:
        try:
            arguments["tools"] = json.loads(tools) if isinstance(tools, str) else tools
        except ValueError as error:
            raise WorkbenchError(
                "The tools of a pair cannot be read",
                f"Field tools: it is text, but no JSON: {error}.",
                "Make it a list of JSON schemas.",
            ) from error
    return arguments
