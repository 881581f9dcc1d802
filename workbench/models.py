"""What `--model` names, the embedded model, a local folder, or a model on Hugging Face, and what its files may do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from workbench.errors import WorkbenchError
from workbench.tiny import WEIGHTS


@dataclass(frozen=True, slots=True)
class Trust:
    """What a model's files may do here besides being read as numbers and text. By default, nothing."""

    code: bool = False
    """Python that comes with the model runs: transformers' trust_remote_code."""
    pickle: bool = False
    """Weights that are a pickle are read, as far as torch.load reads them with weights_only."""


UNTRUSTED = Trust()


def resolve(model: str) -> str:
    """The folder or Hugging Face id that `model` stands for. Raises `WorkbenchError` for a folder that is not there."""
    if model == "tiny":
        return str(WEIGHTS)
    folder = Path(model).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise WorkbenchError(
                "Not a model folder",
                f"{folder} has no config.json.",
                "Name the folder that holds config.json and the safetensors files.",
            )
        return str(folder)
    if folder.exists() or model.startswith(("/", ".", "~")) or model.count("/") > 1:
        raise WorkbenchError(
            "No such model", f"{folder} is not a folder.", "Name a folder, a Hugging Face id (org/name), or tiny."
        )
    return model
