"""Raw rows become pairs: read by their shape (`reading`), then made pairs; duplicates and unusable rows are counted."""

from __future__ import annotations

import base64
import datetime
import difflib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import Any, cast

from workbench.errors import WorkbenchError
from workbench.figures import plural
from workbench.pairs.formats import FIELDS, Contents, as_conversation, contents, has_template, to_draft
from workbench.pairs.lines import FileLine, Problem, UnreadError, UnusableError
from workbench.pairs.pair import (
    ID_LENGTH,
    SPLITS,
    STATUSES,
    TEMPLATE_COLUMNS,
    TEXTS,
    Pair,
    Split,
    Status,
    column_text,
    contents_hash,
    plain,
    template_arguments,
)
from workbench.pairs.readers import SUFFIXES, RawRow
from workbench.pairs.reading import MAPPABLE, Plan, Reading, RowReader
from workbench.pairs.shape_readers import Pairing, TieError
from workbench.pairs.shapes import ALONE, CHOSEN, MESSAGES, PLAIN_SHAPES, PROMPT, REJECTED
from workbench.pairs.sources import ARCHIVE, Source
from workbench.pairs.unpacking import ENDINGS
from workbench.text import one_line

_SHOWN_PROBLEMS = 5
_SHOWN_COLUMNS = 8
_MEDIA_COLUMNS = frozenset(("image", "images", "video", "videos", "audio", "audios"))
_IMAGE = "<image>"
_RENDERED_WITH = frozenset(TEMPLATE_COLUMNS)
_SPLIT_NAMES = dict.fromkeys(("test", "validation", "valid", "val", "dev", "eval"), "holdout")


@dataclass(slots=True)
class Imported:
    """What became of the rows. `columns` are those of the first row that was one, for messages.

    `conversational` says whether they are turns (None: there is no pair), `converted` how many of `pairs` were plain
    text before, `templated` whether they stay plain text because a chat template is filled in, `undrafted` how many
    lack an answer, `judged` how many of these are an answer that is judged by itself, `ties` how many rows were left
    out because their label prefers neither answer, `unread` how many of the problems are columns that do not say what
    is prompt, chosen and rejected. `plans` say what was made of which columns; `unused` are the columns
    with text that nothing was made of. Of `rankings` rows that rank several answers, pairs were made by `pairing`;
    `of_rankings` says how many each way makes.
    """

    pairs: list[Pair] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    duplicates: int = 0
    ties: int = 0
    unread: int = 0
    columns: tuple[str, ...] = ()
    conversational: bool | None = None
    converted: int = 0
    undrafted: int = 0
    judged: int = 0
    templated: bool = False
    plans: list[Plan] = field(default_factory=list)
    unused: tuple[str, ...] = ()
    pairing: Pairing = "best-worst"
    rankings: int = 0
    of_rankings: Mapping[Pairing, int] = field(default_factory=dict)

    def refuse(self, where: int | FileLine, error: UnusableError) -> None:
        """Takes note of a row that cannot be used, and why."""
        self.problems.append(Problem.at(where, str(error)))
        self.unread += isinstance(error, UnreadError)

    @property
    def read_as(self) -> tuple[tuple[str, int], ...]:
        """In words, what was made of the columns, and of how many pairs: the most first."""
        counts: Counter[str] = Counter()
        for plan in self.plans:
            counts[plan.words] += plan.pairs
        return tuple(counts.most_common())


def parse_mapping(given: Sequence[str]) -> dict[str, str]:
    """--map options ("prompt=question") as {field: column}; an empty column leaves the field out.

    Raises `WorkbenchError` for what is no mapping, naming the nearest field.
    """
    mapping: dict[str, str] = {}
    for option in given:
        name, equals, column = option.partition("=")
        if not equals:
            raise WorkbenchError("Not a mapping", f"--map {option!r} has no '='.", "Write it as --map FIELD=COLUMN.")
        if name not in MAPPABLE:
            close = difflib.get_close_matches(name, MAPPABLE, n=1)
            meant = f" Did you mean {close[0]!r}?" if close else ""
            raise WorkbenchError(
                "Not a field", f"--map {option!r}: {name!r} is none.{meant}", f"Fields: {', '.join(MAPPABLE)}."
            )
        if mapping.setdefault(name, column) != column:
            raise WorkbenchError("Not a mapping", f"--map gives {name!r} two columns.", "Name one.")
    return mapping


