"""Rows to the token ids that train, with a count of what the length limit does to them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset
from datasets.table import InMemoryTable
from transformers import PreTrainedTokenizerBase

from workbench.engine.model.token_ids import PairIds, all_pair_ids, is_ordinary, outside, pair_ids, tokenizer_digest
from workbench.engine.scoring.result_cache import key
from workbench.engine.training.token_file import COLUMNS, Entry, Parts, StoredPairs, StoredRows, TokenFile, stored
from workbench.errors import WorkbenchError
from workbench.pairs.pair import Pair, from_row, template_arguments
from workbench.pairs.strength import MARGIN, margin_of
from workbench.runs.activation_memory import Lengths
from workbench.runs.folder import RowsFile, digest
from workbench.runs.pair_scores import PairIdentity, fingerprint

PAIR_INDEX = "pair_index"
"""The column that says which of its data set's pairs a row is."""

_VERSION = "3"
"""Of how rows become ids, and of the file: another one forgets what was kept."""
_SHOWN = 5
_AT_ONCE = 512
"""Pairs that are tokenized together."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """The pairs as ids, not yet cut to the length limit: the collator does that, batch by batch.

    Counts are of pairs on both sides. *Dropped*: the prompt alone fills the limit, nothing of a response would be left.
    *Truncated*: the end of a response is cut off. *Identical*: chosen and rejected are the same once cut.
    `train_subjects` and `holdout_subjects` say which pairs they are, in the same order; `train_margins` (pairs) and
    `holdout_margins` by how much their scores are to differ, None where that is not asked for.
    """

    train: Sequence[PairIds]
    holdout: Sequence[PairIds]
    dropped: int
    truncated: int
    identical: int
    train_subjects: Sequence[PairIdentity] = field(default_factory=list)
    holdout_subjects: Sequence[PairIdentity] = field(default_factory=list)
    train_margins: np.ndarray | None = None
    holdout_margins: np.ndarray | None = None


def prepare(
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[Mapping[str, Any]] | RowsFile,
    max_length: int,
    cache: Path | None = None,
    progress: Callable[[int], None] = lambda _: None,
    *,
    vocabulary: int | None = None,
    place_of: Callable[[str], str] = lambda _: "",
    margin_weight: float = 0.0,
) -> Prepared:
    """Tokenizes the rows of a run by TRL's rules; those whose `split` is holdout are held out.

    What was tokenized before is taken from the folder `cache`: the same rows with the same tokenizer and template.
    `progress` is told, before each part, how many pairs are tokenized. `vocabulary`: for how many ids the model has an
    embedding, where that is known. `place_of` says for messages where the pair with an id is, with file and line; the
    line of the run's pairs.jsonl is told where it says nothing. `margin_weight` above 0: that much of the margin that a
    row's columns have is its margin, 0 for a row without one.

    Raises `WorkbenchError` where a row is no pair, the chat template refuses one, the model has no embedding for a
    token, or no training pair is left.
    """
    name = key(_VERSION, tokenizer_digest(tokenizer), digest(rows)).hex()
    file = stored(cache, name, lambda: _tokenized(tokenizer, rows, progress, place_of))
    if vocabulary is not None and file.most >= vocabulary:
        raise _outside(tokenizer, file, vocabulary, place_of)
    room = max_length - file.sizes[:, 0]
    fits = room > 0
    cut = np.minimum(file.sizes[:, 1:], room[:, None])
    identical = (cut[:, 0] == cut[:, 1]) & (file.common >= cut[:, 0])
    train, holdout = (np.flatnonzero(fits & (file.holdout == side)) for side in (False, True))
    dropped = int((~fits).sum())
    if not len(train):
        raise WorkbenchError(
            "Nothing to train on",
            f"No training pair is left: {dropped} have a prompt of {max_length} tokens or more."
            if dropped
            else "The run has no training pairs.",
            "Raise max_length, or lower holdout.",
        )
    margins = np.array([margin_of(row) for row in rows]) * margin_weight if margin_weight else None
    if margins is not None:
        margins[np.isnan(margins)] = 0.0
    return Prepared(
        StoredPairs(file, train),
        StoredPairs(file, holdout),
        dropped,
        int((fits & (file.sizes[:, 1:].max(1) > room)).sum()),
        int((fits & identical).sum()),
        StoredRows(file, train, file.subject),
        StoredRows(file, holdout, file.subject),
        None if margins is None else margins[train],
        None if margins is None else margins[holdout],
    )


def sizes(pairs: Sequence[PairIds]) -> np.ndarray:
    """Lengths (pairs, 3) of prompt, chosen and rejected, not cut; of stored pairs without reading their ids."""
    if isinstance(pairs, StoredPairs):
        return pairs.sizes
    lengths = [(len(pair.prompt), len(pair.chosen), len(pair.rejected)) for pair in pairs]
    return np.array(lengths, np.int32).reshape(-1, 3)


def longest(pairs: Sequence[PairIds], limit: int) -> Lengths:
    """The lengths of the longest of some pairs, cut to `limit` tokens of prompt and response."""
    lengths = sizes(pairs)
    sides = np.minimum(lengths[:, :1] + lengths[:, 1:], limit)
    responses, row = sides.sum(1) - 2 * lengths[:, 0], sides.sum(1) - lengths[:, 0]
    return Lengths(int(sides.max()), int(responses.max()), int(row.max()))


def row_tokens(pairs: Sequence[PairIds], max_length: int) -> np.ndarray:
    """(pairs,): tokens of every pair's prompt and both responses, as they are cut to fit."""
    lengths = sizes(pairs)
    room = np.maximum(max_length - lengths[:, :1], 0)
    tokens: np.ndarray = lengths[:, 0] + np.minimum(lengths[:, 1:], room).sum(1)
    return tokens


