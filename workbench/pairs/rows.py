"""The pairs of a file as they are now: its columns as they were read, and what was changed since laid over them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, cast, overload
from zlib import crc32

import numpy as np

from workbench.pairs.arrow import Ints, bounds_of, contents_of, offsets_of, texts_in
from workbench.pairs.columns import Columns
from workbench.pairs.formats import Contents, as_conversation
from workbench.pairs.lines import pair_in
from workbench.pairs.pair import (
    LABEL_DEFAULTS,
    LABELS,
    STATUSES,
    TEMPLATE_COLUMNS,
    TEXTS,
    Pair,
    Text,
    column_text,
    count_words,
    plain,
    with_values,
)
from workbench.pairs.rewrite import ABSENT, rewritten
from workbench.pairs.steps import SWAP, EditStep, FieldChange, PairLine, Values, checksum, to_json
from workbench.pairs.strength import margin_of, turned

_FEW = 500
PairTexts = tuple[Text, Text, Text]


class Rows:
    """A row is a number that a pair keeps for as long as this object lives; rows of removed pairs are not `alive`.

    Labels are numbers that stand for the values of `vocabularies`; their arrays are as long as there are rows, and are
    changed by `apply` alone.
    """

    def __init__(self, base: Columns) -> None:
        count = len(base.ids)
        self.base = base
        self.conversational = base.conversational
        self.vocabularies = base.vocabularies
        self.labels = {name: codes.copy() for name, codes in base.labels.items()}
        self.words = {name: counts.copy() for name, counts in base.words.items()}
        self.alive: Ints = base.is_pair.copy()
        self.swapped: Ints = np.zeros(count, bool)
        self.turned: Ints = np.zeros(count, bool)
        """Whether the answers of each row were exchanged since its line was read, so that what columns say of either
        goes the other way; `swapped` is False for those of `texts`, which have their answers."""
        self.texts: dict[int, PairTexts] = {}
        """Prompt, chosen and rejected of the rows that were edited or added."""
        self.columns: dict[int, dict[str, str]] = {}
        """`column_text` of the template's columns that were edited, by row."""
        self.version = 0
        """Changes whenever a text does, or a row comes or goes."""
        self._base_labels = base.labels
        self._margins = base.margins
        self._lines: dict[int, bytes] = {}
        self._ids = base.ids
        self._by_id = base.by_id
        self._sequence: Ints = np.arange(count)
        self._arrivals = 0
        self._arranged: tuple[int, Ints, Ints] | None = None
        self._kind_changed = False
        """Whether plain text became turns, or turns plain text, since `settle_kind`."""

    def __len__(self) -> int:
        return len(self._ids)

    # Looking

    @property
    def order(self) -> Ints:
        """The rows of all pairs, in the order of the file. Not to be changed by hand."""
        return self._arrangement()[0]

    @property
    def numbers(self) -> Ints:
        """The place in the file of each row's pair, from 1; 0 for a row that has none. Not to be changed by hand."""
        return self._arrangement()[1]

    def _arrangement(self) -> tuple[Ints, Ints]:
        # Told by a count: one made while another thread adds or removes pairs is not kept as that of the time after.
        arrivals, arranged = self._arrivals, self._arranged
        if arranged is None or arranged[0] != arrivals:
            order = self._sequence[self.alive[self._sequence]]
            numbers = np.zeros(len(self.alive), np.int64)
            numbers[order] = np.arange(1, len(order) + 1)
            self._arranged = arranged = arrivals, order, numbers
        return arranged[1:]

    def number(self, row: int) -> int:
        """The place in the file of a row's pair, from 1; 0 where it was removed."""
        return int(self.numbers[row])

    @property
    def trainable(self) -> Ints:
        """The rows of the pairs that are neither dropped nor to be drafted, in the order of the file: those never
        train."""
        order = self.order
        kept = (self.labels["status"][order] != STATUSES.index("dropped")) & ~self.undrafted[order]
        return cast("Ints", order[kept])

    @property
    def judged(self) -> Ints:
        """The rows of the pairs that are not dropped and have an answer at least, in the order of the file: what a
        method learns from that takes each answer by itself."""
        order = self.order
        return cast("Ints", order[(self.labels["status"][order] != STATUSES.index("dropped")) & self.answered[order]])

    @property
    def answered(self) -> Ints:
        """Whether each row has an answer at least: one can be accepted, alone or as one of a pair."""
        return cast("Ints", (self.words["chosen"] > 0) | (self.words["rejected"] > 0))

    @property
    def undrafted(self) -> Ints:
        """Whether each row is of a pair whose chosen or rejected answer has no words yet."""
        return cast("Ints", (self.words["chosen"] == 0) | (self.words["rejected"] == 0))

    @property
    def to_draft(self) -> Ints:
        """The rows of the pairs that are not dropped and lack an answer, in the order of the file."""
        order = self.order
        return cast("Ints", order[self.undrafted[order] & (self.labels["status"][order] != STATUSES.index("dropped"))])

    @property
    def margins(self) -> Ints:
        """By how much each row's columns prefer its chosen answer; NaN where they do not say."""
        return np.where(self.turned, -self._margins, self._margins)

    def margin(self, row: int) -> float | None:
        """By how much a row's columns prefer its chosen answer; None where they do not say."""
        margin = float(self._margins[row])
        return None if margin != margin else -margin if self.turned[row] else margin

    @property
    def has_margins(self) -> bool:
        """Whether the columns of any row say by how much its chosen answer is preferred."""
        return bool(np.isfinite(self._margins).any())

    def id(self, row: int) -> str:
        """The id of a row's pair."""
        return self._ids[row]

    def ids(self, rows: Ints) -> list[str]:
        """The ids of some rows' pairs."""
        return [self._ids[row] for row in rows.tolist()]

    def row(self, identity: str) -> int | None:
        """The row of the pair with an id."""
        row = self._by_id.get(identity)
        return row if row is not None and self.alive[row] else None

    def label(self, row: int, name: str) -> Any:
        """The value of a label; an absent split is the empty text."""
        return self.vocabularies[name].values[int(self.labels[name][row])]

    def text(self, row: int, name: str) -> Text:
        """Prompt, chosen or rejected of a row."""
        texts = self.texts.get(row)
        if texts is None:
            texts = self._read_texts(row)
        return texts[TEXTS.index(name)]

    def prompts(self, rows: Ints) -> Iterator[Text]:
        """The prompts of some rows, in the order of the file; those of one block of it at a time are in memory."""
        blocks = iter(self.base.blocks)
        first, prompts = 0, list[Text]()
        for row in rows.tolist():
            if row in self.texts:
                yield self.texts[row][0]
                continue
            while row >= first + len(prompts):
                block = next(blocks)
                first, prompts = block.first, texts_in(block.texts["prompt"])
            yield prompts[row - first]

    def pair(self, row: int) -> Pair:
        """The pair of a row, with all its columns."""
        pair = pair_in(self._raw(row))
        if self.turned[row]:
            pair = replace(pair, extra=turned(pair.extra))
        texts = self.texts.get(row) or _texts(pair, swapped=bool(self.swapped[row]))
        status, split, tags, note, source = (self.label(row, name) for name in LABELS)
        pair = replace(
            pair,
            id=self.id(row),
            prompt=texts[0],
            chosen=texts[1],
            rejected=texts[2],
            status=status,
            split=split or None,
            tags=tags,
            note=note,
            source=source,
        )
        return with_values(pair, self.columns[row]) if row in self.columns else pair

    def column(self, row: int, name: str) -> str:
        """`column_text` of one of the template's columns of a row."""
        edited = self.columns.get(row, {})
        return edited[name] if name in edited else column_text(pair_in(self._raw(row)).extra, name)

    def line(self, row: int) -> bytes:
        """A row as its line of the file: as it was read, but for the fields that were changed since, and an id where
        it had none."""
        raw = self._raw(row)
        fields: dict[str, Any] = {"id": self.id(row)} if row in self.base.unnamed else {}
        for name in LABELS:
            if self.labels[name][row] != self._base_labels[name][row]:
                value = self.label(row, name)
                fields[name] = ABSENT if value == LABEL_DEFAULTS[name] else to_json(name, value)
        if row in self.columns:
            read = pair_in(raw).extra
            for name, text in self.columns[row].items():
                if text != column_text(read, name):
                    fields[name] = json.loads(text) if text else ABSENT
        now = self.texts.get(row)
        turn = bool(self.turned[row])
        if now is None:
            return rewritten(raw, fields, turn=turn) if fields or turn else raw
        raw = rewritten(raw, {}, turn=True) if turn else raw
        for name, old, new in zip(TEXTS, _texts(pair_in(raw), swapped=False), now, strict=True):
            if old != new:
                fields[name] = to_json(name, new)
        return rewritten(raw, fields) if fields else raw

    def checksums(self, rows: Ints, name: str) -> list[int]:
        """`checksum` of the chosen or the rejected text of some rows."""
        if len(rows) <= _FEW:
            return [checksum(self.text(row, name)) for row in rows.tolist()]
        checksums = self._read_checksums(name)
        if self.swapped.any():
            other = self._read_checksums("rejected" if name == "chosen" else "chosen")
            for row in np.flatnonzero(self.swapped).tolist():
                checksums[row] = other[row]
        field_number = TEXTS.index(name)
        edited = {row: checksum(texts[field_number]) for row, texts in self.texts.items()}
        return [edited[row] if row in edited else checksums[row] for row in rows.tolist()]

    def chunks(self) -> Iterator[bytes | memoryview]:
        """The whole file as it is now: unchanged stretches as they were read, each changed line for itself."""
        base, count = self.base, len(self.base.ids)
        yield base.bom
        dead = ~self.alive
        dead[:count] &= base.is_pair
        rows = self._sequence[~dead[self._sequence]]
        own = self._changed()[rows]
        follows = np.zeros(len(rows), bool)
        follows[1:] = (np.diff(rows) == 1) & ~own[1:] & ~own[:-1]
        begins = np.flatnonzero(~follows).tolist()
        last = len(rows) - 1
        for begin, end in pairwise([*begins, len(rows)]):
            first, final = int(rows[begin]), int(rows[end - 1])
            if own[begin]:
                chunk: bytes | memoryview = self.line(first)
            else:
                chunk = base.raw[int(base.starts[first]) : int(base.starts[final + 1])]
            yield chunk
            if end - 1 < last and len(chunk) and chunk[-1] not in (b"\n", 10):
                yield b"\n"

    def frozen(self) -> Rows:
        """A copy that later changes leave as it is; texts and lines are shared."""
        copy = object.__new__(Rows)
        copy.__dict__.update(self.__dict__)
        copy.labels = {name: codes.copy() for name, codes in self.labels.items()}
        copy.words = {name: counts.copy() for name, counts in self.words.items()}
        copy.alive, copy.swapped, copy.turned = self.alive.copy(), self.swapped.copy(), self.turned.copy()
        copy.texts, copy._lines = dict(self.texts), dict(self._lines)
        copy.columns = {row: dict(texts) for row, texts in self.columns.items()}
        return copy

    # Changing

    def change(self, field: str, rows: Ints, values: Sequence[Any], codes: Ints) -> FieldChange | None:
        """What giving each row that of the `values` which its code says would change of a label; None for nothing."""
        vocabulary = self.vocabularies[field]
        after = np.array([vocabulary.number(value) for value in values], np.int32)[codes]
        before = self.labels[field][rows]
        differs = before != after
        rows, before, after = rows[differs], before[differs], np.broadcast_to(after, rows.shape)[differs]
        if not len(rows):
            return None
        old, new = (_compact(vocabulary.values, codes) for codes in (before, after))
        return FieldChange(field, self.ids(rows), Values(*old), Values(*new))

    def apply(self, step: EditStep, *, check: bool = True) -> list[int]:
        """Does a step; returns the rows that it changed, each once.

        With `check`, what is not as it was before the step (another program changed it) is left as it is.
        """
        touched: list[int] = []
        for line in step.removed:
            row = self.row(line.id)
            if row is not None and (not check or self._is(row, line)):
                self.alive[row] = False
                touched.append(row)
        for change in step.changes:
            touched += self._apply(change, check=check)
        touched += self._add(step.added)
        if step.removed or step.added:
            self._arrivals += 1
            self.version += 1
        return list(dict.fromkeys(touched))

    def _apply(self, change: FieldChange, *, check: bool) -> list[int]:
        known = np.array([self._by_id.get(identity, -1) for identity in change.ids], np.int64)
        there = known >= 0
        there[there] = self.alive[known[there]]
        if change.field == SWAP:
            return self._swap(change, known, there, check=check)
        if change.field in TEXTS:
            self.version += 1
            if change.field == "prompt":
                self._follow_kind(change)
            touched = []
            values = zip(known.tolist(), there.tolist(), change.before, change.after, strict=True)
            for row, exists, before, after in values:
                if exists and (not check or self.text(row, change.field) == before):
                    self._set_text(row, change.field, after)
                    touched.append(row)
            return touched
        if change.field in TEMPLATE_COLUMNS:
            touched = []
            for row, exists, before, after in zip(
                known.tolist(), there.tolist(), change.before, change.after, strict=True
            ):
                if exists and (not check or self.column(row, change.field) == before):
                    self.columns.setdefault(row, {})[change.field] = after
                    touched.append(row)
            return touched
        codes, vocabulary = self.labels[change.field], self.vocabularies[change.field]
        old, new = (
            np.array([vocabulary.number(value) for value in values.distinct], np.int32)[np.array(values.codes, int)]
            for values in (change.before, change.after)
        )
        if check:
            there[there] = codes[known[there]] == old[there]
        codes[known[there]] = new[there]
        return cast("list[int]", known[there].tolist())

    def _follow_kind(self, change: FieldChange) -> None:
        """Notes that prompts which change are of another kind afterwards: so are all others then."""
        before, after = (
            {isinstance(text, str) for text in values.distinct} for values in (change.before, change.after)
        )
        if len(after) == 1 and before != after:
            self.conversational, self._kind_changed = not after.pop(), True

    def settle_kind(self) -> None:
        """After plain text became turns, or the other way: makes those pairs of the same kind that were not taken
        along, because another program has changed them meanwhile."""
        if not self._kind_changed:
            return
        self._kind_changed = False
        for row in self.order.tolist():
            texts = self.texts.get(row) or self._read_texts(row)
            if any(isinstance(text, str) == self.conversational for text in texts):
                as_text = Contents(*map(plain, texts))
                for name, text in zip(TEXTS, as_conversation(as_text) if self.conversational else as_text, strict=True):
                    self._set_text(row, name, text)
                self.version += 1

    def _swap(self, change: FieldChange, known: Ints, there: Ints, *, check: bool) -> list[int]:
        if check:
            checksums = self.checksums(known[there], "chosen")
            expected = [value for value, exists in zip(change.before, there.tolist(), strict=True) if exists]
            there[there] = np.array([one == other for one, other in zip(checksums, expected, strict=True)], bool)
        rows = known[there]
        self.turned[rows] ^= True
        for row in self.texts.keys() & set(rows.tolist()):
            prompt, chosen, rejected = self.texts[row]
            self.texts[row] = prompt, rejected, chosen
        read = np.ones(len(self), bool)
        read[list(self.texts)] = False
        self.swapped[rows[read[rows]]] ^= True
        chosen_words = self.words["chosen"][rows]
        self.words["chosen"][rows] = self.words["rejected"][rows]
        self.words["rejected"][rows] = chosen_words
        self.version += 1
        return cast("list[int]", rows.tolist())

    def _set_text(self, row: int, name: str, value: Text) -> None:
        texts = list(self.texts.get(row) or self._read_texts(row))
        texts[TEXTS.index(name)] = value
        self.texts[row] = (texts[0], texts[1], texts[2])
        self.swapped[row] = False
        if name in self.words:
            self.words[name][row] = count_words(value)

    def _add(self, lines: Sequence[PairLine]) -> list[int]:
        touched: list[int] = []
        new: list[tuple[PairLine, Pair]] = []
        for line in lines:
            row = self._by_id.get(line.id)
            if row is None or not (self.alive[row] or self._is(row, line)):
                new.append((line, pair_in(line.raw)))
            elif not self.alive[row]:
                self.alive[row] = True
                touched.append(row)
        if new:
            touched += self._append(new)
        return touched

    def _is(self, row: int, line: PairLine) -> bool:
        """Whether a row says what a line says (whatever the order of its keys, which depends on when it was saved)."""
        return self.line(row).strip() == line.raw.strip() or self.pair(row) == pair_in(line.raw)

    def _append(self, new: list[tuple[PairLine, Pair]]) -> list[int]:
        first = len(self)
        rows = list(range(first, first + len(new)))
        pairs = [pair for _, pair in new]
        if self.conversational is None:
            self.conversational = pairs[0].conversational
        self._ids = [*self._ids, *(pair.id for pair in pairs)]
        self._by_id = self._by_id | dict(zip((pair.id for pair in pairs), rows, strict=True))
        base_labels = {}
        for name in LABELS:
            numbers = [self.vocabularies[name].number(getattr(pair, name) or LABEL_DEFAULTS[name]) for pair in pairs]
            base_labels[name] = np.append(self._base_labels[name], np.array(numbers, np.int32))
            self.labels[name] = np.append(self.labels[name], np.array(numbers, np.int32))
        self._base_labels = base_labels
        for name in self.words:
            counts = [count_words(getattr(pair, name)) for pair in pairs]
            self.words[name] = np.append(self.words[name], np.array(counts, np.int32))
        self.alive = np.append(self.alive, np.ones(len(new), bool))
        self.swapped = np.append(self.swapped, np.zeros(len(new), bool))
        self.turned = np.append(self.turned, np.zeros(len(new), bool))
        self._margins = np.append(self._margins, [margin_of(pair.extra) for pair in pairs])
        for row, (line, pair) in zip(rows, new, strict=True):
            self.texts[row] = _texts(pair, swapped=False)
            self._lines[row] = line.raw.rstrip(b"\r\n") + b"\n"
        self._place(rows, [line for line, _ in new])
        return rows

    def _place(self, rows: list[int], lines: list[PairLine]) -> None:
        """Puts new rows into the file's order: each after its anchor, or after the new one that is its anchor."""
        begin = 0
        while begin < len(rows):
            end = begin + 1
            while end < len(rows) and lines[end].after == lines[end - 1].id:
                end += 1
            anchor = self._by_id.get(lines[begin].after) if lines[begin].after else None
            if anchor is not None:
                at = int(np.flatnonzero(self._sequence == anchor)[0]) + 1
            else:
                at = len(self._sequence) if lines[begin].after else 0
            self._sequence = np.insert(self._sequence, at, rows[begin:end])
            begin = end

    def _changed(self) -> Ints:
        """Whether each row is to be written from its fields."""
        changed = self.swapped.copy()
        for name in LABELS:
            changed |= self.labels[name] != self._base_labels[name]
        changed[[*self.texts, *self.columns]] = True
        changed[self.base.renamed] = True
        return changed

    def _raw(self, row: int) -> bytes:
        return self._lines.get(row) or self.base.line(row)

    def _read_texts(self, row: int) -> PairTexts:
        return _texts(pair_in(self._raw(row)), swapped=bool(self.swapped[row]))

    def _read_checksums(self, name: str) -> list[int]:
        """`checksum` of each text as it was read, without making a Python string of it."""
        checksums: list[int] = []
        for block in self.base.blocks:
            column = block.texts[name]
            contents = contents_of(column)
            data = memoryview(contents.buffers()[2] or b"")
            offsets = offsets_of(contents).tolist()
            bounds = range(len(offsets)) if contents is column else bounds_of(column).tolist()
            for begin, end in pairwise(bounds):
                value = 0
                for turn in range(begin, end):
                    value = crc32(data[offsets[turn] : offsets[turn + 1]], crc32(b"\0", value) if turn > begin else 0)
                checksums.append(value)
        return checksums


class Pairs(Sequence[Pair]):
    """Pairs that are made when they are asked for."""

    def __init__(self, rows: Rows, order: Ints) -> None:
        self._rows = rows
        self._order = order

    def __len__(self) -> int:
        return len(self._order)

    @overload
    def __getitem__(self, index: int) -> Pair: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Pair]: ...

    def __getitem__(self, index: int | slice) -> Pair | Sequence[Pair]:
        if isinstance(index, slice):
            return Pairs(self._rows, self._order[index])
        return self._rows.pair(int(self._order[index]))

    def __iter__(self) -> Iterator[Pair]:
        return map(self._rows.pair, self._order.tolist())


def _texts(pair: Pair, *, swapped: bool) -> PairTexts:
    return (pair.prompt, pair.rejected, pair.chosen) if swapped else (pair.prompt, pair.chosen, pair.rejected)


def _compact(values: list[Any], codes: Ints) -> tuple[list[Any], list[int]]:
    used, numbers = np.unique(codes, return_inverse=True)
    return [values[code] for code in used.tolist()], numbers.tolist()
