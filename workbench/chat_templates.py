"""What runs and pairs may give to chat templates, and which template a run's `chat_template` setting names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from workbench.errors import WorkbenchError

CHOOSE_TEMPLATE = "workbench train --set chat_template=FILE, or the name of one of TRL's (qwen2_5, llama3, gemma …)."
"""How a chat template is chosen where a model has none."""
_MOST_BYTES = 64 * 1024
"""The longest template that is taken; the longest that TRL has is a third of it."""

RESERVED = frozenset(
    {
        *("conversation", "messages", "tools", "chat_template", "add_generation_prompt", "continue_final_message"),
        *("tokenize", "padding", "truncation", "max_length", "return_tensors", "return_dict"),
        *("return_assistant_tokens_mask", "tokenizer_kwargs", "processor_kwargs", "sanitize_control_tokens"),
        *("load_audio_from_video", "load_kwargs"),
    }
)
"""What a chat template may not be given by run or pair: how turns are rendered, not to what; tools have a column."""


@dataclass(frozen=True, slots=True)
class Rendering:
    """How turns are rendered, as a run's settings say it: in the `chat_template` that is named (empty: the model's
    own), which is given what `template` says besides the turns."""

    chat_template: str = ""
    template: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        """The settings in a few words, empty where nothing is set."""
        given = [f"{name}={value}" for name, value in self.template.items()]
        return ", ".join([*([f"in the template {self.chat_template}"] if self.chat_template else []), *given])


OWN_RENDERING = Rendering()
"""In the model's own template, which is given nothing else."""


def template_names() -> list[str]:
    """The chat templates that come with TRL, by name."""
    return sorted(path.stem for path in _shipped().glob("*.jinja"))


def template_file(named: str) -> Path | None:
    """The file that `named` is, a path or the name of one of TRL's chat templates; None where it is empty.

    Raises `WorkbenchError` where there is no such template.
    """
    if not named:
        return None
    if named in template_names():
        return _shipped() / f"{named}.jinja"
    file = Path(named).expanduser().absolute()
    if not file.is_file():
        raise WorkbenchError(
            "No such chat template",
            f"{named} is neither a file nor one of TRL's chat templates.",
            f"Name a file in Jinja, or one of {', '.join(template_names())}.",
        )
    return file


def read_template(file: Path | None) -> str:
    """The chat template in a file; empty for None. Raises `WorkbenchError` where that is none."""
    if file is None:
        return ""
    try:
        if file.stat().st_size > _MOST_BYTES:
            raise ValueError(f"it has more than {_MOST_BYTES:,} bytes")
        text = file.read_text("utf-8")
        if not text.strip():
            raise ValueError("it is empty")
    except (OSError, ValueError) as error:
        raise WorkbenchError(
            "The chat template cannot be read", f"{file}: {error}.", "Name a file with a template in Jinja, as text."
        ) from error
    return text


def _shipped() -> Path:
    found = find_spec("trl")  # Not imported: that takes seconds.
    return Path(found.origin).parent / "chat_templates" if found and found.origin else Path()
