"""Prompts of public suites become probes: each suite has columns of its own, by which it is known.

XSTest (Röttger et al. 2024), OR-Bench (Cui et al. 2025), StrongREJECT (Souly et al. 2024), HarmBench (Mazeika et al.
2024), AdvBench (Zou et al. 2023), JailbreakBench (Chao et al. 2024), SORRY-Bench (Xie et al. 2025), AlpacaEval (Dubois
et al. 2024); any other rows with a prompt, and texts with one prompt a line.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workbench.errors import WorkbenchError
from workbench.evidence.probes import parse_probe
from workbench.pairs.checks.keys import same_words
from workbench.pairs.formats import Contents, as_conversation, has_template, text_in
from workbench.pairs.importers import Imported, first_problems, guess
from workbench.pairs.json_rows import MAX_ROW
from workbench.pairs.lines import Problem, UnusableError
from workbench.pairs.pair import Message, Text, turn_to_json
from workbench.pairs.readers import RawRow
from workbench.pairs.text_turns import turns_in_text

AUTO = "auto"
"""The kind that stands for: what each row says."""
TEXT_SUFFIX = ".txt"
_OPENING_WORDS = 3
Row = dict[str, Any]


@dataclass(slots=True)
class Found:
    """What a row of a public suite says of a probe. `kind` None: nothing. `group` "": the prompt is like no other."""

    prompt: object
    kind: str | None = None
    id: str = ""
    group: str = ""
    tags: Sequence[str] = ()
    responses: Mapping[str, str] = field(default_factory=dict)
    openings: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(slots=True)
class ImportedProbes:
    """What became of the rows. `shape`: which suite's they are, by the first; `columns` of the first row.

    `other_kind` counts rows that say that they are of another kind than the one that was asked for.
    """

    rows: list[Row] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    duplicates: int = 0
    other_kind: int = 0
    shape: str = ""
    columns: tuple[str, ...] = ()

    @property
    def kinds(self) -> dict[str, int]:
        """How many probes there are of each kind."""
        return dict(Counter(row["kind"] for row in self.rows))

    @property
    def groups(self) -> int:
        """How many groups they fall into."""
        return len({row["group"] for row in self.rows})


def import_probes(
    rows: Iterable[RawRow],
    name: str,
    *,
    kind: str = AUTO,
    group: str | None = None,
    prompt: str | None = None,
    plain: bool = False,
    limit: int | None = None,
) -> ImportedProbes:
    """Probes out of raw rows, in their order, at most `limit`, for the suite `name`.

    `kind`: of all of them, or `AUTO`. `group` and `prompt`: the columns that they are in, where the shape of the rows
    does not say so. A prompt that is a text is asked as a user's turn, unless `plain` or a chat template is filled in.
    Ids begin with `name`; they are the rows' own, or a hash of the prompt, so the same file gives the same ids. Prompts
    that differ in case, white space or typographic signs alone count as duplicates. Raises `WorkbenchError` where rows
    do not say of which kind they are, and nobody else does.
    """
    result, seen, taken = ImportedProbes(), set[bytes](), set[str]()
    for where, raw in rows:
        if limit is not None and len(result.rows) >= limit:
            break
        try:
            if isinstance(raw, UnusableError):
                raise raw
            row = {str(column).strip().casefold(): value for column, value in raw.items()}
            result.columns = result.columns or tuple(map(str, raw))
            shape, found = _found(row, prompt)
            text = _asked(found.prompt, plain=plain)
            result.shape = result.shape or shape
            if group is not None:
                found.group = _cell(row, group, required=True)
        except UnusableError as error:
            result.problems.append(Problem.at(where, str(error)))
            continue
        if kind == AUTO and found.kind is None:
            raise _no_kind(shape, result.columns)
        if kind != AUTO and found.kind not in (None, kind) and shape in _LABELLED:
            result.other_kind += 1
            continue
        said = words(text)
        if said in seen:
            result.duplicates += 1
            continue
        seen.add(said)
        own = _free(f"{name}-{found.id or _digest(text)}", text, taken)
        taken.add(own)
        result.rows.append(_row(own, found, found.kind if kind == AUTO else kind, text))
    return result


def words(prompt: Text) -> bytes:
    """What two prompts share that differ in case, white space and typographic signs alone."""
    turns = (Message("user", prompt),) if isinstance(prompt, str) else prompt
    return b"\n".join(turn.role.encode() + b" " + same_words(turn.text) for turn in turns)


def prompt_lines(path: Path) -> Iterator[RawRow]:
    """The lines of a text, each a prompt; raises `WorkbenchError` where it cannot be read."""
    try:
        with path.open("rb") as file:
            for number, raw in enumerate(iter(lambda: file.readline(MAX_ROW), b""), 1):
                try:
                    line = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip()
                except UnicodeDecodeError as error:
                    yield number, UnusableError(f"is not UTF-8: byte 0x{raw[error.start]:02X}")
                    continue
                if line:
                    yield number, {"prompt": line}
    except OSError as error:
        raise WorkbenchError(
            f"Cannot read {path.name}", f"{path}: {error.strerror or error}.", "Check the name and its permissions."
        ) from error


def nothing_usable(source: str, imported: ImportedProbes) -> WorkbenchError:
    """Why nothing at all was imported."""
    if imported.other_kind:
        return WorkbenchError(
            "Nothing to import",
            f"{source}: all {imported.other_kind:,} rows say that they are of another kind.",
            "Give --kind auto, which takes each row's own.",
        )
    if not imported.problems:
        return WorkbenchError("Nothing to import", f"{source} has no rows.", "Check that it is the right file.")
    hint = "Correct those lines."
    if imported.columns:
        hint = f"Its columns are: {', '.join(imported.columns[:20])}. Say which has the prompt: --prompt COLUMN"
    problems = first_problems(Imported(problems=imported.problems))
    return WorkbenchError("Nothing to import", f"{source}: no row can be used.\n{problems}", hint)


def _row(identity: str, found: Found, kind: str | None, prompt: Text) -> Row:
    row: Row = {
        "id": identity,
        "kind": kind,
        "group": found.group or identity,
        "prompt": prompt if isinstance(prompt, str) else [turn_to_json(turn) for turn in prompt],
    }
    if tags := list(dict.fromkeys(tag for tag in found.tags if tag)):
        row["tags"] = tags
    if found.responses:
        row["responses"] = dict(found.responses)
    if found.openings:
        row["openings"] = {behaviour: list(texts) for behaviour, texts in found.openings.items()}
    return row


def _found(row: Row, prompt: str | None) -> tuple[str, Found]:
    """What a row says, and the shape that it was known by."""
    if prompt is not None:
        return "rows", _any(row, prompt.casefold())
    for shape, columns, read in _SHAPES:
        if columns <= row.keys():
            return shape, read(row)
    column = guess(tuple(row)).get("prompt")
    if column is None:
        raise UnusableError(f"has no prompt; its columns are {', '.join(map(repr, row))}")
    return "rows", _any(row, column)


def _ours(row: Row) -> Found:
    try:
        probe = parse_probe({**row, "id": row.get("id") or "-"}, "")
    except WorkbenchError as error:
        raise UnusableError(f"is no probe: {error.message.removeprefix(': ').rstrip('.')}") from None
    return Found(
        row["prompt"], probe.kind, _cell(row, "id"), probe.group, probe.tags, probe.responses, row.get("openings") or {}
    )


def _xstest(row: Row) -> Found:
    """`type` is the way in which a prompt is safe, or `contrast_…` where it is not; `focus` the word it turns on."""
    way = _cell(row, "type")
    label = _cell(row, "label").casefold() or ("unsafe" if way.startswith("contrast") else "safe")
    kind = {"safe": "benign", "unsafe": "attack"}.get(label)
    if kind is None:
        raise UnusableError(f"has the label {label!r}, not safe or unsafe")
    return Found(row["prompt"], kind, _cell(row, "id"), _cell(row, "focus"), (way,))


def _strong_reject(row: Row) -> Found:
    return Found(row["forbidden_prompt"], "attack", tags=(_cell(row, "category"), _cell(row, "source")))


def _harmbench(row: Row) -> Found:
    """A behavior that needs a context is asked after it, with a line between them, as HarmBench does."""
    context, behavior = _cell(row, "contextstring"), _cell(row, "behavior")
    return Found(
        f"{context}\n\n---\n\n{behavior}" if context else behavior,
        "attack",
        _cell(row, "behaviorid"),
        tags=(_cell(row, "semanticcategory"), _cell(row, "functionalcategory")),
    )


def _advbench(row: Row) -> Found:
    """`target` is how an answer that complies begins. JailbreakBench has harmless goals too, in files of their own."""
    target = _cell(row, "target")
    named = {"compliant": target} if target else {}
    openings = {name: [" ".join(text.split()[:_OPENING_WORDS]).rstrip(",.:")] for name, text in named.items()}
    kind = None if "behavior" in row else "attack"
    return Found(row["goal"], kind, tags=(_cell(row, "category"),), responses=named, openings=openings)


def _sorry_bench(row: Row) -> Found:
    """One question in several styles: they are alike, and count as one cluster."""
    turns = row["turns"]
    if isinstance(turns, str):
        try:
            turns = json.loads(turns)
        except ValueError:
            turns = [turns]
    if not isinstance(turns, list) or len(turns) != 1:
        raise UnusableError("has turns that are not one prompt in a list")
    question, style, category = (_cell(row, name) for name in ("question_id", "prompt_style", "category"))
    return Found(
        turns[0],
        "attack",
        "-".join(part for part in (question, style) if part),
        f"question {question}" if question else "",
        (f"category {category}" if category.isdigit() else category, style),
    )


def _alpaca_eval(row: Row) -> Found:
    return Found(_with_input(row), "neutral", tags=(_cell(row, "dataset"),))


def _with_input(row: Row) -> str:
    """Alpaca's instruction, and below it the input that it is about."""
    instruction, about = _cell(row, "instruction"), _cell(row, "input")
    return f"{instruction}\n{about}" if about else instruction