def import_rows(
    rows: Iterable[RawRow],
    *,
    mapping: Mapping[str, str] | None = None,
    limit: int | None = None,
    existing: Sequence[Pair] = (),
    conversational: bool | None = None,
    pairing: Pairing = "best-worst",
) -> Imported:
    """Pairs out of raw rows, in their order, at most `limit`; several of a row that ranks answers, by `pairing`.

    Rows that say the same as an earlier row or as an `existing` pair count as duplicates. Ids are the rows' own where
    they have one, else a hash of the contents, so that importing the same file twice gives the same ids.

    A data set is of one kind. Of the kind of `existing`, if any; else plain text becomes conversations where
    `conversational` says so, and stays plain text where it is False. None: it becomes conversations, as a chat model is
    asked, unless the first prompt has a chat template filled in and none of the first rows is turns. Raises
    `WorkbenchError` where `existing` is of another kind than `conversational` says.
    """
    if existing and conversational not in (None, existing[0].conversational):
        raise _other_kind(existing[0])
    kind = existing[0].conversational if existing else conversational
    reader = RowReader(mapping or {}, pairing)
    result = Imported(conversational=kind, pairing=pairing)
    seen = {_said(contents_hash(pair.prompt, pair.chosen, pair.rejected), pair) for pair in existing}
    taken = {pair.id for pair in existing}
    rows = iter(rows)
    mixed = False
    if kind is None:
        first = list(islice(rows, LOOKED_AT))
        rows = chain(first, rows)
        result.conversational, result.templated, mixed = _kind_of(first, RowReader(mapping or {}))
    most = float("inf") if limit is None else limit
    for where, row in rows:
        if len(result.pairs) >= most:
            break
        try:
            if isinstance(row, UnusableError):
                raise row
            result.columns = result.columns or tuple(map(str, row))
            readings = reader.read(row)
        except UnusableError as error:
            result.refuse(where, error)
            continue
        except TieError:
            result.ties += 1
            continue
        for reading in readings:
            if len(result.pairs) >= most:
                break
            try:
                given = _given_texts(reading)
                if mixed and has_template(given.prompt):
                    raise UnusableError("has a chat template filled in, where other rows are turns")
                texts = as_conversation(given) if result.conversational else given
                digest, pair = _pair(reading.fields, reading.before(texts))
                if pair.conversational != result.conversational:
                    raise UnusableError("is turns, where earlier pairs are plain text; a data set is of one kind")
            except UnusableError as error:
                result.refuse(where, error)
                continue
            said = _said(digest, pair)
            if said in seen:
                result.duplicates += 1
                continue
            seen.add(said)
            if pair.id in taken:
                pair = _renamed(pair, digest, taken)
            taken.add(pair.id)
            result.converted += texts is not given
            result.undrafted += bool(pair.lacks)
            result.judged += reading.plan.shape.judged
            result.pairs.append(pair)
            reading.plan.pairs += 1
    result.plans, result.unused = reader.plans, tuple(reader.unused)
    result.rankings, result.of_rankings = reader.rankings, reader.of_rankings
    if not result.pairs and not existing and conversational is None:
        result.conversational = None
    return result


def _kind_of(rows: Iterable[RawRow], reader: RowReader) -> tuple[bool, bool, bool]:
    """Whether a data set that begins with these rows is conversations, whether it is plain text because a template is
    filled in, and whether both turns and filled-in templates are among them."""
    templated: bool | None = None
    turns = False
    for _, row in rows:
        if isinstance(row, UnusableError):
            continue
        try:
            prompt = _given_texts(reader.read(row)[0]).prompt
        except (UnusableError, TieError):
            continue
        if not isinstance(prompt, str):
            turns = True
            break
        if templated is None:
            templated = has_template(prompt)
    if turns:
        return True, False, bool(templated)
    return not templated, bool(templated), False


def _other_kind(pair: Pair) -> WorkbenchError:
    kind, option = ("conversations", "--plain") if pair.conversational else ("plain text", "--conversational")
    convert = (
        "" if pair.conversational else " workbench check NAME --model M --fix plain-text makes conversations of it."
    )
    return WorkbenchError(
        f"That data set holds {kind}",
        "A data set is of one kind, and what is added to it becomes that.",
        f"Leave {option} out, or import into another data set with --name.{convert}",
    )


def name_from(source: str) -> str:
    """The name of a data set that comes from a file or a Hugging Face id."""
    name = source.rstrip("/").rpartition("/")[2]
    while name.lower().endswith((*SUFFIXES, *ENDINGS, ARCHIVE)):
        name = name.rpartition(".")[0]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._")[:100] or "imported"


