"""The direction of rows of every known shape survives import, edits, export and tokenization."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.pairs.test_shapes import TABLED, imported, renamed, texts
from workbench.engine.model.downloads import load_tokenizer
from workbench.engine.training.data import prepare
from workbench.pairs.exporters import FORMATS, export_pairs
from workbench.pairs.importers import import_rows
from workbench.pairs.readers import read_rows
from workbench.pairs.store import PairStore, load_pairs, write_pairs

# Letters that the embedded model's tokenizer gives back as they are.
_said = st.text(alphabet="abcdefgh ÄЖ本", min_size=1, max_size=9).map(str.strip).filter(bool)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(TABLED), _said, _said, _said), min_size=1, max_size=6), st.data())
def test_the_better_answer_is_the_one_that_is_trained_towards(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[tuple[Any, str, str, str]], data: st.DataObject
) -> None:
    folder: Path = tmp_path_factory.mktemp("survives")
    rows, expected = [], {}
    for number, ((_, _, row, becomes), asked, good, bad) in enumerate(drawn):
        words = {"Q": f"{asked}{number}", "good": f"+{good}", "bad": f"-{bad}"}
        rows.append(renamed(row, words))
        both = {"pair": ("good", "bad"), "good": ("good", None), "bad": (None, "bad")}.get(becomes, (None, None))
        expected[words["Q"]] = tuple(words.get(side or "", "") for side in both)
    found = imported(*rows)
    assert found.problems == []

    write_pairs(folder / "x.jsonl", found.pairs)
    with PairStore(folder / "x.jsonl") as store:
        every = list(range(len(found.pairs)))
        store.swap(every)
        store.set_status(data.draw(st.lists(st.sampled_from(every), unique=True)), "flagged")
        store.swap(every)
        store.file.save()
    kept = load_pairs(folder / "x.jsonl")[0]
    assert {texts(pair)[0]: texts(pair)[1:] for pair in kept} == expected

    form = data.draw(st.sampled_from(FORMATS))
    export_pairs(folder / f"out.{form}", kept, form)
    back = import_rows(read_rows(folder / f"out.{form}")).pairs
    assert {texts(pair)[0]: texts(pair)[1:] for pair in back} == expected

    tokenizer = load_tokenizer("tiny")
    write_pairs(folder / "run.jsonl", back)
    lines = [json.loads(line) for line in (folder / "run.jsonl").open()]
    whole = [line for line, pair in zip(lines, back, strict=True) if len(pair.lacks) < 2]
    if not whole:
        return
    for line, ids in zip(whole, prepare(tokenizer, whole, 10**6).train, strict=True):
        asked = line["prompt"][-1]["content"]
        for side, text in zip((ids.chosen, ids.rejected), expected[asked], strict=True):
            assert tokenizer.decode(side, skip_special_tokens=True).strip() == text
