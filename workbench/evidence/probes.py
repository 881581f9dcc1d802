"""Probe suites: prompts that no pair has, each with the responses whose probability is measured."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from workbench.behaviours.behaviour import Behaviour, told_on
from workbench.errors import WorkbenchError
from workbench.files import json_in
from workbench.pairs.pair import Text, turn_from

KINDS = ("attack", "benign", "tone", "neutral")
HOW_TO_GET = (
    "suites for English models come with: workbench probes add --all; "
    "those of the embedded model with: python -m workbench.tiny.starters DIR"
)


@dataclass(frozen=True, slots=True)
class Probe:
    """A prompt. Probes of one `group` are alike and count as a cluster.

    `responses`: by behaviour, a response whose probability is measured. `openings`: by behaviour, how answers begin.
    `tags` name the parts that are told by themselves: how an attack is made, where a suite comes from.
    """

    id: str
    kind: str
    prompt: Text
    group: str
    responses: Mapping[str, str] = field(default_factory=dict)
    openings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    tags: tuple[str, ...] = ()


def read_suites(folder: Path) -> list[Probe]:
    """The probes of every `*.jsonl` in `folder`, in the order of the files' names.

    Raises `WorkbenchError` where there are none, and for a bad line with its file, line and field.
    """
    probes = [probe for suite in suites(folder).values() for probe in suite]
    if not probes:
        raise WorkbenchError(
            "No probes",
            f"{folder} has no suite of probes, so there is nothing to measure on.",
            f'Write some, one a line: {{"id", "kind", "group", "prompt"}}; {HOW_TO_GET}',
        )
    return probes


def suites(folder: Path) -> dict[str, list[Probe]]:
    """The probes of every suite in `folder` by the suite's name; none where there is none.

    Raises `WorkbenchError` for a bad line with its file, line and field, and where two probes have one id.
    """
    by_name = {path.stem: list(_read(path)) for path in sorted(folder.glob("*.jsonl"))}
    _unique((probe for suite in by_name.values() for probe in suite), folder)
    return by_name


def digests(folder: Path) -> dict[str, str]:
    """The sha256 of every suite in `folder`, by the name of its file."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.glob("*.jsonl"))}


def parse_probe(row: object, where: str) -> Probe:
    """The probe in a row. Raises `WorkbenchError`, whose message begins with `where` ("…/tone.jsonl, line 3")."""
    if not isinstance(row, Mapping):
        raise _bad(where, "is no JSON object")
    texts = {name: row.get(name) for name in ("id", "kind", "group")}
    for name, value in texts.items():
        if not isinstance(value, str) or not value:
            raise _bad(where, f"field {name!r} must be a non-empty text")
    responses, openings = row.get("responses", {}), row.get("openings", {})
    if not isinstance(responses, Mapping) or not all(isinstance(text, str) and text for text in responses.values()):
        raise _bad(where, "field 'responses' must map behaviours to non-empty texts")
    if not isinstance(openings, Mapping) or not all(
        isinstance(texts, list) and texts and all(isinstance(text, str) and text for text in texts)
        for texts in openings.values()
    ):
        raise _bad(where, "field 'openings' must map behaviours to lists of non-empty texts")
    tags = row.get("tags", [])
    if not isinstance(tags, list) or not all(isinstance(tag, str) and tag for tag in tags):
        raise _bad(where, "field 'tags' must be a list of non-empty texts")
    return Probe(
        id=str(texts["id"]),
        kind=str(texts["kind"]),
        prompt=_prompt(row.get("prompt"), where),
        group=str(texts["group"]),
        responses=dict(responses),
        openings={behaviour: tuple(texts) for behaviour, texts in openings.items()},
        tags=tuple(tags),
    )


def openings_of(probe: Probe, behaviours: Mapping[str, Behaviour]) -> dict[str, Sequence[str]]:
    """By behaviour, how an answer to `probe` may begin: as the probe says, else as the behaviour does."""
    known = {name: one.openings for name, one in behaviours.items() if one.openings and told_on(one, probe.kind)}
    return {**known, **probe.openings}


def by_kind(probes: Iterable[Probe]) -> dict[str, list[Probe]]:
    """The probes of every kind that there is, the known kinds first."""
    kinds: dict[str, list[Probe]] = {kind: [] for kind in KINDS}
    for probe in probes:
        kinds.setdefault(probe.kind, []).append(probe)
    return {kind: same_kind for kind, same_kind in kinds.items() if same_kind}


def kinds_in_turn(probes: Iterable[Probe]) -> list[Probe]:
    """The probes of all kinds in turn: after an attack its benign look-alike, and then a matter of tone."""
    kinds = list(by_kind(probes).values())
    longest = max(map(len, kinds), default=0)
    return [kind[number] for number in range(longest) for kind in kinds if number < len(kind)]


def _read(path: Path) -> Iterator[Probe]:
    try:
        lines = path.read_text("utf-8").split("\n")  # a JSON text may hold other signs that end lines
    except (OSError, UnicodeDecodeError) as error:
        raise WorkbenchError("The probes cannot be read", f"{path}: {error}.", "Correct or remove the file.") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json_in(line)
        except json.JSONDecodeError as error:
            raise _bad(f"{path}, line {number}", f"is no JSON: {error.msg} at column {error.colno}") from None
        except ValueError as error:
            raise _bad(f"{path}, line {number}", str(error)) from None
        yield parse_probe(row, f"{path}, line {number}")


def _prompt(value: object, where: str) -> Text:
    if isinstance(value, str) and value:
        return value
    if not isinstance(value, list) or not value:
        raise _bad(where, "field 'prompt' must be a non-empty text or list of messages")
    turns = []
    for turn in value:
        try:
            turns.append(turn_from(turn))
        except ValueError as error:
            raise _bad(where, f"field 'prompt' has a message that {error}") from None
    return tuple(turns)


def _unique(probes: Iterable[Probe], folder: Path) -> None:
    seen: set[str] = set()
    for probe in probes:
        if probe.id in seen:
            raise _bad(str(folder), f"two probes have the id {probe.id!r}")
        seen.add(probe.id)


def _bad(where: str, reason: str) -> WorkbenchError:
    return WorkbenchError("Not a probe", f"{where}: {reason}.", "Correct the line.")
