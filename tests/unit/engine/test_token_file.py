"""Token ids kept on disk: the same as made anew, never stale, never half-written, never too many."""

import os
import random
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.unit.engine.training import make, read, work
from workbench.engine.model.downloads import load_tokenizer
from workbench.engine.model.token_ids import PairIds, pair_ids
from workbench.engine.training import data, job
from workbench.engine.training.data import prepare, sizes, to_dataset
from workbench.engine.training.token_file import Entry, stored
from workbench.pairs.pair import from_row, template_arguments
from workbench.runs.events import Phase
from workbench.runs.folder import RowsFile, to_line
from workbench.runs.pair_scores import PairIdentity, fingerprint


def talk(role, *texts):
    return [{"role": role, "content": text} for text in texts]


def pair(number, prompt=None, chosen="Gladly.", rejected="No.", **more):
    return {
        "id": f"p{number}",
        "prompt": prompt or talk("user", f"Where is parcel {number}?"),
        "chosen": talk("assistant", chosen),
        "rejected": talk("assistant", rejected),
        **more,
    }


ROWS = [
    pair(0),
    pair(1, prompt=talk("system", "Be kind.") + talk("user", "Hi <|end|> there")),  # a control token typed
    pair(2, chosen="Gladly. It is on its way.", rejected="Gladly. It is lost.", split="holdout"),
    {"id": "half \ud800", "prompt": "Say it:", "chosen": " yes", "rejected": " no"},
    pair(4, tools=[{"name": "track", "description": "", "parameters": {}}]),
    pair(5, prompt=talk("user", "very " * 40)),  # too long for the smaller limits
    pair(6, split="holdout"),
    {"id": "p7", "prompt": "", "chosen": "a" * 60 + "yes", "rejected": "a" * 60 + "no"},  # the same once cut
    *(pair(number, chosen="Well. " * (1 + number % 7)) for number in range(8, 60)),
]


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer("tiny")


@pytest.fixture(autouse=True)
def parts(monkeypatch):
    """So that the rows make several parts, the last of them shorter."""
    monkeypatch.setattr(data, "_AT_ONCE", 16)


@pytest.fixture
def made():
    """Parts that were tokenized; empty while everything comes from the cache."""
    return []


def everything(prepared):
    return list(prepared.train), list(prepared.holdout), list(prepared.train_subjects), list(prepared.holdout_subjects)


def test_pairs_tokenized_together_are_as_if_alone(tokenizer):
    prepared = prepare(tokenizer, ROWS, 10**6)
    one_by_one = {False: [], True: []}
    for row in ROWS:
        each = from_row(row, where="here")
        ids = pair_ids(tokenizer, each.prompt, each.chosen, each.rejected, template_arguments(row))
        one_by_one[each.split == "holdout"].append(
            (ids, PairIdentity(each.id, fingerprint(row), each.split or "train"))
        )
    assert list(zip(prepared.train, prepared.train_subjects, strict=True)) == one_by_one[False]
    assert list(zip(prepared.holdout, prepared.holdout_subjects, strict=True)) == one_by_one[True]
    assert prepared.train[-1] == one_by_one[False][-1][0]
    assert prepared.train[3:5] == [ids for ids, _ in one_by_one[False][3:5]]


@pytest.mark.parametrize("limit", [16, 20, 24, 60])
def test_what_is_cached_counts_for_every_limit(tokenizer, tmp_path, made, limit):
    prepare(tokenizer, ROWS, 1024, tmp_path)
    cached, anew = prepare(tokenizer, ROWS, limit, tmp_path, made.append), prepare(tokenizer, ROWS, limit)
    assert made == []
    assert everything(cached) == everything(anew)
    expected = [0, 0, 0]
    both = prepare(tokenizer, ROWS, 10**6, tmp_path)
    for ids in [*both.train, *both.holdout]:
        room = limit - len(ids.prompt)
        expected[0] += room <= 0
        expected[1] += room > 0 and max(len(ids.chosen), len(ids.rejected)) > room
        expected[2] += room > 0 and ids.chosen[:room] == ids.rejected[:room]
    assert [cached.dropped, cached.truncated, cached.identical] == expected


def test_nothing_stale_is_taken(tokenizer, tmp_path, made, monkeypatch):
    def remade(rows=ROWS):
        made.clear()
        found = prepare(tokenizer, rows, 1024, tmp_path, made.append)
        assert everything(found) == everything(prepare(tokenizer, rows, 1024))
        return bool(made)

    assert remade()
    assert not remade()
    assert remade([*ROWS[:-1], ROWS[-1] | {"rejected": talk("assistant", "No!")}])
    assert remade([*ROWS[:-1], ROWS[-1] | {"split": "holdout"}])
    assert remade(ROWS[::-1])
    with monkeypatch.context() as patch:
        patch.setattr(tokenizer, "chat_template", tokenizer.chat_template + " ")
        assert remade()
    with monkeypatch.context() as patch:
        patch.setattr(tokenizer, "eos_token", "<|pad|>")
        assert remade()
    assert not remade()