def _any(row: Row, column: str) -> Found:
    if column not in row:
        raise UnusableError(f"has no column {column!r}; its columns are {', '.join(map(repr, row))}")
    kind, category, system = _cell(row, "kind"), row.get("category"), row.get("system")
    tags = (category,) if isinstance(category, str) else ()
    prompt = _with_input(row) if column == "instruction" else row[column]
    if isinstance(system, str) and system.strip() and isinstance(prompt, str):
        prompt = [{"role": "system", "content": system}, {"role": "user", "content": prompt}]
    return Found(prompt, kind or None, _cell(row, "id"), _cell(row, "group"), tags)


_SHAPES: tuple[tuple[str, frozenset[str], Callable[[Row], Found]], ...] = (
    ("probes", frozenset({"kind", "group", "prompt"}), _ours),
    ("XSTest", frozenset({"prompt", "type", "focus"}), _xstest),
    ("XSTest", frozenset({"prompt", "type", "label"}), _xstest),
    ("StrongREJECT", frozenset({"forbidden_prompt"}), _strong_reject),
    ("HarmBench", frozenset({"behavior", "behaviorid"}), _harmbench),
    ("JailbreakBench", frozenset({"goal", "behavior"}), _advbench),
    ("AdvBench", frozenset({"goal"}), _advbench),
    ("SORRY-Bench", frozenset({"turns", "question_id"}), _sorry_bench),
    ("SORRY-Bench", frozenset({"turns", "prompt_style"}), _sorry_bench),
    ("AlpacaEval", frozenset({"instruction", "output"}), _alpaca_eval),
    ("OR-Bench", frozenset({"prompt", "category"}), lambda row: _any(row, "prompt")),
)
"""By the columns that a row has to have; the first that fits."""
_LABELLED = ("probes", "XSTest", "rows")
"""Shapes whose rows say of themselves of which kind they are."""


