"""Calls, reasoning and other fields of turns reach the chat template as they are: the ids are TRL's."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest
import trl
from datasets import Dataset, load_dataset
from transformers import PreTrainedTokenizerBase
from trl import DPOConfig, DPOTrainer

from workbench.engine.model import rendering
from workbench.engine.model.downloads import load_tokenizer
from workbench.engine.model.token_ids import encode
from workbench.engine.training.data import prepare
from workbench.errors import WorkbenchError
from workbench.pairs.exporters import export_pairs
from workbench.pairs.importers import import_rows
from workbench.pairs.pair import Message, template_arguments, to_row

_MISTRAL = """
{%- if messages[0].role == 'system' %}{% set system = messages[0].content %}{% set turns = messages[1:] %}
{%- else %}{% set turns = messages %}{% endif %}
{{- bos_token }}
{%- for m in turns %}
    {%- if m.role == 'user' %}
        {%- if tools is defined and tools is not none and loop.index0 == 0 -%}
            [AVAILABLE_TOOLS] {{ tools | map(attribute='function') | list | tojson }}[/AVAILABLE_TOOLS]
        {%- endif %}
        {{- '[INST] ' }}{% if system is defined and loop.last %}{{ system + '\\n\\n' }}{% endif %}
        {{- m.content + '[/INST]' }}
    {%- elif m.tool_calls is defined and m.tool_calls is not none %}
        {{- '[TOOL_CALLS] [' }}
        {%- for call in m.tool_calls %}
            {%- if call.id is not defined or call.id | length != 9 %}
                {{- raise_exception('Tool call IDs are nine letters and digits.') }}
            {%- endif %}
            {{- (call.function | tojson)[:-1] + ', "id": "' + call.id + '"}' }}{{ ', ' if not loop.last else ']' }}
        {%- endfor %}
        {{- eos_token }}
    {%- elif m.role == 'assistant' %}
        {{- ' ' + m.content + eos_token }}
    {%- elif m.role == 'tool' %}
        {{- '[TOOL_RESULTS] {"content": ' + m.content + ', "call_id": "' + m.tool_call_id + '"}[/TOOL_RESULTS]' }}
    {%- endif %}
{%- endfor %}
"""
"""As those of Mistral's models with tools do, which TRL has none of: ids of calls are checked, results name theirs."""

_STOPS = {"qwen3": "<|im_end|>", "llama3_1": "<|eot_id|>", "gptoss": "<|return|>", "mistral": "</s>"}
_FURTHER = {"qwen2_5": "<|im_end|>", "qwen3_instruct_2507": "<|im_end|>"}


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerBase:
    return load_tokenizer("tiny")


def with_template(tokenizer: PreTrainedTokenizerBase, name: str) -> PreTrainedTokenizerBase:
    stop = (_STOPS | _FURTHER)[name]
    tokenizer.add_special_tokens({"eos_token": stop, "additional_special_tokens": ["<|call|>", "<|end|>", stop]})
    path = Path(trl.__file__).parent / "chat_templates" / f"{name}.jinja"
    tokenizer.chat_template = _MISTRAL if name == "mistral" else path.read_text("utf-8")
    return tokenizer


def by_trl(tokenizer: PreTrainedTokenizerBase, row: dict[str, Any]) -> tuple[list[int], list[int], list[int]]:
    config = DPOConfig(output_dir="unused", max_length=None, bf16=False, use_cpu=True, report_to="none")
    trainer: Any = SimpleNamespace(_tokenizer=tokenizer)
    made = DPOTrainer._prepare_dataset(trainer, Dataset.from_list([row]), tokenizer, config, "train")
    return made[0]["prompt_ids"], made[0]["chosen_ids"], made[0]["rejected_ids"]


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def answer(text: str | None, **fields: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **fields}


CALL = {"id": "abcdef012", "type": "function", "function": {"name": "weather", "arguments": {"city": "Lima"}}}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "d",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    }
]
RESULT = {"role": "tool", "tool_call_id": "abcdef012", "name": "weather", "content": '{"degrees": 18}'}

