"""A small data set whose texts, lengths and statuses the tests of the Pairs screen know by heart."""

from __future__ import annotations

from pathlib import Path

from workbench.pairs.pair import Message, Pair
from workbench.pairs.store import write_pairs
from workbench.workspace import Workspace

TOPICS = ("card", "order", "account", "router", "refund", "ticket", "laptop", "parcel", "phone", "meal")


def make_pair(number: int, **fields: object) -> Pair:
    topic = TOPICS[number % len(TOPICS)]
    values: dict[str, object] = {
        "id": f"pair-{number}",
        "prompt": (Message("user", f"Why was my {topic} {number} declined?"),),
        "chosen": (
            Message("assistant", f"I'm sorry about that. Your {topic} was declined because of a check. I can fix it."),
        ),
        "rejected": (Message("assistant", f"Not our problem. Your {topic} was declined because of a rule."),),
        "tags": ("tone", topic) if number % 2 else (),
    }
    return Pair(**(values | fields))  # type: ignore[arg-type]


def make_workspace(folder: Path, count: int = 30, name: str = "support") -> Workspace:
    """A workspace with `count` pairs, none of them judged."""
    write_pairs(folder / "pairs" / f"{name}.jsonl", [make_pair(number) for number in range(1, count + 1)])
    (folder / "runs").mkdir(exist_ok=True)
    return Workspace.find(folder)
