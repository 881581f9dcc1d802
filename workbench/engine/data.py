"""Rows to the token ids that train, with a count of what the length limit does to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from workbench.engine.tokens import PairIds, pair_ids
from workbench.errors import WorkbenchError
from workbench.pairs.pair import from_row
from workbench.pairs.template import template_arguments
from workbench.runs.pair_scores import Subject, fingerprint

PLACE = "place"
"""The column that says which of its data set's pairs a row is."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """The pairs as ids, not yet cut to the length limit: the collator does that, batch by batch.

    Counts are of pairs on both sides. *Dropped*: the prompt alone fills the limit, nothing of a response would be left.
    *Truncated*: the end of a response is cut off. *Identical*: chosen and rejected are the same once cut.
    `train_subjects` and `holdout_subjects` say which pairs they are, in the same order.
    """

    train: list[PairIds]
    holdout: list[PairIds]
    dropped: int
    truncated: int
    identical: int
    train_subjects: list[Subject] = field(default_factory=list)
    holdout_subjects: list[Subject] = field(default_factory=list)


def prepare(tokenizer: PreTrainedTokenizerBase, rows: Iterable[Mapping[str, Any]], max_length: int) -> Prepared:
    """Tokenizes the rows of a run by TRL's rules; those whose `split` is holdout are held out.

    Raises `WorkbenchError` where a row is no pair, the chat template refuses one, or no training pair is left.
    """
    sides: dict[bool, list[PairIds]] = {False: [], True: []}
    subjects: dict[bool, list[Subject]] = {False: [], True: []}
    dropped = truncated = identical = 0
    for number, row in enumerate(rows, 1):
        where = f"pairs.jsonl, line {number}"
        pair = from_row(row, where=where)
        try:
            ids = pair_ids(tokenizer, pair.prompt, pair.chosen, pair.rejected, template_arguments(row))
        except WorkbenchError as error:
            raise WorkbenchError(error.title, f"{where} (id {pair.id}): {error.message}", error.hint) from error
        room = max_length - len(ids.prompt)
        if room <= 0:
            dropped += 1
            continue
        truncated += max(len(ids.chosen), len(ids.rejected)) > room
        identical += ids.chosen[:room] == ids.rejected[:room]
        held_out = pair.split == "holdout"
        sides[held_out].append(ids)
        subjects[held_out].append(Subject(pair.id, fingerprint(row), "holdout" if held_out else "train"))
    if not sides[False]:
        raise WorkbenchError(
            "Nothing to train on",
            f"No training pair is left: {dropped} have a prompt of {max_length} tokens or more."
            if dropped
            else "The run has no training pairs.",
            "Raise max_length, or lower holdout.",
        )
    return Prepared(sides[False], sides[True], dropped, truncated, identical, subjects[False], subjects[True])


def to_dataset(pairs: Iterable[PairIds]) -> Dataset:
    """The pairs in the columns that TRL's preference collator reads, and their places."""
    pairs = list(pairs)
    return Dataset.from_dict(
        {
            "prompt_ids": [pair.prompt for pair in pairs],
            "chosen_ids": [pair.chosen for pair in pairs],
            "rejected_ids": [pair.rejected for pair in pairs],
            PLACE: list(range(len(pairs))),
        }
    )
