"""Pairs that meet an earlier one: they repeat it, nearly repeat it, contradict it, or put its prompt on both sides."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain

from workbench.figures import plural
from workbench.pairs.checks.findings import CheckFinding, Watch
from workbench.pairs.checks.keys import beginning, prompt_key, rough_key, same_words
from workbench.pairs.checks.text_columns import TextColumns
from workbench.pairs.split import group_key


def duplicate(columns: TextColumns, watch: Watch) -> Iterator[CheckFinding]:
    """Pairs with the prompt, roles, both responses and tools of an earlier one. The earlier one is not named."""
    first: dict[tuple[Hashable, ...], int] = {}
    copies: dict[int, list[int]] = {}
    given = map(columns.given, range(len(columns)))
    rows = list(zip(columns.prompts, columns.chosen, columns.rejected, columns.shapes, given, strict=True))
    for index, row in watch.over(rows):
        if (original := first.setdefault(row, index)) != index:
            copies.setdefault(original, []).append(index)
    if not copies:
        return
    later = sorted(index for group in copies.values() for index in group)
    yield CheckFinding(
        "duplicate",
        "warning",
        columns.named(later),
        f"{plural(len(later), 'pair repeats', 'pairs repeat')} an earlier pair word for word"
        f" ({plural(len(copies), 'pair is', 'pairs are')} repeated).",
        "Drop the later copies: they weigh what they say twice.",
        groups=tuple(columns.named([original, *copies[original]]) for original in sorted(copies)),
    )


def repeated_answer(columns: TextColumns, watch: Watch) -> Iterator[CheckFinding]:
    """Answers judged by themselves that repeat an earlier one, or that are judged good here and bad there.

    A pair says which of two answers is better, not that either is good; but kto takes chosen for good and rejected for
    bad, so what a pair of the same prompt says to the contrary is told, too. For a repetition, texts and roles are the
    same; for a contradiction, the words, as in `contradiction`.
    """
    first: dict[tuple[str, str, str, bool], str] = {}
    copies: dict[str, list[str]] = {}
    same: dict[tuple[bytes, bytes, str], dict[bool, list[str]]] = {}
    for _, each in watch.over(columns.alone):
        original = first.setdefault((each.prompt, each.answer, each.shape, each.good), each.id)
        if original != each.id:
            copies.setdefault(original, []).append(each.id)
        words = same_words(each.prompt), same_words(each.answer), each.shape
        same.setdefault(words, {}).setdefault(each.good, []).append(each.id)
    if copies:
        later = tuple(chain.from_iterable(copies.values()))
        yield CheckFinding(
            "repeated-answer",
            "warning",
            later,
            f"{plural(len(later), 'answer judged alone repeats', 'answers judged alone repeat')} an earlier one word"
            f" for word ({plural(len(copies), 'answer is', 'answers are')} repeated).",
            "Drop the later copies: they weigh what they say twice.",
            groups=tuple((original, *more) for original, more in copies.items()),
        )
    groups = [(*votes[True], *votes[False]) for votes in same.values() if len(votes) == 2]
    named = tuple(chain.from_iterable(groups))
    same_answers = len(groups)
    told = []
    if groups:
        told.append(
            f"{plural(len(named), 'answer is', 'answers are')} judged good in one place and bad in another"
            f" ({plural(len(groups), 'answer')} to the same prompt)."
        )
    if paired := list(_against_pairs(columns)):
        others = tuple(dict.fromkeys(chain.from_iterable(paired)))
        told.append(
            f"{plural(len(paired), 'pair has', 'pairs have')} as chosen what is judged bad alone, or as rejected what"
            " is judged good: kto, which takes chosen for good and rejected for bad, learns both."
        )
        named, groups = tuple(dict.fromkeys((*named, *others))), [*groups, *paired]
    if told:
        yield CheckFinding(
            "good-and-bad",
            "error" if same_answers else "warning",
            named,
            " ".join(told),
            "Decide which is right; drop the other.",
            groups=tuple(groups),
        )


def _against_pairs(columns: TextColumns) -> Iterator[tuple[str, ...]]:
    """Answers judged alone, and after them the pair of the same prompt that has the same answer on the other side."""
    if not columns.alone:
        return
    judged: dict[tuple[str, bytes, bool], list[str]] = {}
    for each in columns.alone:
        judged.setdefault((each.prompt, same_words(each.answer), each.good), []).append(each.id)
    prompts = {each.prompt for each in columns.alone}
    for index, prompt in enumerate(columns.prompts):
        if prompt in prompts:
            for answer, good in ((columns.chosen[index], True), (columns.rejected[index], False)):
                if against := judged.get((prompt, same_words(answer), not good)):
                    yield (*against, columns.ids[index])


_LIKENESS = 0.7
"""Share of three-word shingles that two pairs must share; MinHash estimates it."""
_SIMILARITY = 90.0
"""Per cent of characters that stay in each of prompt, chosen and rejected."""


def near_duplicate(columns: TextColumns, watch: Watch) -> Iterator[CheckFinding]:
    """Pairs whose prompt and responses are nearly those of an earlier pair, word-for-word copies left out.

    MinHash finds who may be alike; each of prompt, chosen and rejected is then compared by edit distance, so that long
    shared prompts with different answers are not named.
    """
    from workbench.pairs.checks import minhash

    first: dict[tuple[str, str, str, str], int] = {}
    for index, row in enumerate(zip(columns.prompts, columns.chosen, columns.rejected, columns.shapes, strict=True)):
        first.setdefault(row, index)
    unique, indices = list(first), list(first.values())
    del first
    signed = minhash.signatures([row[:3] for row in unique], lambda done: watch.tick(done, 2 * len(unique)))
    candidates = minhash.candidates(signed)
    candidates = candidates[minhash.likeness(signed, candidates) >= _LIKENESS]
    del signed
    parent = list(range(len(unique)))

    def first_of_group(member: int) -> int:
        while parent[member] != member:
            parent[member] = parent[parent[member]]
            member = parent[member]
        return member

    for done, (one, other) in enumerate(candidates.tolist()):
        if done % 2000 == 0:
            watch.tick(len(candidates) + done, 2 * len(candidates))
        # Each against the first of its group, lest a chain of small changes lead from one thing to another.
        head, later_head = sorted((first_of_group(one), first_of_group(other)))
        if head != later_head and _alike(unique[head], unique[later_head]):
            parent[later_head] = head
    groups: dict[int, list[int]] = {}
    for member, index in enumerate(indices):
        if (head := first_of_group(member)) != member:
            groups.setdefault(head, [indices[head]]).append(index)
    if not groups:
        return
    copies = list(groups.values())
    later = sorted(index for group in copies for index in group[1:])
    across = sum(_both_sides(columns, group) for group in copies)
    leak = f" {plural(across, 'group is', 'groups are')} in train and holdout both." if across else ""
    yield CheckFinding(
        "near-duplicate",
        "warning",
        columns.named(later),
        f"{plural(len(later), 'pair is', 'pairs are')} nearly the same as an earlier pair"
        f" ({plural(len(copies), 'group')}).{leak}",
        "Compare each with the first of its group; drop the later ones where they teach nothing new.",
        groups=tuple(columns.named(group) for group in copies),
    )


def _alike(one: Sequence[str], other: Sequence[str]) -> bool:
    from rapidfuzz import fuzz

    return all(
        mine == theirs or fuzz.ratio(mine, theirs, score_cutoff=_SIMILARITY) > 0
        for mine, theirs in zip(one, other, strict=True)
    )


def _both_sides(columns: TextColumns, indices: Iterable[int]) -> bool:
    return {"train", "holdout"} <= {columns.splits[index] for index in indices}


def contradiction(columns: TextColumns, watch: Watch) -> Iterator[CheckFinding]:
    """Pairs of one prompt that prefer A over B here and B over A there, or go round (A over B over C over A).

    Prompts and responses count as the same where they differ in case, white space and typographic signs alone.
    """
    rough: dict[tuple[bytes, bytes], list[int]] = {}
    for _, index in watch.over(_candidates(columns)):
        rough.setdefault(rough_key(columns.prompts[index]), []).append(index)
    by_prompt: dict[tuple[bytes, str], list[int]] = {}
    for indices in rough.values():
        if len(indices) > 1:
            for index in indices:
                shape = columns.shapes[index].partition("|")[0]
                by_prompt.setdefault((same_words(columns.prompts[index]), shape), []).append(index)
    groups: list[list[int]] = []
    for indices in by_prompt.values():
        if len(indices) > 1:
            edges = {
                index: (same_words(columns.chosen[index]), same_words(columns.rejected[index])) for index in indices
            }
            groups += _round_trips(edges)
    if not groups:
        return
    groups.sort()
    named = sorted(chain.from_iterable(groups))
    yield CheckFinding(
        "contradiction",
        "error",
        columns.named(named),
        f"{plural(len(named), 'pair contradicts', 'pairs contradict')} another of the same prompt"
        f" ({plural(len(groups), 'group')}): what one prefers, the other rejects.",
        "Decide which is right; swap or drop the other.",
        groups=tuple(columns.named(group) for group in groups),
    )


def _candidates(columns: TextColumns) -> list[int]:
    """The indices of pairs whose chosen response may be rejected elsewhere, and whose rejected one chosen: few."""
    better, worse = [beginning(text) for text in columns.chosen], [beginning(text) for text in columns.rejected]
    chosen, rejected = set(better), set(worse)
    return [
        index
        for index, (one, other) in enumerate(zip(better, worse, strict=True))
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
    nodes = list(dict.fromkeys([*ahead, *(worse for others in ahead.values() for worse in others)]))
    for start in nodes:
        if start in seen:
            continue
        seen.add(start)
        path = [(start, iter(ahead.get(start, ())))]
        while path:
            node, following = path[-1]
            step = next((successor for successor in following if successor not in seen), None)
            if step is None:
                path.pop()
                order.append(node)
            else:
                seen.add(step)
                path.append((step, iter(ahead.get(step, ()))))
    return order


def leak(columns: TextColumns, watch: Watch) -> Iterator[CheckFinding]:
    """Pairs marked train and pairs marked holdout whose prompts are the same by `split.group_key`."""
    marked = [index for index, side in enumerate(columns.splits) if side is not None]
    if len({columns.splits[index] for index in marked}) < 2:
        return
    rough: dict[bytes, list[int]] = {}
    for _, index in watch.over(marked):
        system = not {"s", "d"}.isdisjoint(columns.shapes[index].partition("|")[0])
        key = prompt_key(columns.prompts[index], partial(columns.prompt_at, index), system=system)
        rough.setdefault(key, []).append(index)
    groups: list[list[int]] = []
    for indices in rough.values():
        if _both_sides(columns, indices):
            exact: dict[str, list[int]] = {}
            for index in indices:
                exact.setdefault(group_key(columns.prompt_at(index)), []).append(index)
            groups += [group for group in exact.values() if _both_sides(columns, group)]
    if not groups:
        return
    groups.sort()
    named = sorted(chain.from_iterable(groups))
    yield CheckFinding(
        "leak",
        "error",
        columns.named(named),
        f"{plural(len(groups), 'prompt is', 'prompts are')} marked train and holdout both"
        f" ({plural(len(named), 'pair')}); what is measured there was trained on.",
        "Put each prompt on one side. (Runs here hold all of them out; other trainers would not.)",
        groups=tuple(columns.named(group) for group in groups),
    )
