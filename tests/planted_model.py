"""A model folder as an attacker would make it: loading it in the usual way runs Python that came with it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from workbench.tiny import WEIGHTS

_CODE = """
from pathlib import Path

Path({marker!r}).touch()

from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification, PreTrainedTokenizerFast


class PlantedConfig(LlamaConfig):
    model_type = {kind!r}


class PlantedModel(LlamaForCausalLM):
    config_class = PlantedConfig


class PlantedClassifier(LlamaForSequenceClassification):
    config_class = PlantedConfig


class PlantedTokenizer(PreTrainedTokenizerFast):
    pass
"""


def plant(folder: Path, marker: Path, kind: str = "planted") -> Path:
    """The embedded model under `folder`, with Python that makes the file `marker` once any of it is imported.

    `kind` is its model_type: one that transformers does not know needs that Python, "llama" does not.
    """
    shutil.copytree(WEIGHTS, folder)
    _change(
        folder / "config.json",
        model_type=kind,
        architectures=["PlantedModel"],
        auto_map={
            "AutoConfig": "planted.PlantedConfig",
            "AutoModelForCausalLM": "planted.PlantedModel",
            "AutoModelForSequenceClassification": "planted.PlantedClassifier",
        },
    )
    own = {"tokenizer_class": "PlantedTokenizer"} if kind == "planted" else {}
    _change(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": [None, "planted.PlantedTokenizer"]}, **own)
    code = _CODE.format(marker=str(marker), kind=kind)
    (folder / "planted.py").write_text(code, "utf-8")
    (folder / "custom_generate").mkdir()
    (folder / "custom_generate" / "generate.py").write_text(f"{code}\n\ndef generate(**_):\n    pass\n", "utf-8")
    return folder


def _change(file: Path, **values: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text("utf-8")) | values), "utf-8")