def first_problems(imported: Imported) -> str:
    """The first rows that cannot be used, a line each, and how many more there are."""
    lines = list(map(str, imported.problems[:_SHOWN_PROBLEMS]))
    more = len(imported.problems) - len(lines)
    return "\n".join(
        "  " + line for line in (*lines, *([f"and {more:,} more (--json lists them all)"] if more else []))
    )


def in_words(imported: Imported) -> list[str]:
    """What was made of the columns, a sentence each: said before anything is written, and after it."""
    read_as = imported.read_as
    pairs = [f" ({plural(count, 'pair')})" if len(read_as) > 1 else "" for _, count in read_as]
    told = [f"{words[:1].upper()}{words[1:]}{many}." for (words, _), many in zip(read_as, pairs, strict=True)]
    if imported.ties:
        told.append(f"{plural(imported.ties, 'row prefers', 'rows prefer')} neither answer and are left out.")
    if imported.unused:
        listed = ", ".join(one_line(name, 40) for name in imported.unused[:_SHOWN_COLUMNS])
        more = f" and {len(imported.unused) - _SHOWN_COLUMNS} more" if len(imported.unused) > _SHOWN_COLUMNS else ""
        columns = "columns with text are" if len(imported.unused) > 1 else "column with text is"
        told.append(f"{len(imported.unused)} {columns} used for nothing: {listed}{more}.")
    return told


def ranking_choice(imported: Imported) -> list[str]:
    """How many pairs each way of pairing ranked answers makes, in a sentence; none where that is all one."""
    counts = imported.of_rankings
    if len(set(counts.values())) < 2:
        return []
    made = [f"{name} {count:,}{' (these)' * (name == imported.pairing)}" for name, count in counts.items()]
    return [f"Pairs of {plural(imported.rankings, 'ranking')}: {', '.join(made)}; --ranking chooses."]


def nothing_usable(source: str, imported: Imported) -> WorkbenchError:
    """Why nothing at all was imported."""
    if not imported.problems:
        return WorkbenchError("Nothing to import", f"{source} has no rows.", "Check that it is the right file.")
    hint = "Correct those lines."
    if imported.columns and 2 * imported.unread < len(imported.problems):
        hint = "Its columns are read: correct what is said of the rows, or take them out of the file."
    elif imported.columns:
        listed = ", ".join(imported.columns[:20])
        hint = (
            f"Its columns are: {listed}. Say which is which: --map prompt=COLUMN --map chosen=COLUMN …; a column that"
            " says row by row which answer is better is read by --map label=COLUMN."
        )
    many = len(imported.problems)
    none = f"none of its {many:,} rows can be used" if many > 1 else "its one row cannot be used"
    return WorkbenchError("Nothing to import", f"{source}: {none}.\n{first_problems(imported)}", hint)


def _given_texts(reading: Reading) -> Contents:
    """The texts of a row as they came."""
    return to_draft(reading.fields) if reading.plan.shape is ALONE else contents(reading.fields)


def _said(digest: str, pair: Pair) -> str:
    """What tells pairs that say the same: their texts, and what the chat template is given beside them."""
    if _RENDERED_WITH.isdisjoint(pair.extra):
        return digest
    return "\0".join((digest, *(column_text(pair.extra, name) for name in TEMPLATE_COLUMNS)))


def _pair(row: Mapping[str, Any], texts: Contents) -> tuple[str, Pair]:
    prompt, chosen, rejected = texts
    _refuse_media(row, texts)
    if not _RENDERED_WITH.isdisjoint(row):
        try:
            template_arguments(row)
        except WorkbenchError as error:
            raise UnusableError(f"cannot be rendered: {error.message.rstrip('.')}") from None
    try:
        digest = contents_hash(prompt, chosen, rejected)
    except UnicodeEncodeError:
        raise UnusableError("has half a surrogate pair, which is not a character") from None
    status = cast("Status", _one_of(row, "status", STATUSES, {}) or "new")
    pair = Pair(
        id=_label(row, "id") or digest[:ID_LENGTH],
        prompt=prompt,
        chosen=chosen,
        rejected=rejected,
        status=status,
        split=cast("Split | None", _one_of(row, "split", SPLITS, _SPLIT_NAMES)),
        tags=_tags(row.get("tags")),
        note=_label(row, "note"),
        source=_label(row, "source"),
        extra=_plain({name: value for name, value in row.items() if name not in FIELDS}),
    )
    return digest, replace(pair, status="new") if pair.status == "accepted" and len(pair.lacks) == 2 else pair


