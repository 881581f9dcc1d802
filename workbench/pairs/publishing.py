"""A data set as the Hugging Face hub has them: Parquet shards for train and test, and a card that says what it is."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from workbench.config import RunConfig
from workbench.errors import WorkbenchError
from workbench.figures import plural
from workbench.pairs.arrow import Ints
from workbench.pairs.checks.findings import ChecksReport
from workbench.pairs.exporters import exported, table_of
from workbench.pairs.pair import STATUSES, TEXTS, Pair
from workbench.pairs.reading import MARKED
from workbench.pairs.rows import Rows
from workbench.pairs.split import held_out

CARD = "README.md"
_SHARD_BYTES = 256 * 2**20
_PRIVATE = ("status", "split", "note")
"""What is noted of pairs for oneself, and is not published; the split is told by the file."""
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_SHOWN_SOURCES = 10
_PREFERENCES = (
    "Preference pairs: to each prompt an answer that is preferred (`chosen`) and one that is not (`rejected`)."
)
_ANSWERS = "Judged answers: to each prompt an answer (`completion`), and whether it is a good one (`label`)."


@dataclass(frozen=True, slots=True)
class Published:
    """How many pairs each split has, and how many of the data set were left out; `answers`: these are answers that are
    judged alone, in a row each."""

    train: int
    test: int
    left_out: int
    answers: bool = False

    def told(self, count: int) -> str:
        """So many of them, in words."""
        return plural(count, "judged answer" if self.answers else "pair")


def publish(
    folder: Path, repo: str, rows: Rows, report: ChecksReport, *, license_id: str, accepted_only: bool = False
) -> Published:
    """Writes shards and card into a folder, for the repository `repo`.

    Dropped pairs and those to be drafted are left out, and what is noted of pairs for oneself (status, note) of all.
    The test split is what a run with default settings holds out. Where no pair is left but answers that are judged
    alone, these are published, as TRL's KTO reads them. Raises `WorkbenchError` where nothing is left.
    """
    wanted = rows.labels["status"] == STATUSES.index("accepted") if accepted_only else np.ones(len(rows), bool)
    kept = rows.trainable[wanted[rows.trainable]]
    answers = not len(kept)
    if answers:
        kept = rows.judged[wanted[rows.judged]]
    if not len(kept):
        raise WorkbenchError("Nothing to publish", "No pair is left: they are dropped or to be drafted.")
    sides = _sides(rows, kept)
    pairs = {"train": _pairs(rows, kept[~sides]), "test": _pairs(rows, kept[sides])}
    _write_shards(folder / "data", pairs)
    published = Published(len(pairs["train"]), len(pairs["test"]), len(rows.order) - len(kept), answers)
    (folder / CARD).write_text(_card(repo, pairs, published, report, license_id, rows), "utf-8")
    return published


def _sides(rows: Rows, kept: Ints) -> Ints:
    defaults = RunConfig.model_fields
    prompts = zip(rows.prompts(kept), (rows.label(row, "split") or None for row in kept.tolist()), strict=True)
    parted = held_out(prompts, fraction=defaults["holdout"].default, seed=defaults["seed"].default)
    return np.array(parted.held, bool)


def _pairs(rows: Rows, kept: Ints) -> list[Pair]:
    return [rows.pair(row) for row in kept.tolist()]


def _write_shards(folder: Path, pairs: dict[str, list[Pair]]) -> None:
    """Shards under the names that the hub's own have; all of one schema, as `load_dataset` requires."""
    import pyarrow.parquet as pq

    folder.mkdir(parents=True)
    every = [_public(pair) for split in pairs.values() for pair in split]
    table = table_of(every, conversational=not isinstance(every[0]["prompt"], str))
    begin = 0
    for split, members in pairs.items():
        part = table.slice(begin, len(members))
        begin += len(members)
        shards = max(1, -(-part.nbytes // _SHARD_BYTES)) if len(members) else 0
        bounds = np.linspace(0, len(members), shards + 1).astype(int).tolist()
        for number, (first, last) in enumerate(pairwise(bounds)):
            place = folder / f"{split}-{number:05d}-of-{shards:05d}.parquet"
            pq.write_table(part.slice(first, last - first), place)


def _public(pair: Pair) -> dict[str, Any]:
    row = {name: value for name, value in exported(pair).items() if name not in _PRIVATE}
    if pair.alone is None:
        return row
    answer, good = row["chosen" if pair.alone else "rejected"], pair.alone
    beside = {name: value for name, value in row.items() if name not in TEXTS}
    return beside | {"prompt": row["prompt"], "completion": answer, "label": good}


def _card(
    repo: str, pairs: dict[str, list[Pair]], published: Published, report: ChecksReport, license_id: str, rows: Rows
) -> str:
    total = published.train + published.test
    splits = [split for split, members in pairs.items() if members]
    about = {
        "license": license_id,
        "task_categories": ["text-generation"],
        "tags": ["preference", "kto" if published.answers else "dpo", "trl", "alignment-workbench"],
        "size_categories": [next((size for bound, size in _SIZES if total < bound), "n>1M")],
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": split, "path": f"data/{split}-*.parquet"} for split in splits],
            }
        ],
    }
    kind = "Conversations" if rows.conversational else "Plain text"
    lines = [
        f"---\n{yaml.safe_dump(about, sort_keys=False, allow_unicode=True)}---\n",
        f"# {repo.partition('/')[2] or repo}\n",
        _ANSWERS if published.answers else _PREFERENCES,
        f"{kind}, in the rows that TRL reads.\n",
        f"| split | {'answers' if published.answers else 'pairs'} |",
        "|---|---|",
        *(f"| {split} | {len(pairs[split]):,} |" for split in splits),
        "",
        "No prompt is in both splits; prompts that differ in case, white space and punctuation alone count as one.\n",
        "```python",
        "from datasets import load_dataset",
        "",
        f'{"answers" if published.answers else "pairs"} = load_dataset("{repo}")',
        "```\n",
        *_columns(pairs),
        *_sources(pairs),
        *_checks(report),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _columns(pairs: dict[str, list[Pair]]) -> list[str]:
    named = dict.fromkeys(name for members in pairs.values() for pair in members for name in _public(pair))
    more = [name for name in named if name not in ("id", *TEXTS, "completion", "label", MARKED)]
    return ["Columns beside these: " + ", ".join(f"`{_plain(column)}`" for column in more) + ".\n"] if more else []


def _sources(pairs: dict[str, list[Pair]]) -> list[str]:
    counts = Counter(pair.source for members in pairs.values() for pair in members if pair.source)
    if not counts:
        return []
    rows = [f"| {_plain(source)} | {count:,} |" for source, count in counts.most_common(_SHOWN_SOURCES)]
    return ["## Sources\n", "| source | pairs |", "|---|---|", *rows, ""]


def _checks(report: ChecksReport) -> list[str]:
    """What the checks found, by the names and the counts; no text of any pair."""
    lines = ["## Checks\n", f"{plural(report.checked, 'pair')} looked at by `workbench check`.\n"]
    if not report.findings:
        return [*lines, "Nothing was found."]
    rows = [f"| {each.check} | {each.severity} | {len(each.ids):,} |" for each in report.findings]
    return [*lines, "| check | is | pairs |", "|---|---|---|", *rows]


def _plain(text: str) -> str:
    """Text of the data as a cell of Markdown, where nothing of it is markup."""
    return json.dumps(" ".join(text.split())[:80], ensure_ascii=False)[1:-1].translate(_MARKUP)


_MARKUP = str.maketrans({character: f"\\{character}" for character in "|`*_[]<>#!"})
