"""A data set as the Hugging Face hub has them: Parquet shards for train and test, and a card that says what it is."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
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
_ABOUT = {
    "pair": "Preference pairs: to each prompt an answer that is preferred (`chosen`) and one that is not (`rejected`).",
    "judged answer": "Judged answers: to each prompt an answer (`completion`), and whether it is a good one (`label`).",
}


@dataclass(frozen=True, slots=True)
class Part:
    """A configuration of the data set, as `load_dataset` has them: pairs, or answers that are judged alone."""

    name: str
    folder: str
    things: str
    """What its rows are: one of `_ABOUT`."""
    train: Sequence[Pair]
    test: Sequence[Pair]

    @property
    def splits(self) -> dict[str, Sequence[Pair]]:
        """Those with rows, by name."""
        return {name: rows for name, rows in (("train", self.train), ("test", self.test)) if rows}

    def __str__(self) -> str:
        return f"{plural(len(self.train), self.things)} to train on, {len(self.test):,} for tests"


@dataclass(frozen=True, slots=True)
class Published:
    """What was written, and how many pairs of the data set were left out; so many of them are answers that are judged
    alone, which `judged` would have taken."""

    parts: tuple[Part, ...]
    left_out: int
    left_alone: int


def publish(
    folder: Path,
    repo: str,
    rows: Rows,
    report: ChecksReport,
    *,
    license_id: str,
    accepted_only: bool = False,
    judged: bool = False,
) -> Published:
    """Writes shards and card into a folder, for the repository `repo`.

    Dropped pairs and those without any answer are left out, and what is noted of pairs for oneself (status, note) of
    all. The test split is what a run with default settings holds out. Answers that are judged alone are a configuration
    of their own, as TRL's KTO reads them: the only one where there is no pair; beside pairs `kto`, where `judged` asks
    for it. Raises `WorkbenchError` where nothing is left.
    """
    wanted = rows.labels["status"] == STATUSES.index("accepted") if accepted_only else np.ones(len(rows), bool)
    kept = rows.judged[wanted[rows.judged]]
    whole = ~rows.undrafted[kept]
    left_alone = 0
    if whole.any() and not judged:
        left_alone = int((~whole).sum())
        kept, whole = kept[whole], whole[whole]
    if not len(kept):
        raise WorkbenchError("Nothing to publish", "No pair is left: they are dropped or to be drafted.")
    # Together, so that a prompt's pairs and its judged answers are on one side.
    held = _held_out(rows, kept)
    parts = list[Part]()
    for things, chosen in (("pair", whole), ("judged answer", ~whole)):
        if chosen.any():
            train, test = ([rows.pair(row) for row in kept[chosen & side].tolist()] for side in (~held, held))
            name, place = ("kto", "kto") if parts else ("default", "data")
            parts.append(Part(name, place, things, train, test))
    for part in parts:
        _write_shards(folder / part.folder, part)
    published = Published(tuple(parts), len(rows.order) - len(kept), left_alone)
    (folder / CARD).write_text(_card(repo, published, report, license_id, rows), "utf-8")
    return published


def _held_out(rows: Rows, kept: Ints) -> Ints:
    defaults = RunConfig.model_fields
    prompts = zip(rows.prompts(kept), (rows.label(row, "split") or None for row in kept.tolist()), strict=True)
    parted = held_out(prompts, fraction=defaults["holdout"].default, seed=defaults["seed"].default)
    return np.array(parted.held, bool)


def _write_shards(folder: Path, part: Part) -> None:
    """Shards under the names that the hub's own have; all of one schema, as `load_dataset` requires."""
    import pyarrow.parquet as pq

    folder.mkdir(parents=True)
    every = [_public(pair) for members in part.splits.values() for pair in members]
    table = table_of(every, conversational=not isinstance(every[0]["prompt"], str))
    begin = 0
    for split, members in part.splits.items():
        rows = table.slice(begin, len(members))
        begin += len(members)
        shards = max(1, -(-rows.nbytes // _SHARD_BYTES))
        bounds = np.linspace(0, len(members), shards + 1).astype(int).tolist()
        for number, (first, last) in enumerate(pairwise(bounds)):
            place = folder / f"{split}-{number:05d}-of-{shards:05d}.parquet"
            pq.write_table(rows.slice(first, last - first), place)


def _public(pair: Pair) -> dict[str, Any]:
    row = {name: value for name, value in exported(pair).items() if name not in _PRIVATE}
    if pair.alone is None:
        return row
    answer, good = row["chosen" if pair.alone else "rejected"], pair.alone
    beside = {name: value for name, value in row.items() if name not in TEXTS}
    return beside | {"prompt": row["prompt"], "completion": answer, "label": good}


def _card(repo: str, published: Published, report: ChecksReport, license_id: str, rows: Rows) -> str:
    parts = published.parts
    total = sum(len(members) for part in parts for members in part.splits.values())
    methods = ["dpo" if part.things == "pair" else "kto" for part in parts]
    configs: list[dict[str, Any]] = [
        {
            "config_name": part.name,
            "data_files": [{"split": split, "path": f"{part.folder}/{split}-*.parquet"} for split in part.splits],
        }
        for part in parts
    ]
    if len(configs) > 1:
        configs[0]["default"] = True
    about = {
        "license": license_id,
        "task_categories": ["text-generation"],
        "tags": ["preference", *methods, "trl", "alignment-workbench"],
        "size_categories": [next((size for bound, size in _SIZES if total < bound), "n>1M")],
        "configs": configs,
    }
    kind = "Conversations" if rows.conversational else "Plain text"
    lines = [
        f"---\n{yaml.safe_dump(about, sort_keys=False, allow_unicode=True)}---\n",
        f"# {repo.partition('/')[2] or repo}\n",
        *(_ABOUT[part.things] for part in parts),
        f"{kind}, in the rows that TRL reads.\n",
        *(line for part in parts for line in _table(part, repo)),
        "No prompt is in both splits; prompts that differ in case, white space and punctuation alone count as one.\n",
        *_columns(published),
        *_sources(published),
        *_checks(report),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _table(part: Part, repo: str) -> list[str]:
    things = f"{part.things}s"
    name = "" if part.name == "default" else f', "{part.name}"'
    return [
        f"| split | {things} |",
        "|---|---|",
        *(f"| {split} | {len(members):,} |" for split, members in part.splits.items()),
        "",
        "```python",
        "from datasets import load_dataset",
        "",
        f'{things.split()[-1]} = load_dataset("{repo}"{name})',
        "```\n",
    ]


def _every(published: Published) -> Iterator[Pair]:
    return (pair for part in published.parts for members in part.splits.values() for pair in members)


def _columns(published: Published) -> list[str]:
    named = dict.fromkeys(name for pair in _every(published) for name in _public(pair))
    more = [name for name in named if name not in ("id", *TEXTS, "completion", "label", MARKED)]
    return ["Columns beside these: " + ", ".join(f"`{_plain(column)}`" for column in more) + ".\n"] if more else []


def _sources(published: Published) -> list[str]:
    counts = Counter(pair.source for pair in _every(published) if pair.source)
    if not counts:
        return []
    rows = [f"| {_plain(source)} | {count:,} |" for source, count in counts.most_common(_SHOWN_SOURCES)]
    return ["## Sources\n", "| source | rows |", "|---|---|", *rows, ""]


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
