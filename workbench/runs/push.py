"""A model's or a data set's folder to a repository on the Hugging Face hub: what would be sent, then sending it.

The token is looked up by huggingface_hub and handed back to it; it is in no text that this module makes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from workbench.errors import WorkbenchError
from workbench.files import json_in
from workbench.runs.folder import ADAPTER_CONFIG

Visibility = Literal["public", "private"]
Kind = Literal["model", "dataset"]
_REPO = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")


@dataclass(frozen=True, slots=True)
class Upload:
    """What would be sent where. `files` are names with bytes; `there` is what a repository of that name is already.

    `remarks` are what the user should know before.
    """

    folder: Path
    repo: str
    endpoint: str
    user: str
    visibility: Visibility
    there: Visibility | None
    kind: Kind
    files: tuple[tuple[str, int], ...]
    remarks: tuple[str, ...]

    @property
    def bytes(self) -> int:
        """All files together."""
        return sum(size for _, size in self.files)


def prepare(folder: Path, repo: str, visibility: Visibility, kind: Kind = "model") -> Upload:
    """Looks at the folder and asks the hub who we are and what is there.

    Raises `WorkbenchError` for a bad name, a folder that holds no model, where nobody is logged in, where the hub
    cannot be reached, and where the repository is public already but is to be private.
    """
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import RepositoryNotFoundError

    if not _REPO.fullmatch(repo):
        raise WorkbenchError("Not a repository's name", f"{repo!r} is not user/name.", "Write it as --to user/name.")
    kinds = (ADAPTER_CONFIG, "config.json")
    if kind == "model" and not any((folder / name).is_file() for name in kinds):
        raise WorkbenchError(
            "Not a model's folder", f"{folder} has neither {' nor '.join(kinds)}.", "Name a run or a merged model."
        )
    if get_token() is None:
        raise WorkbenchError(
            "Not logged in to Hugging Face",
            "There is no token in HF_TOKEN, nor one that was saved.",
            "Log in once: hf auth login",
        )
    api = HfApi()
    with _hub_errors(repo):
        user = str(api.whoami()["name"])
        try:
            there: Visibility | None = "private" if api.repo_info(repo, repo_type=kind).private else "public"
        except RepositoryNotFoundError:
            there = None
    if there == "public" and visibility == "private":
        raise WorkbenchError(
            "The repository is public already",
            f"{repo} exists, and uploading to it would show it to everybody.",
            "Make it private on its page, name another, or leave --private out.",
        )
    files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    shown = [path for path in files if not any(part.startswith(".") for part in path.parts)]
    sizes = tuple((str(path), (folder / path).stat().st_size) for path in shown)
    return Upload(folder, repo, api.endpoint, user, visibility, there, kind, sizes, tuple(_remarks(folder)))


def push(upload: Upload) -> str:
    """Makes the repository where there is none, and uploads the files as one commit; returns its address.

    Raises `WorkbenchError` where the hub refuses.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    with _hub_errors(upload.repo):
        if upload.there is None:
            api.create_repo(upload.repo, repo_type=upload.kind, private=upload.visibility == "private", exist_ok=True)
        done = api.upload_folder(
            repo_id=upload.repo,
            repo_type=upload.kind,
            # Shards of an earlier version would be read beside the new ones.
            delete_patterns="data/*.parquet" if upload.kind == "dataset" and upload.there else None,
            folder_path=upload.folder,
            allow_patterns=[_literal(name) for name, _ in upload.files],
            commit_message="Upload from the Alignment Workbench",
        )
    return str(done.commit_url)


def _literal(name: str) -> str:
    """The name as a pattern that matches nothing else."""
    return re.sub(r"([*?[])", r"[\1]", name)


def _remarks(folder: Path) -> Iterator[str]:
    try:
        base = json_in((folder / ADAPTER_CONFIG).read_bytes())["base_model_name_or_path"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    if str(base).startswith(("/", "~", ".")):
        yield f"{ADAPTER_CONFIG} names a folder of this machine as the base, which nobody else has: {base}"


@contextmanager
def _hub_errors(repo: str) -> Iterator[None]:
    """What goes wrong with the hub, as a `WorkbenchError` without the token, whatever the server said."""
    from huggingface_hub import get_token
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    try:
        yield
    except HfHubHTTPError as error:
        status = error.response.status_code
        message = _first_line(error.server_message or str(error))
        hint = {
            401: "The token is not valid any more: hf auth login",
            403: "The token may not write there: make one with write access, then hf auth login",
        }.get(status, "Try again later.")
        raise WorkbenchError(
            "Hugging Face refused", _without(f"{repo}: {message} (status {status})", get_token()), hint
        ) from None
    except (OfflineModeIsEnabled, OSError, RuntimeError, ValueError) as error:
        message = _without(f"{repo}: {_first_line(str(error))}", get_token())
        raise WorkbenchError(
            "Hugging Face cannot be reached", message, "Check the network, HF_ENDPOINT and HF_HUB_OFFLINE."
        ) from None


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "no message")


def _without(text: str, token: str | None) -> str:
    return text.replace(token, "[token]") if token else text
