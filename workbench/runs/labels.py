"""What the user calls a run: kept beside what was asked and what was told, and changed at any time."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import tomlkit

from workbench.errors import WorkbenchError
from workbench.files import toml_in, write_whole
from workbench.runs.folder import RunFolder

NAME_LENGTH = 100
TAG_LENGTH = 40


@dataclass(frozen=True, slots=True)
class Labels:
    """A name, a note and tags; `archived` runs are left out of lists that are not asked for them. Untrusted text."""

    name: str = ""
    note: str = ""
    tags: tuple[str, ...] = ()
    archived: bool = False

    def edited(self, name: str, tags: str, note: str) -> Labels:
        """As they were typed: `tags` are words parted by spaces or commas, with or without #."""
        words = (word.lstrip("#") for word in tags.replace(",", " ").split())
        return replace(self, name=name.strip(), tags=tuple(dict.fromkeys(filter(None, words))), note=note.strip())


def read(folder: RunFolder) -> Labels:
    """The run's labels. What the file does not say, or cannot be read, is as if nobody had labelled it."""
    try:
        document = toml_in(folder.labels.read_bytes())
    except (OSError, ValueError):
        return Labels()
    name, note, tags = document.get("name"), document.get("note"), document.get("tags")
    return Labels(
        name if isinstance(name, str) else "",
        note if isinstance(note, str) else "",
        tuple(tag for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else (),
        document.get("archived") is True,
    )


def write(folder: RunFolder, labels: Labels) -> Labels:
    """Replaces the run's labels as a whole, and returns what was written: trimmed, each tag once.

    Raises `WorkbenchError` for a name or tag that is none, and where the disk refuses.
    """
    labels = _tidy(labels)
    try:
        write_whole(folder.labels, tomlkit.dumps({**asdict(labels), "tags": list(labels.tags)}), durable=True)
    except OSError as error:
        raise WorkbenchError(
            "The labels could not be written", f"{folder.labels}: {error}.", "Free some space there."
        ) from error
    return labels


def _tidy(labels: Labels) -> Labels:
    name = " ".join(_whole(labels.name).split())
    if len(name) > NAME_LENGTH:
        raise WorkbenchError("The name is too long", f"It has {len(name)} characters.", f"Use {NAME_LENGTH} at most.")
    return Labels(name, _whole(labels.note).strip(), tuple(dict.fromkeys(map(_tag, labels.tags))), labels.archived)


def _tag(text: str) -> str:
    tag = _whole(text).strip()
    if (
        not tag
        or len(tag) > TAG_LENGTH
        or any(character in ",\"'" or character.isspace() or not character.isprintable() for character in tag)
    ):
        raise WorkbenchError(
            "Not a tag", f"{text!r} cannot be one.", f"Use one word of {TAG_LENGTH} characters at most, without commas."
        )
    return tag


def _whole(text: str) -> str:
    """`text` without halves of characters, which UTF-8 has no way to write."""
    return text.encode("utf-8", "replace").decode("utf-8")
