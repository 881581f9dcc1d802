"""Secrets that a process was given, and which nothing that it writes down or prints may have in it.

Libraries put addresses, headers and whole environments into their errors, and errors go into logs, events and reports
that are shown and sent on. What counts as a secret is the value of an environment variable whose name says so
(HF_TOKEN, WANDB_API_KEY, AWS_SECRET_ACCESS_KEY), the password in an address in any variable, and Hugging Face's saved
token.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from urllib.parse import quote

_SHORTEST = 8
"""Characters of a secret at least: shorter values stand in other words."""
_WORDS = frozenset({"KEY", "KEYS", "TOKEN", "TOKENS", "SECRET", "SECRETS", "CREDENTIAL", "CREDENTIALS", "PAT"})
_ENDINGS = ("APIKEY", "TOKEN", "SECRET", "PASSWORD", "PASSWD", "PASSPHRASE")
_IN_ADDRESS = re.compile(r"://[^/\s:@]*:([^/\s@]+)@")


def names_secret(variable: str) -> bool:
    """Whether the name of an environment variable says that its value is a secret."""
    words = re.split(r"[^A-Z0-9]+", variable.upper())
    return any(word in _WORDS or word.endswith(_ENDINGS) for word in words)


def secrets(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """The secrets of the environment, this process's where none is given, and what each is called, longest first."""
    found = dict(_secrets(os.environ if environment is None else environment))
    return dict(sorted(found.items(), key=lambda secret: len(secret[0]), reverse=True))


def without_secrets(text: str) -> str:
    """`text` with the name of each secret in its place, however it is quoted: for JSON, Python or an address."""
    for value, name in secrets().items():
        for written in _as_written(value):
            text = text.replace(written, f"\u27e8{name}\u27e9")
    return text


def secret_in(text: str) -> str | None:
    """The name of a secret that `text` has in it; None for none."""
    return next((name for value, name in secrets().items() if any(map(text.__contains__, _as_written(value)))), None)


@cache
def _as_written(value: str) -> tuple[str, ...]:
    quoted = (json.dumps(value), json.dumps(value, ensure_ascii=False), repr(value))
    return tuple(dict.fromkeys((value, *(each[1:-1] for each in quoted), quote(value, safe=""))))


def _secrets(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    if saved := _saved_token(environment.get("HF_TOKEN_PATH"), environment.get("HF_HOME")):
        yield saved, "HF_TOKEN"
    for name, value in environment.items():
        for password in _IN_ADDRESS.findall(value):
            if len(password) >= _SHORTEST:
                yield password, f"{name}'s password"
        # A path to a file with a key in it is none itself.
        if names_secret(name) and len(value.strip()) >= _SHORTEST and not value.startswith(("/", "~", "./")):
            yield value.strip(), name


@cache
def _saved_token(path: str | None, home: str | None) -> str:
    """Hugging Face's token as `hf auth login` saves it; empty where there is none."""
    file = Path(path) if path else Path(home or Path.home() / ".cache" / "huggingface") / "token"
    with suppress(OSError, ValueError, RuntimeError):
        token = file.read_text("utf-8").strip()
        return token if len(token) >= _SHORTEST else ""
    return ""