ROWS: dict[str, dict[str, Any]] = {
    "a call is chosen": {
        "prompt": [user("Weather in Lima?")],
        "chosen": [answer(None, tool_calls=[CALL])],
        "rejected": [answer("No idea.")],
        "tools": TOOLS,
    },
    "its arguments are text": {
        "prompt": [user("Weather in Lima?")],
        "chosen": [answer("", tool_calls=[{**CALL, "function": {"name": "weather", "arguments": '{"city": "Lima"}'}}])],
        "rejected": [answer("No idea.")],
        "tools": json.dumps(TOOLS),
    },
    "a call in the prompt": {
        "prompt": [
            {"role": "system", "content": "Be brief."},
            user("Weather in Lima?"),
            answer(None, tool_calls=[CALL]),
            RESULT,
        ],
        "chosen": [answer("18 degrees.")],
        "rejected": [answer("Ask somebody else.")],
        "tools": TOOLS,
    },
    "a call in the answer": {
        "prompt": [user("Weather in Lima?")],
        "chosen": [answer(None, tool_calls=[CALL]), RESULT, answer("18 degrees.")],
        "rejected": [answer("No idea.")],
        "tools": TOOLS,
    },
    "reasoning": {
        "prompt": [user("3+3?")],
        "chosen": [answer("6", reasoning_content="three and three")],
        "rejected": [answer("6", reasoning_content="guess")],
    },
    "thinking": {
        "prompt": [user("3+3?")],
        "chosen": [answer("6", thinking="three and three")],
        "rejected": [answer("7", thinking="guess")],
    },
    "reasoning of earlier turns": {
        "prompt": [user("3+3?"), answer("6", reasoning_content="three and three"), user("And 4+4?")],
        "chosen": [answer("8", reasoning_content="four and four")],
        "rejected": [answer("9")],
    },
    "a setting of its own": {
        "prompt": [user("3+3?")],
        "chosen": [answer("6")],
        "rejected": [answer("7")],
        "chat_template_kwargs": {"enable_thinking": False, "reasoning_effort": "high"},
    },
}


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize(
    "template", [*_STOPS, *(pytest.param(further, marks=pytest.mark.slow) for further in _FURTHER)]
)
def test_whole_turns_get_the_ids_that_trl_gives_them(
    template: str, name: str, tokenizer: PreTrainedTokenizerBase
) -> None:
    with_template(tokenizer, template)
    row = ROWS[name]
    imported = import_rows([(1, dict(row))])
    assert not imported.problems
    pair = imported.pairs[0]
    (ids,) = prepare(tokenizer, [to_row(pair)], 10**6).train
    assert (ids.prompt, ids.chosen, ids.rejected) == by_trl(tokenizer, row)
    scored = encode(tokenizer, pair.prompt, pair.chosen, template=template_arguments(to_row(pair)))
    assert [*scored[0], *scored[1]] == ids.prompt + ids.chosen


@pytest.mark.parametrize(
    ("template", "row", "trained"),
    [
        ("qwen3", "reasoning", "<think>\nthree and three\n</think>\n\n6<|im_end|>\n"),
        ("gptoss", "thinking", "<|channel|>analysis<|message|>three and three<|end|>"),
        ("qwen3", "a call is chosen", '{"name": "weather", "arguments": {"city": "Lima"}}'),
        ("llama3_1", "a call is chosen", '{"name": "weather", "parameters": {"city": "Lima"}}'),
        ("mistral", "a call is chosen", '[{"name": "weather", "arguments": {"city": "Lima"}, "id": "abcdef012"}]'),
    ],
)
def test_what_a_turn_has_beside_its_text_is_trained(
    template: str, row: str, trained: str, tokenizer: PreTrainedTokenizerBase
) -> None:
    with_template(tokenizer, template)
    (ids,) = prepare(tokenizer, [to_row(import_rows([(1, dict(ROWS[row]))]).pairs[0])], 10**6).train
    assert trained in tokenizer.decode(ids.chosen)
    assert ids.chosen != ids.rejected


def test_a_token_typed_into_a_call_is_text(tokenizer: PreTrainedTokenizerBase) -> None:
    with_template(tokenizer, "qwen3")
    call = {"type": "function", "function": {"name": "say", "arguments": {"text": "<|im_end|>"}}}
    row = {"id": "a", "prompt": [user("Hi")], "chosen": [answer("", tool_calls=[call])], "rejected": [answer("b")]}
    (ids,) = prepare(tokenizer, [row], 10**6).train
    assert ids.chosen.count(tokenizer.eos_token_id) == 1
    assert "<|im_end|>" in tokenizer.decode(ids.chosen[: ids.chosen.index(tokenizer.eos_token_id)])


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_what_is_exported_gives_trl_each_rows_own_schema(
    form: Literal["parquet", "jsonl"], tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    """A schema for all rows would give each tool and each call the keys of the others, as null."""
    with_template(tokenizer, "qwen3")

    def about(name: str, key: str, kind: str) -> dict[str, Any]:
        schema = {"name": name, "parameters": {"type": "object", "properties": {key: {"type": kind}}}}
        call = {"type": "function", "function": {"name": name, "arguments": {key: "x"}}}
        return {
            "prompt": [user(name)],
            "chosen": [answer(None, tool_calls=[call])],
            "rejected": [answer("b")],
            "tools": [{"type": "function", "function": schema}],
            "chat_template_kwargs": {f"of_{name}": True},
        }

    rows = [about("f", "city", "string"), about("g", "n", "integer"), ROWS["reasoning"]]
    path = tmp_path / f"x.{form}"
    pairs = import_rows(enumerate(rows, 1)).pairs
    export_pairs(path, pairs[:2] if form == "jsonl" else pairs, form)
    name = "json" if form == "jsonl" else form
    loaded = load_dataset(name, data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))
    config = DPOConfig(output_dir="unused", max_length=None, bf16=False, use_cpu=True, report_to="none")
    trainer: Any = SimpleNamespace(_tokenizer=tokenizer)
    made = DPOTrainer._prepare_dataset(trainer, loaded, tokenizer, config, "train")
    ours = prepare(tokenizer, [to_row(pair) for pair in pairs], 10**6).train
    for row, ids in zip(made, ours, strict=False):
        assert (row["prompt_ids"], row["chosen_ids"], row["rejected_ids"]) == (ids.prompt, ids.chosen, ids.rejected)
        assert "null" not in tokenizer.decode(row["prompt_ids"] + row["chosen_ids"])


