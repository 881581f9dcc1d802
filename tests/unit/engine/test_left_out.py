"""What was said against what is rendered: what a chat template leaves out is named, and why pairs come out the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trl
from transformers import PreTrainedTokenizerBase

from workbench.engine.count_tokens import TokenCounter
from workbench.engine.model.downloads import embedding_rows, load_tokenizer
from workbench.engine.model.left_out import left_out
from workbench.engine.model.rendering import FALLBACK_TEMPLATE
from workbench.pairs.checks.findings import CheckFinding
from workbench.pairs.checks.repairs import repair_for
from workbench.pairs.checks.run import run_checks
from workbench.pairs.checks.tokens import PairTokens, TokenCounts
from workbench.pairs.importers import import_rows
from workbench.pairs.pair import Pair, template_arguments, to_row

ALL = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
NO_SYSTEM = "{% for m in messages if m.role != 'system' %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
NO_THINK = (
    "{% for m in messages %}<|{{ m.role }}|>{% if '</think>' in m.content %}"
    "{{ m.content.split('</think>')[-1] | trim }}{% else %}{{ m.content }}{% endif %}<|end|>{% endfor %}"
)
PARTS = (
    "{% for m in messages %}<|{{ m.role }}|>{% for part in m.content %}{{ part.text }}{% endfor %}<|end|>{% endfor %}"
)
QWEN3 = (Path(trl.__file__).parent / "chat_templates" / "qwen3.jinja").read_text("utf-8")
CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": {"city": "Lima"}}}


def said(role: str, content: str | None, **fields: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **fields}


def pairs_of(*rows: dict[str, Any]) -> list[Pair]:
    imported = import_rows(enumerate(rows, 1))
    assert not imported.problems
    return imported.pairs


def row(*prompt: dict[str, Any], chosen: dict[str, Any], rejected: dict[str, Any], **columns: Any) -> dict[str, Any]:
    return {"prompt": list(prompt), "chosen": [chosen], "rejected": [rejected], **columns}


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerBase:
    return load_tokenizer("tiny")


def findings(tokenizer: PreTrainedTokenizerBase, template: str | None, pairs: list[Pair]) -> dict[str, CheckFinding]:
    if template is not None:
        tokenizer.chat_template = template
    counter = TokenCounter.with_stops(tokenizer, frozenset([tokenizer.eos_token_id]), embedding_rows("tiny"))
    measured = [PairTokens.from_json(counter.measure(to_row(pair), where="line 1")) for pair in pairs]
    tokens = TokenCounts("M", dict(zip([pair.id for pair in pairs], measured, strict=True)))
    of_model = ("left-out", "identical-rendered", "identical-cut", "outside", "fallback-template", "template")
    return {each.check: each for each in run_checks(pairs, tokens=tokens).findings if each.check in of_model}


THOUGHT = [
    row(
        said("user", f"{number}+{number}?"),
        chosen=said("assistant", f"<think>\ncareful {number}\n</think>\n\n{2 * number}"),
        rejected=said("assistant", f"<think>\nsloppy {number}\n</think>\n\n{2 * number}"),
    )
    for number in range(12)
]


def test_pairs_that_differ_only_in_what_the_template_strips_are_told_so(tokenizer: PreTrainedTokenizerBase) -> None:
    found = findings(tokenizer, NO_THINK, pairs_of(*THOUGHT))
    assert set(found) == {"identical-rendered", "left-out"}
    same = found["identical-rendered"]
    assert (same.count, same.severity) == (12, "error")
    assert "leaves out <think> in the text (12)" in same.message
    assert "max_length" not in same.message + same.hint
    assert repair_for(same) is None
    assert not findings(tokenizer, ALL, pairs_of(*THOUGHT))


@pytest.mark.parametrize(
    ("template", "lost"),
    [
        (ALL, {"answer: field reasoning_content", "unread: field weight"}),
        (NO_SYSTEM, {"prompt: the system turn", "answer: field reasoning_content", "unread: field weight"}),
        (PARTS, {"answer: the text of every turn", "answer: field reasoning_content", "unread: field weight"}),
        (QWEN3, {"unread: field weight"}),
    ],
)
def test_what_a_template_leaves_out_is_named(template: str, lost: set[str], tokenizer: PreTrainedTokenizerBase) -> None:
    tokenizer.chat_template = template
    (pair,) = pairs_of(
        row(
            said("system", "Count\twell."),
            said("user", "3+3?"),
            chosen=said("assistant", "6", reasoning_content="three and three", weight=2),
            rejected=said("assistant", "7"),
        )
    )
    assert set(left_out(tokenizer, pair.prompt, (pair.chosen, pair.rejected), {})) == lost


def test_calls_tools_and_earlier_reasoning_are_looked_for(tokenizer: PreTrainedTokenizerBase) -> None:
    turns = (
        said("user", "Weather in Lima?"),
        said("assistant", None, tool_calls=[CALL], reasoning_content="I have to look."),
        said("tool", '{"degrees": 18}', tool_call_id="c1"),
        said("user", "And now?"),
    )
    more = {"tools": [CALL["function"]], "chat_template_kwargs": {"mood": "kind"}}
    (pair,) = pairs_of(row(*turns, chosen=said("assistant", "18."), rejected=said("assistant", "Hm."), **more))
    expected = {
        QWEN3: {
            "earlier: field reasoning_content",
            "unread: field tool_call_id",
            "unread: mood of chat_template_kwargs",
        },
        # The number of a call is in the call, so it is there for its result as well.
        "{{ tools }}" + ALL.replace("{{ m.content }}", "{{ m.content }}{{ m.tool_calls }}"): {
            "earlier: field reasoning_content",
            "unread: mood of chat_template_kwargs",
        },
        ALL: {
            "prompt: tools",
            "prompt: field tool_calls",
            "earlier: field reasoning_content",
            "unread: field tool_call_id",
            "unread: mood of chat_template_kwargs",
        },
    }
    for template, lost in expected.items():
        tokenizer.chat_template = template
        arguments = template_arguments(pair.extra)
        assert set(left_out(tokenizer, pair.prompt, (pair.chosen, pair.rejected), arguments)) == lost
    found = findings(tokenizer, ALL, [pair])
    assert found["left-out"].ids == (pair.id,)


def test_a_model_without_a_template_says_what_is_used(tokenizer: PreTrainedTokenizerBase) -> None:
    found = findings(tokenizer, FALLBACK_TEMPLATE, pairs_of(*THOUGHT[:2]))
    assert set(found) == {"fallback-template"}
    assert "“User: …” and “Assistant: …”" in found["fallback-template"].message
    assert not findings(tokenizer, ALL, pairs_of(*THOUGHT[:2]))


def test_tokens_without_an_embedding_are_named_with_their_numbers(tokenizer: PreTrainedTokenizerBase) -> None:
    (rows,) = {embedding_rows("tiny")}
    tokenizer.add_tokens(["[NEW]"])
    number = tokenizer.convert_tokens_to_ids("[NEW]")
    assert rows is not None
    assert number >= rows
    pairs = pairs_of(
        row(said("user", "Hi"), chosen=said("assistant", "[NEW] a"), rejected=said("assistant", "b")),
        row(said("user", "Hi"), chosen=said("assistant", "a"), rejected=said("assistant", "b")),
    )
    outside = findings(tokenizer, None, pairs)["outside"]
    assert (outside.ids, outside.severity) == ((pairs[0].id,), "error")
    assert f"'[NEW]' ({number})" in outside.message
