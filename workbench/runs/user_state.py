"""The user's state on this machine: the folder of it, and the key in it that signs what the user's workbench made."""

from __future__ import annotations

import hmac
import os
import secrets
from contextlib import suppress
from pathlib import Path

from platformdirs import user_state_path

from workbench.errors import WorkbenchError

STATE = "WORKBENCH_STATE"
"""The environment variable that names the folder where lines, leases and the key are kept."""
_KEY, _LENGTH = "key", 32


def state_folder() -> Path:
    """Where the user's state is; need not exist."""
    named = os.environ.get(STATE)
    return Path(named) if named else user_state_path("alignment-workbench")


def sign(text: bytes) -> str:
    """What shows that this user wrote `text` on this machine: HMAC-SHA256 with the user's key, in hexadecimal.

    The key is made where there is none. Raises `WorkbenchError` where it can neither be read nor made.
    """
    return hmac.new(_key(make=True) or b"", text, "sha256").hexdigest()


def is_signed(text: bytes, signature: str) -> bool:
    """Whether `signature` is what `sign` gives for `text`. Raises `WorkbenchError` where the key cannot be read."""
    key = _key(make=False)
    return key is not None and hmac.compare_digest(
        hmac.new(key, text, "sha256").hexdigest().encode(), signature.encode()
    )


def _key(*, make: bool) -> bytes | None:
    file = state_folder() / _KEY
    try:
        if make and not file.exists():
            _make(file)
        key = file.read_bytes()
        if file.stat().st_mode & 0o077:
            file.chmod(0o600)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise WorkbenchError(
            "The key that signs runs cannot be used",
            f"{file}: {error}.",
            f"Give that folder's rights back, or set {STATE}.",
        ) from error
    if len(key) != _LENGTH:
        raise WorkbenchError(
            "The key that signs runs is damaged",
            f"{file} has {len(key)} bytes, not {_LENGTH}.",
            "Delete it: a new one is made, and runs made before are asked about once.",
        )
    return key


def _make(file: Path) -> None:
    """Puts a new key there, for the user's eyes alone, unless another process is quicker."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    unfinished = file.with_name(f"{_KEY}.{os.getpid()}.tmp")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(descriptor, secrets.token_bytes(_LENGTH))
        with suppress(FileExistsError):
            os.link(unfinished, file)
    finally:
        os.close(descriptor)
        unfinished.unlink(missing_ok=True)
