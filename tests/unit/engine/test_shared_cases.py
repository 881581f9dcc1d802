"""Inputs in the shapes of public data sets and bug reports, each with its right outcome, where they are at hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import pytest
import trl

from workbench.engine.count_tokens import TokenCounter
from workbench.engine.model.downloads import load_tokenizer
from workbench.engine.model.rendering import rendered_text
from workbench.engine.model.token_ids import pair_ids
from workbench.engine.training.data import prepare
from workbench.errors import WorkbenchError
from workbench.pairs.checks.run import run_checks
from workbench.pairs.checks.tokens import PairTokens, TokenCounts
from workbench.pairs.exporters import export_pairs
from workbench.pairs.importers import Imported, import_rows, in_words, nothing_usable, parse_mapping
from workbench.pairs.pair import Pair, plain, template_arguments, to_row
from workbench.pairs.sources import open_source

CASES = Path("../shared/cases")
pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason=f"{CASES} is not here")
QWEN3 = (Path(trl.__file__).parent / "chat_templates" / "qwen3.jinja").read_text("utf-8")
NO_SYSTEM = (
    "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    "<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
)
NO_THINK = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content.split('</think>')[-1] | trim }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def case(name: str, maps: str = "", **options: Any) -> Imported:
    return import_rows(open_source(CASES / name).rows, mapping=parse_mapping(maps.split()), **options)


def texts(pair: Pair) -> tuple[str, str, str]:
    return plain(pair.prompt), plain(pair.chosen), plain(pair.rejected)


def problems(found: Imported) -> list[str]:
    return list(map(str, found.problems))


def test_a_system_column_becomes_a_system_turn() -> None:
    found = case("d04b-prompt-system.jsonl")
    [pair] = found.pairs
    assert [turn.role for turn in pair.prompt] == ["system", "user"]  # type: ignore[union-attr]
    assert texts(pair)[1] == "Arr, in the bay."
    assert "the system column becomes a system turn" in in_words(found)[0]


def test_a_label_says_which_answer_is_chosen_and_a_mapping_past_it_is_refused() -> None:
    assert [texts(pair)[1] for pair in case("d06-safe.jsonl").pairs] == ["Now and then, yes.", "Ten minutes."]
    assert texts(case("d06-safe.jsonl", "label=safer_response_id").pairs[1])[1] == "No idea."
    found = case("d06-safe.jsonl", "chosen=response_0")
    assert found.pairs == []
    assert "better_response_id" in str(nothing_usable("d06", found))


@pytest.mark.parametrize("pairing", ["best-worst", "best-rest", "neighbours", "all"])
def test_the_best_rank_is_never_rejected(pairing: Any) -> None:
    found = case("d07-nectar.jsonl", pairing=pairing)
    assert found.pairs[0].chosen[0].content == "The Nile."  # type: ignore[union-attr]
    assert "The Nile." not in {texts(pair)[2] for pair in found.pairs}


def test_instruction_and_input_are_one_prompt() -> None:
    found = case("d11-alpaca.json")
    assert len({texts(pair)[0] for pair in found.pairs}) == 3
    assert {"Translate to French.\ncheese", "Translate to French.\nbread"} < {texts(pair)[0] for pair in found.pairs}
    assert "contradiction" not in {each.check for each in run_checks(found.pairs).findings}


def test_answers_judged_alone_are_one_good_and_one_bad() -> None:
    found = case("d13-kto.jsonl")
    assert ([pair.alone for pair in found.pairs], found.judged) == ([True, False], 2)


def test_the_rejected_answer_beside_messages() -> None:
    assert texts(case("d14b-swift-rejmsg.jsonl").pairs[0]) == ("Capital of Chile?", "Santiago", "Lima")


def test_a_call_is_rendered_with_its_tools_as_trl_renders_it() -> None:
    [pair] = case("e02-toolcall-chosen.jsonl").pairs
    tokenizer = load_tokenizer("tiny", QWEN3)
    template = template_arguments(to_row(pair))
    assert not isinstance(pair.prompt, str)
    assert not isinstance(pair.chosen, str)
    text = rendered_text(tokenizer, (*pair.prompt, *pair.chosen), template)
    row = json.loads((CASES / "e02-toolcall-chosen.jsonl").read_text().splitlines()[0])
    theirs = tokenizer.apply_chat_template(row["prompt"] + row["chosen"], tools=row["tools"], tokenize=False)
    assert text == theirs
    assert '"name": "weather"' in text


def test_reasoning_is_trained_and_makes_pairs_differ() -> None:
    found = case("f01-reasoning-content.jsonl")
    tokenizer = load_tokenizer("tiny", QWEN3)
    assert len(found.pairs) == 2
    for pair, thought in zip(found.pairs, ("two and two", "three and three"), strict=True):
        ids = pair_ids(tokenizer, pair.prompt, pair.chosen, pair.rejected, {})
        assert thought in tokenizer.decode(ids.chosen)
        assert ids.chosen != ids.rejected
        rows = [[*to_row(pair)["prompt"], *to_row(pair)[side]] for side in ("chosen", "rejected")]
        whole = [tokenizer.apply_chat_template(turns, tokenize=False) for turns in rows]
        expected = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in whole]
        for ours, theirs in zip((ids.chosen, ids.rejected), expected, strict=True):
            assert [*ids.prompt, *ours][: len(theirs)] == theirs


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("g03-images-col.jsonl", "image"),
        ("h05-pyrepr.csv", "Python"),
        ("u-tools-num.jsonl", "'tools' is the number 5"),
        ("u-ctk-tok.jsonl", "reserved key 'tokenize'"),
    ],
)
def test_what_cannot_be_trained_is_refused_with_its_reason(name: str, reason: str) -> None:
    found = case(name)
    assert found.pairs == []
    assert all(reason in told for told in problems(found))


def test_messages_in_a_text_are_read() -> None:
    assert texts(case("h03-json-string-sharegpt.jsonl").pairs[0]) == ("Hi", "Hello", "Bye")


def test_rows_that_lack_something_are_told_by_line() -> None:
    found = case("i01-nulls.jsonl")
    whole = [pair for pair in found.pairs if not pair.lacks]
    rows = [json.loads(line) for line in (CASES / "i01-nulls.jsonl").read_text().splitlines()]
    assert [texts(pair)[0] for pair in whole] == [rows[-1]["prompt"]]
    assert len(found.pairs) + len(found.problems) == len(rows)
    assert all(problem.line and problem.reason for problem in found.problems)


def test_a_transcript_without_blank_lines() -> None:
    assert texts(case("j07-hh-singlenl.jsonl").pairs[0]) == ("q", "a", "b")


def test_one_plain_row_does_not_refuse_the_conversations() -> None:
    found = case("k11-order.jsonl")
    assert (len(found.pairs), found.converted, found.problems) == (50, 1, [])


def test_two_columns_of_one_name_are_both_named() -> None:
    with pytest.raises(WorkbenchError, match="columns 2, 3 are all named 'chosen'"):
        case("p08.csv")


def test_a_template_that_refuses_a_turn_names_file_line_and_pair() -> None:
    found = case("s03-onesystem.jsonl")
    refused = next(pair for pair in found.pairs if pair.prompt[0].role == "system")  # type: ignore[union-attr]
    place = {pair.id: f"pairs/x.jsonl, line {line}" for line, pair in enumerate(found.pairs, 1)}
    assert place[refused.id].endswith("line 8")
    with pytest.raises(WorkbenchError) as error:
        prepare(
            load_tokenizer("tiny", NO_SYSTEM), [to_row(pair) for pair in found.pairs], 1000, place_of=place.__getitem__
        )
    assert "pairs/x.jsonl, line 8" in str(error.value)
    assert refused.id in str(error.value)


def test_a_template_that_strips_thoughts_is_told_as_the_cause() -> None:
    found = case("s04-think.jsonl")
    tokenizer = load_tokenizer("tiny", NO_THINK)
    counter = TokenCounter.with_stops(tokenizer, frozenset([tokenizer.eos_token_id]))
    counts = [PairTokens.from_json(counter.measure(to_row(pair), where="x")) for pair in found.pairs]
    tokens = TokenCounts("M", dict(zip([pair.id for pair in found.pairs], counts, strict=True)))
    findings = {each.check: each for each in run_checks(found.pairs, tokens=tokens).findings}
    assert "leaves out <think> in the text" in findings["identical-rendered"].message
    assert "max_length" not in " ".join(f"{each.message} {each.hint}" for each in findings.values())
    assert "identical-cut" not in findings


def test_tools_of_each_row_survive_parquet(tmp_path: Path) -> None:
    found = case("n12-toolargs")
    export_pairs(tmp_path / "x.parquet", found.pairs, "parquet")
    loaded = datasets.load_dataset(
        "parquet", data_files=str(tmp_path / "x.parquet"), split="train", cache_dir=str(tmp_path / "cache")
    )
    tokenizer = load_tokenizer("tiny", QWEN3)
    rows = [json.loads(line) for line in (CASES / "n12-toolargs" / "train.jsonl").read_text().splitlines()]
    for row, before in zip(loaded, rows, strict=True):
        tools = json.loads(row["tools"])
        assert tools == before["tools"]
        text = tokenizer.apply_chat_template(row["prompt"], tools=tools, tokenize=False)
        assert "null" not in text
        assert json.dumps(before["tools"][0]) in text


def test_a_broken_line_costs_itself() -> None:
    found = case("n13-half")
    rows = sum(1 for path in (CASES / "n13-half").iterdir() for _ in path.open())
    assert (len(found.pairs), len(found.problems)) == (rows - 1, 1)
    assert problems(found)[0].startswith("train-1.jsonl:1 ")


@pytest.mark.parametrize("name", ["n16-mixedext", "n17-sub"])
def test_every_file_of_a_folder_is_read(name: str) -> None:
    source = open_source(CASES / name)
    found = import_rows(source.rows)
    assert len(source.files) == 3
    assert set(source.files) == {
        path.relative_to(CASES / name).as_posix() for path in (CASES / name).rglob("*") if path.is_file()
    }
    assert found.problems == []
    assert len(found.pairs) >= 3
