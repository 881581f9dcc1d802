"""One copy of the weights, any number of adapters on it, one of them or none switched on."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.engine.model.loading import attach_adapter
from workbench.runs.folder import ADAPTER_CONFIG, ADAPTER_WEIGHTS


@dataclass(frozen=True, slots=True)
class _Adapter:
    """An adapter that is attached: its name in the model, and the version of its file."""

    name: str
    version: tuple[int, int]


class Adapters:
    """A base model whose adapters are attached when they are first asked for, and again when their file has changed."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self._attached: dict[Path, _Adapter] = {}
        self._names = itertools.count(1)
        self._active: str | None = None
        self._digests: dict[tuple[Path, tuple[int, int]], str] = {}

    def switched(self, folder: Path | None) -> Any:
        """The model with the adapter in `folder` on and all others off; None for the base.

        Raises `WorkbenchError` where there is no adapter, or none for this model.
        """
        name = self._attach(folder) if folder is not None else None
        if name == self._active:
            return self.model
        if name is None:
            self.model.base_model.disable_adapter_layers()
        else:
            self.model.base_model.enable_adapter_layers()
            self.model.set_adapter(name, inference_mode=True)
        self._active = name
        return self.model

    def digest(self, folder: Path | None) -> str:
        """What tells the adapter in `folder`, as it is now, from any other: a hash of its files; "" for the base."""
        if folder is None:
            return ""
        key = folder, version(folder)
        if key not in self._digests:
            digest = hashlib.sha256()
            for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS):
                path = folder / name
                if path.is_file():
                    with path.open("rb") as file:
                        digest.update(hashlib.file_digest(file, "sha256").digest())
            self._digests[key] = digest.hexdigest()
        return self._digests[key]

    def _attach(self, folder: Path) -> str:
        """The name of the adapter in `folder`, attached where it is not yet, or not in this version."""
        known, now = self._attached.get(folder), version(folder)
        if known is not None and known.version == now:
            return known.name
        adapter = _Adapter(f"adapter{next(self._names)}", now)
        try:
            self.model = attach_adapter(self.model, folder, adapter.name)
        finally:
            # Attaching turns adapters on and may fail half-way: what is active has to be set again.
            self._active = "" if self._attached or hasattr(self.model, "peft_config") else None
        if known is not None:
            self.model.delete_adapter(known.name)
        self._attached[folder] = adapter
        return adapter.name


def version(folder: Path | None) -> tuple[int, int]:
    """What changes when the adapter's file does: its modification time and size, zeros where there is none."""
    if folder is None:
        return (0, 0)
    try:
        file = (folder / ADAPTER_WEIGHTS).stat()
    except OSError:
        return (0, 0)
    return (file.st_mtime_ns, file.st_size)