def to_dataset(pairs: Sequence[PairIds], margins: np.ndarray | None = None) -> Dataset:
    """The pairs in the columns that TRL's preference collator reads, with their indices, and with their `margins`
    (pairs) where there are any; stored pairs stay on disk."""
    if isinstance(pairs, StoredPairs):
        return _mapped(pairs.file, pairs.rows, margins)
    ids = [(pair.prompt, pair.chosen, pair.rejected) for pair in pairs]
    columns = dict(zip(COLUMNS, map(list, zip(*ids, strict=True)), strict=True))
    if margins is not None:
        columns[MARGIN] = margins.tolist()
    return Dataset.from_dict({**columns, PAIR_INDEX: list(range(len(ids)))})


def _mapped(file: TokenFile, rows: np.ndarray, margins: np.ndarray | None) -> Dataset:
    indices = np.full(len(file.sizes), -1)
    indices[rows] = np.arange(len(rows))
    table = file.table.select(COLUMNS).append_column(PAIR_INDEX, pa.array(indices))
    if margins is not None:
        of_all = np.zeros(len(file.sizes))
        of_all[rows] = margins
        table = table.append_column(MARGIN, pa.array(of_all))
    # With a fingerprint given, the data set does not read all of itself to make one.
    return Dataset(InMemoryTable(table), fingerprint="pairs").select(rows)


@dataclass(frozen=True, slots=True)
class _TextRow:
    """`where` names the line in messages; `template` are the arguments of its own that a chat template gets.

    Of an answer that is judged alone, `pair` has it on both sides, so that it begins where TRL begins it, and `lacks`
    names the side that is not there.
    """

    where: str
    pair: Pair
    lacks: tuple[str, ...]
    template: Mapping[str, Any]
    text: str


