"""Counts of tokens agree with what training makes of the same rows, and tell which responses never end."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from workbench.chat_templates import Rendering, read_template, template_file
from workbench.compare.ranking import question_of
from workbench.engine.count_tokens import TokenCounter
from workbench.engine.model.downloads import load_tokenizer
from workbench.engine.model.rendering import FALLBACK_TEMPLATE, as_dicts
from workbench.engine.model.token_ids import encode, prompt_ids, trains_raw
from workbench.engine.training.data import prepare
from workbench.errors import WorkbenchError
from workbench.pairs.checks.findings import CheckFinding
from workbench.pairs.checks.repairs import repair_for
from workbench.pairs.checks.run import run_checks
from workbench.pairs.checks.tokens import PairTokens, TokenCounts, count_tokens
from workbench.pairs.importers import import_rows
from workbench.pairs.pair import Message, Pair, from_row, to_row

_WORDS = ["the", "small", "grey", "cat", "sat", "by", "an", "open", "door", "and", "looked", "at", "rain"]


def _pair(number: int) -> Pair:
    def words(count: int, step: int) -> str:
        return " ".join(_WORDS[(number + place * step) % len(_WORDS)] for place in range(count))

    tail = words(number % 40, 5)
    return Pair(
        f"p{number}",
        (Message("user", words(number % 30 + 1, 1)),),
        (Message("assistant", f"{words(number % 25, 3)} {tail}"),),
        (Message("assistant", f"{words(number % 25, 3)} {'no ' if number % 3 else ''}{tail} so"),),
    )


PAIRS = [_pair(number) for number in range(1, 61)]


def test_the_engine_counts_what_training_drops_and_cuts() -> None:
    tokens = count_tokens(PAIRS, "tiny")
    tokenizer = load_tokenizer("tiny")
    rows = [to_row(pair) for pair in PAIRS]
    seen = set()
    for max_length in (20, 35, 60, 90, 1000):
        trained = prepare(tokenizer, rows, max_length)
        found = {each.check: each.count for each in run_checks(PAIRS, tokens=tokens, max_length=max_length).findings}
        counts = (found.get("dropped", 0), found.get("truncated", 0), found.get("identical-cut", 0))
        assert counts == (trained.dropped, trained.truncated, trained.identical)
        seen |= {place for place, count in enumerate(counts) if count}
        assert "no-stop" not in found
    assert seen == {0, 1, 2}, "the rows should show all three"
    report = run_checks(PAIRS, tokens=tokens)
    assert report.lengths["unit"] == "tokens"
    trained = prepare(tokenizer, rows, 1000)
    assert tokens.lengths([pair.id for pair in PAIRS]).chosen == [len(ids.chosen) for ids in trained.train]


def test_what_is_counted_in_a_chosen_template_is_what_training_in_it_makes() -> None:
    chosen = Rendering("qwen3", {"enable_thinking": False})
    pairs = [*PAIRS[:8], replace(PAIRS[9], extra={"chat_template_kwargs": {"enable_thinking": True}})]
    counted = count_tokens(pairs, "tiny", chosen)
    own = count_tokens(pairs, "tiny")
    given = [
        to_row(pair) | {"chat_template_kwargs": {**chosen.template, **dict(pair.extra.get("chat_template_kwargs", {}))}}
        for pair in pairs
    ]
    tokenizer = load_tokenizer("tiny", read_template(template_file("qwen3")))
    trained = prepare(tokenizer, given, 4000).train
    for pair, ids in zip(pairs, trained, strict=True):
        tokens = counted.pairs[pair.id]
        assert (tokens.prompt, tokens.chosen, tokens.rejected) == tuple(
            map(len, (ids.prompt, ids.chosen, ids.rejected))
        )
        assert tokens.prompt != own.pairs[pair.id].prompt
    thinking = count_tokens(pairs[:1], "tiny", Rendering("qwen3", {"enable_thinking": True}))
    assert thinking.pairs[pairs[0].id].prompt != counted.pairs[pairs[0].id].prompt
    assert (counted.template, own.template) == ("the chat template qwen3", "the chat template of tiny")


def test_a_template_that_does_not_close_a_turn_is_told() -> None:
    row = to_row(PAIRS[1])
    tokenizer = load_tokenizer("tiny")
    stops = frozenset([tokenizer.eos_token_id])
    assert _measured(tokenizer, stops, row).stops
    assert not _measured(tokenizer, frozenset([123456]), row).stops
    tokenizer.chat_template = FALLBACK_TEMPLATE
    assert _measured(tokenizer, stops, row).stops
    tokenizer.chat_template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    counted = _measured(tokenizer, stops, row)
    assert not counted.stops
    report = run_checks([PAIRS[1]], tokens=TokenCounts("m", {PAIRS[1].id: counted}))
    assert [finding.check for finding in report.findings] == ["no-stop"]
    plain = {"id": "s", "prompt": "One?", "chosen": " Yes.", "rejected": " No."}
    assert _measured(tokenizer, stops, plain).stops


def test_a_template_that_refuses_a_pair_is_told() -> None:
    tokenizer = load_tokenizer("tiny")
    ruler = TokenCounter.with_stops(tokenizer, frozenset([tokenizer.eos_token_id]))
    tokenizer.chat_template = "{{ raise_exception('no such roles here') }}"
    counted = PairTokens.from_json(ruler.measure(to_row(PAIRS[1]), where="line 1"))
    assert "no such roles here" in counted.refused
    report = run_checks(PAIRS[1:2], tokens=TokenCounts("m", {PAIRS[1].id: counted}))
    assert [finding.check for finding in report.findings] == ["template"]
    assert report.lengths == {"pairs": 0, "unit": "tokens"}  # not 0.0 tokens on average


def test_plain_text_beside_a_chat_template_is_told_and_can_be_converted() -> None:
    rows = [
        {"prompt": f"Case {number}: how is it?", "chosen": f"Well, {number}.", "rejected": "Bad."} for number in (1, 2)
    ]
    plain = import_rows(enumerate(rows), conversational=False).pairs
    (finding,) = [each for each in found(plain) if each.check == "plain-text"]
    assert (finding.ids, finding.severity) == (tuple(pair.id for pair in plain), "warning")
    assert "tiny has a chat template" in finding.message
    repair = repair_for(finding)
    assert repair is not None
    turns = repair.edits(plain)
    assert "plain-text" not in {each.check for each in found(turns)}
    # What it becomes is what it is imported as unasked, and those are the ids of the words that a user types.
    assert [pair.prompt for pair in turns] == [pair.prompt for pair in import_rows(enumerate(rows)).pairs]
    tokenizer = load_tokenizer("tiny")
    trained = prepare(tokenizer, [to_row(pair) for pair in turns], 1000).train
    for row, ids, pair in zip(rows, trained, turns, strict=True):
        prompt = (Message("user", row["prompt"]),)
        assert encode(tokenizer, prompt, row["chosen"]) == (ids.prompt, ids.chosen)
        drafted, template = question_of(pair)
        assert [(turn.role, turn.content) for turn in drafted] == [("user", row["prompt"])]  # type: ignore[union-attr]
        assert (template, prompt_ids(tokenizer, prompt)) == ({}, ids.prompt)


def test_plain_text_that_is_meant_as_it_stands_is_not_told() -> None:
    tokenizer = load_tokenizer("tiny")
    turn = (Message("user", "Hi"),)
    filled = tokenizer.apply_chat_template(as_dicts(turn), tokenize=False, add_generation_prompt=True)
    assert trains_raw(tokenizer, "Hi")
    assert not trains_raw(tokenizer, turn)
    assert not trains_raw(tokenizer, filled)
    mixed = [Pair("1", filled, "Well.", "Bad."), Pair("2", "Hi there", "Well.", "Bad.")]
    (finding,) = [each for each in found(mixed) if each.check == "plain-text"]
    assert (finding.ids, finding.to_mend) == (("2",), ())
    tokenizer.chat_template = FALLBACK_TEMPLATE
    assert not trains_raw(tokenizer, "Hi")


def found(pairs: list[Pair]) -> tuple[CheckFinding, ...]:
    return run_checks(pairs, tokens=count_tokens(pairs, "tiny")).findings


def test_no_such_model() -> None:
    with pytest.raises(WorkbenchError, match="No such model"):
        count_tokens(PAIRS[:1], "/no/such/model")


def _measured(tokenizer: Any, stops: frozenset[int], row: dict[str, Any]) -> PairTokens:
    pair = from_row(row, where="x")
    return PairTokens.from_json(
        json.loads(json.dumps(TokenCounter.with_stops(tokenizer, stops).measure(to_row(pair), where="x")))
    )