def test_a_file_of_rows_is_taken_for_the_rows_in_it(tokenizer, tmp_path, made):
    rows = [row for row in ROWS if "half" not in row["id"]]
    path = tmp_path / "pairs.jsonl"
    path.write_bytes(b"".join(map(to_line, rows)))
    prepare(tokenizer, rows, 1024, tmp_path / "cache")
    found = prepare(tokenizer, RowsFile(path), 1024, tmp_path / "cache", made.append)
    assert made == []
    assert len(found.train) + len(found.holdout) == len(RowsFile(path)) == len(rows)


def test_trl_reads_stored_pairs_as_it_reads_others(tokenizer, tmp_path):
    train = prepare(tokenizer, ROWS, 24, tmp_path).train  # some are left out in between
    others = to_dataset(list(train))
    assert to_dataset(train)[:] == others[:]
    assert to_dataset(train)[7] == others[7]
    assert sizes(train).tolist() == sizes(list(train)).tolist()
    assert sizes([]).shape == (0, 3)


@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda _: b"", lambda _: b"ARROW1" * 99])
def test_a_damaged_file_is_made_anew(tokenizer, tmp_path, made, damage):
    whole = everything(prepare(tokenizer, ROWS, 1024, tmp_path))
    (file,) = tmp_path.glob("*.arrow")
    file.write_bytes(damage(file.read_bytes()))
    assert everything(prepare(tokenizer, ROWS, 1024, tmp_path, made.append)) == whole
    assert made
    made.clear()
    assert everything(prepare(tokenizer, ROWS, 1024, tmp_path, made.append)) == whole
    assert made == []


def test_no_byte_that_changed_is_ever_trained_on(tokenizer, tmp_path, made):
    """Of the ids, the lengths, the names, the split, the bits that say what is null, the footer."""
    whole = everything(prepare(tokenizer, ROWS, 1024, tmp_path))
    (file,) = tmp_path.glob("*.arrow")
    content = file.read_bytes()
    places = random.Random(22).sample(range(len(content)), 40)
    for place in (0, *places, len(content) - 40, len(content) - 1):
        changed = bytearray(content)
        changed[place] ^= 1 << place % 8
        file.write_bytes(changed)
        made.clear()
        assert everything(prepare(tokenizer, ROWS, 1024, tmp_path, made.append)) == whole, place
        assert made, place
        assert file.read_bytes() == content, place


def test_tokens_of_other_pairs_under_the_same_name_are_not_taken(tmp_path):
    stored(tmp_path, "these", lambda: [entries(9, first=1)])
    (tmp_path / "these.arrow").rename(tmp_path / "those.arrow")
    assert stored(tmp_path, "those", lambda: [entries(9, first=2)]).ids(0).prompt == [2, 0]


def test_a_folder_that_cannot_be_written_costs_time_only(tokenizer, tmp_path):
    (tmp_path / "file").write_text("")
    found = prepare(tokenizer, ROWS[:9], 1024, tmp_path / "file" / "cache")
    assert everything(found) == everything(prepare(tokenizer, ROWS[:9], 1024))


def test_a_stop_leaves_nothing_behind(tokenizer, tmp_path):
    def stop(done):
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(tokenizer, ROWS, 1024, tmp_path, stop)
    assert list(tmp_path.iterdir()) == []


def entries(count, first=0):
    return [Entry(PairIds([first, n], [n] * 50, [n]), PairIdentity(str(n), "0" * 16, "train")) for n in range(count)]


def test_two_at_once_do_not_disturb_each_other(tmp_path):
    def slowly():
        for _ in range(3):
            time.sleep(0.05)
            yield entries(100)

    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: stored(tmp_path, "same", slowly), range(4)))
    for file in found:
        assert [file.ids(row) for row in range(300)] == [entry.ids for entry in entries(100)] * 3
    assert [path.name for path in tmp_path.iterdir()] == ["same.arrow"]


def test_the_files_used_longest_ago_go_first(tmp_path):
    def make_one(name):
        return stored(tmp_path, name, lambda: [entries(100)], most=3 * size)

    first = stored(tmp_path, "0", lambda: [entries(100, first=7)])
    size = (tmp_path / "0.arrow").stat().st_size
    left = tmp_path / "left.tmp"
    left.write_text("by a worker that was killed")
    for age, path in ((9e5, left), (500, tmp_path / "0.arrow")):
        os.utime(path, (time.time() - age,) * 2)
    for name in ("1", "2"):
        make_one(name)
        os.utime(tmp_path / f"{name}.arrow", (time.time() - 400 + int(name),) * 2)
    make_one("1")  # used, so it stays
    make_one("3")
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["1", "2", "3"]
    make_one("4")
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["1", "3", "4"]
    assert first.ids(99) == PairIds([7, 99], [99] * 50, [99])  # who has it open keeps it


def test_the_next_run_on_the_same_pairs_tokenizes_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "_AT_ONCE", 3)
    monkeypatch.setattr(job, "_TELL_EVERY", 0.0)
    kept = tmp_path / ".cache" / "tokens"

    def phases(**values):
        run = make(tmp_path / "runs", max_steps=1, sample_tokens=0, **values)
        work(run)
        return [each.name for each in read(run, Phase) if each.name.startswith("tokenizing")]

    told = "tokenizing the pairs"
    assert phases() == [told, f"{told} 0%", f"{told} 33%", f"{told} 67%"]
    (file,) = kept.iterdir()
    assert phases(seed=1, max_length=512) == [told]
    assert list(kept.iterdir()) == [file]
