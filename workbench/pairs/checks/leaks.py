"""Prompts that are trained on and evaluated on."""

from __future__ import annotations

from functools import partial

from workbench.pairs.checks.findings import Finding, plural
from workbench.pairs.checks.keys import prompt_key
from workbench.pairs.checks.texts import Texts
from workbench.pairs.checks.watch import Watch
from workbench.pairs.split import group_key


def leak(columns: Texts, watch: Watch) -> list[Finding]:
    """Pairs marked train and pairs marked holdout whose prompts are the same by `split.group_key`."""
    marked = [place for place, side in enumerate(columns.splits) if side is not None]
    if len({columns.splits[place] for place in marked}) < 2:
        return []
    rough: dict[bytes, list[int]] = {}
    for _, place in watch.each(marked):
        system = "s" in columns.shapes[place].partition("|")[0]
        key = prompt_key(columns.prompts[place], partial(columns.prompt_at, place), system=system)
        rough.setdefault(key, []).append(place)
    groups: list[list[int]] = []
    for places in rough.values():
        if _both_sides(columns, places):
            exact: dict[str, list[int]] = {}
            for place in places:
                exact.setdefault(group_key(columns.prompt_at(place)), []).append(place)
            groups += [group for group in exact.values() if _both_sides(columns, group)]
    if not groups:
        return []
    groups.sort()
    named = sorted(place for group in groups for place in group)
    return [
        Finding(
            "leak",
            "error",
            columns.named(named),
            f"{plural(len(groups), 'prompt is', 'prompts are')} marked train and holdout both"
            f" ({plural(len(named), 'pair', 'pairs')}); what is measured there was trained on.",
            "Put each prompt on one side. (Runs here hold all of them out; other trainers would not.)",
            groups=tuple(columns.named(group) for group in groups),
        )
    ]


def _both_sides(columns: Texts, places: list[int]) -> bool:
    return len(places) > 1 and len({columns.splits[place] for place in places}) > 1