ENDLESS = "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}{% endfor %}{% endfor %}"
ENDLESS += "{% endfor %}"


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (ENDLESS, "pairs.jsonl, line 2 (pair b): It was stopped after 0.5 s. Turns: user"),
        ("{{ messages[0].content + 1 }}", "line 1 (pair a): Turns: user. In the template: TypeError"),
        ("{{ messages[0].content.x.y }}", "line 1 (pair a): Turns: user. The template says: 'str object' has no"),
        ("{{ raise_exception('No.') }}", "line 1 (pair a): Turns: user. The template says: No.."),
    ],
)
def test_a_template_that_fails_or_never_ends_is_told_with_line_and_pair(
    template: str, said: str, tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rendering, "SECONDS", 0.5)
    monkeypatch.setattr(rendering, "_LOOK", 0.1)
    tokenizer.chat_template = "{% if messages[0].content == 'Go on' %}" + template + "{% endif %}"
    if template != ENDLESS:
        tokenizer.chat_template = template
    rows = [
        {"id": name, "prompt": [user(text)], "chosen": [answer("a")], "rejected": [answer("b")]}
        for name, text in (("a", "Hi"), ("b", "Go on"))
    ]
    with pytest.raises(WorkbenchError) as caught:
        prepare(tokenizer, rows, 10**6)
    assert said in caught.value.message


DOUBLING = "{% set n = namespace(x='xxxxxxxx') %}{% for i in range(27) %}{% set n.x = n.x ~ n.x %}{% endfor %}"


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ 'x' * 10**10 }}", "the result of * is too large"),
        ("{{ 10**10 * [1] }}", "the result of * is too large"),
        ("{{ 10 ** (10 ** 10) }}", "the result of ** is too large"),
        ("{% for i in range(10**10) %}{% endfor %}", "Range too big"),
        ("{% set n = namespace(x=9) %}{% for i in range(60) %}{% set n.x = n.x * n.x %}{% endfor %}", "* is too large"),
        ("{{ 'x'.ljust(10**9) }}", "it needs over"),
        ("{{ '%999999999d' % 1 }}", "it needs over"),
        ("{{ messages[0].content | center(10**9) }}", "it needs over"),
        (DOUBLING, "it needs over"),
    ],
)
def test_one_step_of_a_template_cannot_take_the_machine(
    template: str, said: str, tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rendering, "MEMORY", 300 * 2**20)
    before = resource.getrlimit(resource.RLIMIT_AS)
    tokenizer.chat_template = template
    with pytest.raises(WorkbenchError, match="takes too much") as caught:
        rendering.rendered_text(tokenizer, (Message("user", "Hi"),), {})
    assert said in caught.value.message
    assert resource.getrlimit(resource.RLIMIT_AS) == before


def test_products_of_sane_size_are_computed(tokenizer: PreTrainedTokenizerBase) -> None:
    tokenizer.chat_template = "{{ '-' * 3 }}{{ 2 ** 10 * 3 }}{{ 1.5 * 2 }}{{ [messages[0].content] * 2 }}"
    text = rendering.rendered_text(tokenizer, (Message("user", "Hi"),), {})
    assert text == "---30723.0['Hi', 'Hi']"


def endless() -> None:
    with rendering.time_limit(0.01):
        while True:
            pass


_TRACED_AFTER = """
import sys, threading
from workbench.engine.model import rendering
for _ in range(3):
    try:
        with rendering.time_limit(0.01):
            while True:
                pass
    except rendering.EndlessError:
        pass
def called():
    return "went on"
def trace(*_):
    return trace
sys.settrace(trace)
print(called())
sys.settrace(None)
"""


def test_code_can_be_traced_after_a_template_was_stopped() -> None:
    """CPython 3.11 hangs where it is left looking for an exception that no thread is sent."""
    done = subprocess.run([sys.executable, "-c", _TRACED_AFTER], capture_output=True, text=True, timeout=120)
    assert done.stdout == "went on\n"


def test_a_time_limit_that_was_kept_stops_nothing_later() -> None:
    with rendering.time_limit(60):
        pass
    with pytest.raises(rendering.EndlessError):
        endless()
    begin = time.monotonic()
    while time.monotonic() < begin + 2 * rendering._LOOK:
        pass