def _refuse_media(row: Mapping[str, Any], texts: Contents) -> None:
    """Raises `UnusableError` where a row is about images, videos or audio: its text alone means something else."""
    for name in _MEDIA_COLUMNS & row.keys():
        if value := row[name]:
            many = len(value) if isinstance(value, list) else 1
            raise UnusableError(f"has {plural(many, name.rstrip('s'))} in its column {name!r}; text alone is trained")
    prompt = texts.prompt
    if any(_IMAGE in text for text in ((prompt,) if isinstance(prompt, str) else [turn.content for turn in prompt])):
        many = plain(prompt).count(_IMAGE)
        raise UnusableError(f"has {many} {_IMAGE} in its prompt, a place for an image; text alone is trained")


def _label(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, int | float):
        return str(value)
    raise UnusableError(f"has a {name} that is no text; --map {name}= leaves it out")


def _one_of(row: Mapping[str, Any], name: str, known: Sequence[str], aliases: Mapping[str, str]) -> str | None:
    label = _label(row, name).strip().casefold()
    if not label:
        return None
    label = aliases.get(label, label)
    if label not in known:
        raise UnusableError(f"has the {name} {label!r}, not one of {', '.join(known)}; --map {name}= leaves it out")
    return label


def _tags(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        try:
            value = json.loads(value) if value.startswith("[") else value.split(",")
        except (ValueError, RecursionError):
            value = value.split(",")
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(tag, str) for tag in value):
        raise UnusableError("has tags that are no list of texts; --map tags= leaves them out")
    return tuple(dict.fromkeys(tag.strip() for tag in value if tag.strip()))


def _renamed(pair: Pair, digest: str, taken: set[str]) -> Pair:
    """The pair under an id that is free: another row with other contents has its own."""
    length = 8
    while (name := f"{pair.id}-{digest[:length]}") in taken:
        length += 4
    return replace(pair, id=name)


def _plain(extra: dict[str, Any]) -> dict[str, Any]:
    """Unknown columns as JSON can hold them: dates as ISO 8601, bytes as base64, NaN and infinities as null."""
    if not extra:
        return extra
    try:
        try:
            json.dumps(extra, ensure_ascii=False, allow_nan=False).encode()
        except (ValueError, TypeError):
            text = json.dumps(extra, ensure_ascii=False, default=_as_text)
            extra = json.loads(text, parse_constant=lambda _: None)
            json.dumps(extra, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise UnusableError("has half a surrogate pair, which is not a character") from None
    except (ValueError, TypeError, RecursionError):
        raise UnusableError("has a column that JSON cannot hold") from None
    return extra


def _as_text(value: Any) -> str:
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


SAMPLE = 5
"""How many pairs are shown."""
LOOKED_AT = 200
"""Rows that are looked at before it is said what the file is."""


@dataclass(frozen=True, slots=True)
class Beginning:
    """The first rows of a file or folder, and the columns that they have; `remarks` say which files those are."""

    rows: tuple[RawRow, ...]
    columns: tuple[str, ...]
    remarks: tuple[str, ...] = ()

    def sample(
        self,
        mapping: Mapping[str, str],
        conversational: bool | None = None,
        pairing: Pairing = "best-worst",
    ) -> Imported:
        """What the first rows become with a mapping {field: column}, `SAMPLE` pairs at most; see `import_rows`."""
        imported = import_rows(self.rows, mapping=mapping, conversational=conversational, pairing=pairing)
        imported.pairs = imported.pairs[:SAMPLE]
        return imported

    def guess(self) -> dict[str, str]:
        """The column of each of prompt, chosen and rejected, where columns say which is which; else no column."""
        plans = self.sample({}).plans
        if not plans:
            return guess(self.columns)
        plan = max(plans, key=lambda plan: plan.pairs)
        return (
            {text: plan.columns[text] for text in TEXTS if text in plan.columns} if plan.shape in PLAIN_SHAPES else {}
        )


def beginning(source: Source) -> Beginning:
    """The first rows of a source, whose rows go on after them; raises `WorkbenchError` where it cannot be read."""
    rows = tuple(islice(source.rows, LOOKED_AT))
    columns = dict.fromkeys(str(name) for _, row in rows if isinstance(row, dict) for name in row)
    return Beginning(rows, tuple(columns), tuple(source.remarks()))


def guess(columns: Sequence[str]) -> dict[str, str]:
    """The column of each of prompt, chosen and rejected, where a column has one of the names in use for it."""
    mapping: dict[str, str] = {}
    folded = {column.strip().casefold(): column for column in reversed(columns)}
    for text, names in zip(TEXTS, ((*PROMPT, *MESSAGES), CHOSEN, REJECTED), strict=True):
        near = [folded[name] for name in names if name in folded and folded[name] not in mapping.values()]
        if near:
            mapping[text] = near[0]
    return mapping
