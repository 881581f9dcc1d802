"""What `--model` names: the embedded model, a local folder, or a model on Hugging Face."""

from __future__ import annotations

from pathlib import Path

from workbench.errors import WorkbenchError
from workbench.tiny import WEIGHTS


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
