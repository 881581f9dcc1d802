"""Pairs of every kind, for hypothesis."""

from hypothesis import strategies as st

from workbench.pairs.pair import ROLES, SPLITS, STATUSES, Message, Pair, turn_from

characters = st.characters(exclude_categories=["Cs"])
texts = st.text(characters, max_size=30)
names = st.text(characters, min_size=1, max_size=12)
scalars = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | texts
values = st.recursive(
    st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner | st.none(), max_size=2),
    max_leaves=4,
)
calls = st.lists(st.fixed_dictionaries({"function": st.fixed_dictionaries({"name": names, "arguments": values})}))


def whole_turns(content: st.SearchStrategy[str]) -> st.SearchStrategy[Message]:
    """Turns with more than a role and a text: reasoning, calls, unknown fields; some without content."""
    fields = st.dictionaries(names.filter(lambda name: name not in ("role", "content", "tool_calls")), values)
    speaking = st.fixed_dictionaries({"tool_calls": calls.filter(bool)}) | st.fixed_dictionaries(
        {"reasoning_content": content.map("so ".__add__)}
    )
    contents = st.fixed_dictionaries({}, optional={"content": st.none() | content})
    role = st.fixed_dictionaries({"role": st.sampled_from(ROLES)})
    return st.tuples(fields, speaking, contents, role).map(
        lambda parts: turn_from(parts[0] | parts[1] | parts[2] | parts[3])
    )


plain_turns = st.builds(Message, st.sampled_from(ROLES), texts)
turns = st.lists(plain_turns | whole_turns(texts), min_size=1, max_size=4).map(tuple)
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
