"""Reads sections of workbench.toml and of the tables beside suites, with an error that names file, section and key."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from workbench.config import unknown_setting, wrong_settings
from workbench.errors import WorkbenchError
from workbench.files import toml_in

Table = TypeVar("Table", bound=BaseModel)


def read_document(path: Path) -> dict[str, Any]:
    """What is in the file; nothing where there is none. Raises `WorkbenchError` for a file that is no TOML."""
    try:
        return toml_in(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise WorkbenchError("The settings cannot be read", f"{path}: {error}.", "Correct that line.") from error


def read_section(path: Path, section: str, kind: type[Table]) -> Table:
    """The section `[section]` of the file; the defaults of `kind` where there is no file or no section.

    Raises `WorkbenchError` for a file that is no TOML, an unknown key (with the nearest right one), a wrong value.
    """
    values = read_document(path).get(section, {})
    if not isinstance(values, dict):
        raise WorkbenchError("Not settings", f"{path}: {section} is no section.", f"Write [{section}] on its own line.")
    return checked(kind, values, f"{path}, section [{section}]")


def tables(document: Mapping[str, Any], section: str, path: Path) -> dict[str, dict[str, Any]]:
    """The tables `[section.NAME]` of a document read from `path`, by name. Raises `WorkbenchError`."""
    named = document.get(section, {})
    if not isinstance(named, dict) or not all(isinstance(table, dict) for table in named.values()):
        raise WorkbenchError("Not settings", f"{path}: {section} is no section.", f"Write [{section}.NAME] above it.")
    return named


def checked(kind: type[Table], values: Mapping[str, Any], where: str) -> Table:
    """The settings that `values` are, read `where` ("…/workbench.toml, section [merge]"). Raises `WorkbenchError`."""
    for key in values:
        if key not in kind.model_fields:
            raise unknown_setting(key, kind.model_fields, f"{where}.")
    try:
        return kind(**values)
    except ValidationError as error:
        raise wrong_settings(error, "Correct it.", where) from None
