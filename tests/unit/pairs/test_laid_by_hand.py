"""A plain TRL file in pairs/, whose rows have no id: ids are by the contents, stay over edits, and count everywhere."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from workbench.pairs.columns import load
from workbench.pairs.importers import import_rows
from workbench.pairs.journal import journal_path
from workbench.pairs.store import PairStore, load_pairs, load_rows


def row(prompt: str, **more: Any) -> dict[str, Any]:
    return {"prompt": prompt, "chosen": "good", "rejected": "bad", **more}


def turns(prompt: str, **more: Any) -> dict[str, Any]:
    said = {"prompt": ("user", prompt), "chosen": ("assistant", "good"), "rejected": ("assistant", "bad")}
    return {name: [{"role": role, "content": text}] for name, (role, text) in said.items()} | more


def laid(path: Path, *rows: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(each) + "\n" for each in rows))
    return path


def ids(path: Path) -> list[str]:
    return [pair.id for pair in load_pairs(path)[0]]


def test_ids_are_those_that_an_import_gives(tmp_path: Path) -> None:
    for number, make in enumerate((row, turns)):
        rows = [make("a"), make("b", score=1.5), make("c")]
        path = laid(tmp_path / f"{number}.jsonl", *rows)
        imported = import_rows(enumerate(rows, 1), conversational=make is turns).pairs
        assert load_pairs(path) == (imported, [])
        assert ids(path) == ids(path)


def test_ids_do_not_depend_on_other_rows(tmp_path: Path) -> None:
    first = ids(laid(tmp_path / "x.jsonl", row("a"), row("b")))
    assert ids(laid(tmp_path / "x.jsonl", row("new"), row("b"), row("a", id="own")))[1:] == [first[1], "own"]


def test_an_edit_writes_the_id_of_its_row_and_leaves_the_others(tmp_path: Path) -> None:
    path = laid(tmp_path / "pairs" / "x.jsonl", row("a"), row("b"), row("c"))
    before, lines = ids(path), path.read_bytes().splitlines()
    with PairStore(path) as store:
        store.set_status([1], "accepted")
    after = path.read_bytes().splitlines()
    assert (after[0], after[2]) == (lines[0], lines[2])
    assert json.loads(after[1]) == row("b", status="accepted", id=before[1])
    with PairStore(path) as store:
        store.update([before[2]], lambda pair: pair.swapped())
        store.update([before[2]], lambda pair: pair.swapped().swapped())
        assert store.rows.row(before[2]) == 2
    assert ids(path) == before


def test_texts_that_change_keep_the_id_also_out_of_the_journal(tmp_path: Path) -> None:
    path = laid(tmp_path / "pairs" / "x.jsonl", row("a"), row("b"))
    before = ids(path)
    store = PairStore(path, quiet=1000)
    store.update([before[0]], lambda pair: replace(pair, chosen="better"))
    assert journal_path(path).exists()
    assert [(pair.id, pair.chosen) for pair in load_pairs(path)[0]] == [(before[0], "better"), (before[1], "good")]
    store.close()
    assert ids(path) == before
    with PairStore(path) as again:
        again.file.turn("undo")
    assert load_pairs(path)[0][0].chosen == "good"
    assert ids(path) == before


def test_rows_that_say_the_same_are_told_apart_and_stay_so(tmp_path: Path) -> None:
    path = laid(tmp_path / "pairs" / "x.jsonl", row("a"), row("a"), row("b"), row("a"))
    one, two, other, three = ids(path)
    assert (two, three) == (f"{one}-2", f"{one}-3")
    with PairStore(path) as store:
        store.remove([one])
        store.set_note([2], "x")
    assert ids(path) == [two, other, three]
    with PairStore(path) as store:
        store.file.turn("undo")
        store.file.turn("undo")
    assert ids(path) == [one, two, other, three]


def test_numbers_are_ids(tmp_path: Path) -> None:
    path = laid(tmp_path / "x.jsonl", row("a", id=7), row("b", id=8))
    assert ids(path) == ["7", "8"]
    rows = load_rows(path)
    assert json.loads(rows.line(0))["id"] == "7"


def test_lines_have_their_ids_wherever_they_go(tmp_path: Path) -> None:
    path = laid(tmp_path / "x.jsonl", row("a"), row("b"))
    rows = load_rows(path)
    assert [json.loads(rows.line(number))["id"] for number in (0, 1)] == ids(path)
    other = laid(tmp_path / "y.jsonl", row("c"))
    with PairStore(path) as source, PairStore(other) as target:
        target.copy_from(source, np.array([1]))
    assert ids(other)[1] == ids(path)[1]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([None, "x", "y", 3])), max_size=8), st.booleans())
def test_every_row_has_an_id_of_its_own(tmp_path_factory: Any, cells: list[tuple[str, Any]], odd: bool) -> None:
    """Read by Arrow or line by line (`odd`), with ids of their own or without."""
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    lines = [json.dumps(row(prompt) | ({"id": own} if own else {})) for prompt, own in cells]
    path.write_text("".join(line + "\n" for line in lines) + ("nonsense\n" if odd else ""))
    found = load(path)
    kept = [identity for identity, is_pair in zip(found.ids, found.is_pair.tolist(), strict=True) if is_pair]
    assert len(set(kept)) == len(kept)
    own = [identity for _, identity in cells if isinstance(identity, str)]
    assert len(kept) == len(cells) - (len(own) - len(set(own)))