def _outside(
    tokenizer: PreTrainedTokenizerBase, file: TokenFile, vocabulary: int, place_of: Callable[[str], str]
) -> WorkbenchError:
    """What to tell where the model has no embedding for a token of a pair."""
    row = next(row for row in range(len(file.sizes)) if outside(tokenizer, file.ids(row), vocabulary))
    tokens = ", ".join(outside(tokenizer, file.ids(row), vocabulary)[:_SHOWN])
    identity = file.subject(row).id
    where = place_of(identity) or f"pairs.jsonl, line {row + 1}"
    return WorkbenchError(
        "The model has no embedding for a token",
        f"{where} (pair {identity}): {tokens}; the model has {vocabulary:,} embeddings, 0 to {vocabulary - 1:,}.",
        "Its tokenizer has more tokens than the model: take the added ones out, or resize the model's embedding.",
    )


def _tokenized(
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[Mapping[str, Any]] | RowsFile,
    progress: Callable[[int], None],
    place_of: Callable[[str], str],
) -> Parts:
    numbered, done = enumerate(rows, 1), 0
    while part := [_read(number, row) for number, row in islice(numbered, _AT_ONCE)]:
        progress(done)
        ids = map(_there, _ids(tokenizer, part, place_of), part)
        yield [Entry(each, _subject(row)) for each, row in zip(ids, part, strict=True)]
        done += len(part)


def _read(number: int, row: Mapping[str, Any]) -> _TextRow:
    where = f"pairs.jsonl, line {number}"
    pair = from_row(row, where=where)
    lacks = pair.lacks
    if lacks == ("chosen",):
        pair = replace(pair, chosen=pair.rejected)
    elif lacks == ("rejected",):
        pair = replace(pair, rejected=pair.chosen)
    return _TextRow(where, pair, lacks, template_arguments(row), fingerprint(row))


def _there(ids: PairIds, row: _TextRow) -> PairIds:
    """The ids without those of a side that the pair lacks: it has none then."""
    if not row.lacks:
        return ids
    return PairIds(ids.prompt, *([] if side in row.lacks else getattr(ids, side) for side in ("chosen", "rejected")))


def _subject(row: _TextRow) -> PairIdentity:
    return PairIdentity(row.pair.id, row.text, "holdout" if row.pair.split == "holdout" else "train")


def _ids(tokenizer: PreTrainedTokenizerBase, rows: Sequence[_TextRow], place_of: Callable[[str], str]) -> list[PairIds]:
    """The ids of rows, those of a kind together. Raises `WorkbenchError` for the first that the template refuses."""
    ids: dict[int, PairIds] = {}
    kinds: dict[tuple[bool, str], list[int]] = {}
    for index, row in enumerate(rows):
        if is_ordinary(tokenizer, row.pair, row.template):
            given = json.dumps(row.template) if row.template else ""
            kinds.setdefault((row.pair.conversational, given), []).append(index)
    for alike in kinds.values():
        pairs, template = [rows[index].pair for index in alike], rows[alike[0]].template
        # What one of them has wrong is found, and told with its line, when they are taken one by one.
        with suppress(Exception), _on_all_cores():
            ids |= zip(alike, all_pair_ids(tokenizer, pairs, template), strict=True)
    return [ids[index] if index in ids else _alone(tokenizer, row, place_of) for index, row in enumerate(rows)]


def _alone(tokenizer: PreTrainedTokenizerBase, row: _TextRow, place_of: Callable[[str], str]) -> PairIds:
    pair = row.pair
    try:
        return pair_ids(tokenizer, pair.prompt, pair.chosen, pair.rejected, row.template)
    except WorkbenchError as error:
        where = place_of(pair.id) or row.where
        raise WorkbenchError(error.title, f"{where} (pair {pair.id}): {error.message}", error.hint) from error


@contextmanager
def _on_all_cores() -> Iterator[None]:
    """Lets the tokenizer use threads, which a worker's environment forbids: nothing forks meanwhile."""
    name = "TOKENIZERS_PARALLELISM"
    before = os.environ.get(name)
    os.environ[name] = "true"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
