"""What pairs of one prompt must not do: contradict each other, or stand in train and holdout both."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from functools import partial

from workbench.pairs.checks.findings import Finding, plural
from workbench.pairs.checks.keys import beginning, prompt_key, rough_key, same_words
from workbench.pairs.checks.texts import Texts
from workbench.pairs.checks.watch import Watch
from workbench.pairs.split import group_key


def contradiction(columns: Texts, watch: Watch) -> list[Finding]:
    """Pairs of one prompt that prefer A over B here and B over A there, or go round (A over B over C over A).

    Prompts and responses count as the same where they differ in case, white space and typographic signs alone.
    """
    rough: dict[tuple[bytes, bytes], list[int]] = {}
    for _, place in watch.each(_candidates(columns)):
        rough.setdefault(rough_key(columns.prompts[place]), []).append(place)
    by_prompt: dict[tuple[bytes, str], list[int]] = {}
    for places in rough.values():
        if len(places) > 1:
            for place in places:
                shape = columns.shapes[place].partition("|")[0]
                by_prompt.setdefault((same_words(columns.prompts[place]), shape), []).append(place)
    groups: list[list[int]] = []
    for places in by_prompt.values():
        if len(places) > 1:
            edges = {
                place: (same_words(columns.chosen[place]), same_words(columns.rejected[place])) for place in places
            }
            groups += _round_trips(edges)
    if not groups:
        return []
    groups.sort()
    named = sorted(place for group in groups for place in group)
    return [
        Finding(
            "contradiction",
            "error",
            columns.named(named),
            f"{plural(len(named), 'pair contradicts', 'pairs contradict')} another of the same prompt"
            f" ({plural(len(groups), 'group', 'groups')}): what one prefers, the other rejects.",
            "Decide which is right; swap or drop the other.",
            groups=tuple(columns.named(group) for group in groups),
        )
    ]


def _candidates(columns: Texts) -> list[int]:
    """The places of pairs whose chosen response may be rejected elsewhere, and whose rejected one chosen: few."""
    better, worse = [beginning(text) for text in columns.chosen], [beginning(text) for text in columns.rejected]
    chosen, rejected = set(better), set(worse)
    return [
        place
        for place, (one, other) in enumerate(zip(better, worse, strict=True))
        if one in rejected and other in chosen
    ]


def _round_trips(edges: Mapping[int, tuple[Hashable, Hashable]]) -> list[list[int]]:
    """The edges, by their names, that lie on a cycle, grouped by strongly connected component."""
    ahead: dict[Hashable, list[Hashable]] = {}
    back: dict[Hashable, list[Hashable]] = {}
    for better, worse in edges.values():
        if better != worse:
            ahead.setdefault(better, []).append(worse)
            back.setdefault(worse, []).append(better)
    if not ahead.keys() & back.keys():
        return []
    component: dict[Hashable, Hashable] = {}
    for start in reversed(_finishing_order(ahead)):
        waiting = [start]
        while waiting:
            node = waiting.pop()
            if node not in component:
                component[node] = start
                waiting += back.get(node, ())
    groups: dict[Hashable, list[int]] = {}
    for name, (better, worse) in edges.items():
        if better != worse and component[better] == component[worse]:
            groups.setdefault(component[better], []).append(name)
    return list(groups.values())


def _finishing_order(ahead: Mapping[Hashable, Iterable[Hashable]]) -> list[Hashable]:
    """The nodes in the order in which a walk in depth is done with them."""
    order: list[Hashable] = []
    seen: set[Hashable] = set()
    nodes = list(dict.fromkeys([*ahead, *(worse for each in ahead.values() for worse in each)]))
    for start in nodes:
        if start in seen:
            continue
        seen.add(start)
        path = [(start, iter(ahead.get(start, ())))]
        while path:
            node, following = path[-1]
            step = next((each for each in following if each not in seen), None)
            if step is None:
                path.pop()
                order.append(node)
            else:
                seen.add(step)
                path.append((step, iter(ahead.get(step, ()))))
    return order


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
