"""Pairs of every kind, for hypothesis."""

from hypothesis import strategies as st

from workbench.pairs.pair import ROLES, SPLITS, STATUSES, Message, Pair

characters = st.characters(exclude_categories=["Cs"])
texts = st.text(characters, max_size=30)
names = st.text(characters, min_size=1, max_size=12)
turns = st.lists(st.builds(Message, st.sampled_from(ROLES), texts), min_size=1, max_size=4).map(tuple)
scalars = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | texts
columns = st.sampled_from(["rating", "model", "é", "a b"])
extras = st.dictionaries(columns, scalars | st.lists(scalars, max_size=3), max_size=3)


def pairs(content: st.SearchStrategy) -> st.SearchStrategy[Pair]:
    return st.builds(
        Pair,
        id=names,
        prompt=content,
        chosen=content,
        rejected=content,
        status=st.sampled_from(STATUSES),
        split=st.sampled_from([None, *SPLITS]),
        tags=st.lists(names, max_size=3).map(tuple),
        note=texts,
        source=texts,
        extra=extras,
    )


plain_pairs = pairs(texts)
any_pairs = plain_pairs | pairs(turns)
files_of_pairs = st.lists(plain_pairs, min_size=1, max_size=8, unique_by=lambda pair: pair.id)
