"""Hugging Face: whether it is reached, who we are there, which models are here already. No token is read out."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from workbench.doctor.findings import Finding

_PATIENCE = 4.0


def look() -> Iterator[Finding]:
    """The hub as this environment has it."""
    from huggingface_hub import constants, get_token

    yield _reached(constants.ENDPOINT, offline=constants.HF_HUB_OFFLINE)
    if get_token() is None:
        hint = "Needed for gated and private models, and to push: hf auth login"
        yield Finding("login", "warning", "nobody is logged in to Hugging Face", hint)
    else:
        yield Finding("login", "ok", f"there is a token, {'in HF_TOKEN' if os.environ.get('HF_TOKEN') else 'saved'}")
    yield _cached(Path(constants.HF_HUB_CACHE))


def _reached(endpoint: str, *, offline: bool) -> Finding:
    own = "Models in folders and in the cache work without; copy others here."
    if offline:
        return Finding("hub", "warning", "HF_HUB_OFFLINE is set: only models that are here", f"Unset it. {own}")
    proxy = next((os.environ[name] for name in ("HTTPS_PROXY", "https_proxy") if os.environ.get(name)), "")
    parts = urlsplit(proxy or endpoint)
    via = " (a proxy)" if proxy else ""
    try:
        port = parts.port or (80 if parts.scheme == "http" else 443)
        with socket.create_connection((parts.hostname or "", port), timeout=_PATIENCE):
            return Finding("hub", "ok", f"{parts.hostname} is reached{via}")
    except (OSError, ValueError) as error:
        return Finding("hub", "warning", f"{parts.hostname} is not reached{via}: {error}", own)


def _cached(folder: Path) -> Finding:
    found = sorted(path.name.removeprefix("models--").replace("--", "/") for path in folder.glob("models--*"))
    names = f": {', '.join(found[:4])}{' …' if len(found) > 4 else ''}" if found else ""
    return Finding("cached models", "ok", f"{len(found)} in {folder}{names}; and tiny, the embedded one")