def _asked(value: object, *, plain: bool) -> Text:
    """The prompt as it is put to a model: without the answers that a whole conversation ends with."""
    text = text_in({"prompt": turns_in_text(value, "prompt")}, "prompt")
    if isinstance(text, str):
        if not text.strip():
            raise UnusableError("has an empty prompt")
        if text.startswith("[{'"):
            raise UnusableError("has a prompt of messages as Python writes them; write them as JSON (json.dumps)")
        return text if plain or has_template(text) else as_conversation(Contents(text, "-", "-")).prompt
    turns = list(text or ())
    while turns and turns[-1].role not in ("user", "tool"):
        turns.pop()
    if not turns:
        raise UnusableError("has no prompt of the user's")
    return tuple(turns)


def _cell(row: Row, column: str, *, required: bool = False) -> str:
    """A column as a text; "" where it is empty or not there, unless it has to be."""
    value = row.get(column.casefold())
    if required and value in (None, ""):
        raise UnusableError(f"has nothing in the column {column!r}; its columns are {', '.join(map(repr, row))}")
    if value is None or isinstance(value, str):
        return (value or "").strip()
    if isinstance(value, int | float):
        return str(value)
    raise UnusableError(f"has a {column} that is no text")


def _free(identity: str, text: Text, taken: set[str]) -> str:
    """The id, or one with a hash of the prompt where another prompt has it."""
    return identity if identity not in taken else f"{identity}-{_digest(text)}"


def _digest(text: Text) -> str:
    return hashlib.sha256(words(text)).hexdigest()[:12]


def _no_kind(shape: str, columns: Sequence[str]) -> WorkbenchError:
    return WorkbenchError(
        "Of which kind are these probes?",
        f"The columns ({', '.join(columns[:20])}) do not say whether {shape} asks what is to be refused or answered.",
        "Say it: --kind attack (to be refused), benign (harmless look-alikes), tone, neutral, or a kind of your own.",
    )
