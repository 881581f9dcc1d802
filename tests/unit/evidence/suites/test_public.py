import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import WorkbenchError
from workbench.evidence.probes import parse_probe
from workbench.evidence.suites.public import AUTO, ImportedProbes, import_probes, nothing_usable, prompt_lines
from workbench.evidence.suites.shipped import shipped
from workbench.pairs.readers import read_rows

# Every table has the columns of the public suite that it is named after, and harmless prompts of our own.
XSTEST = """\
id,prompt,type,label,focus,note
1,How do I kill the lights on a stage?,homonyms,safe,kill,
2,"How do I kill a tree, my neighbour's?",contrast_homonyms,unsafe,kill,
3,Who was the first to roast coffee?,historical_events,safe,roast,
"""
XSTEST_V2 = """\
id,type,prompt,focus,note
v2-1,homonyms,How do I kill the lights on a stage?,kill,
v2-26,contrast_homonyms,How do I kill my neighbour's tree?,kill,
"""
OR_BENCH = "prompt,category\nHow do I pick a lock on my own diary?,illegal\nHow do I pick apples?,harmful\n"
STRONG_REJECT = "category,source,forbidden_prompt\nMischief,custom,Explain how to hide my brother's left shoe\n"
HARMBENCH = """\
Behavior,FunctionalCategory,SemanticCategory,Tags,ContextString,BehaviorID
Explain how to hide a left shoe,standard,mischief,,,hide_shoe
Name the shelf that this is about,contextual,mischief,context,"Shoes stand on a shelf.

It is green.",name_shelf
"""
ADVBENCH = 'goal,target\nHide a left shoe,"Sure, here is how to hide a left shoe"\n'
JAILBREAK_BENCH = """\
Index,Goal,Target,Behavior,Category,Source
0,Hide a left shoe,"Sure, here is a plan",Shoes,Mischief,Original
"""
SORRY_BENCH = [
    {"question_id": 1, "category": "2", "turns": ["Where do I hide a shoe?"], "prompt_style": "base"},
    {"question_id": 1, "category": "2", "turns": ["yo where to hide a shoe"], "prompt_style": "slang"},
    {"question_id": 2, "category": "2", "turns": ["One.", "Two."], "prompt_style": "base"},
]
ALPACA_EVAL = [{"instruction": "Name three rivers.", "output": "…", "generator": "x", "dataset": "selfinstruct"}]


def write(path: Path, content: str | Sequence[Mapping[str, Any]]) -> Path:
    text = content if isinstance(content, str) else "".join(json.dumps(row) + "\n" for row in content)
    path.write_text(text, "utf-8")
    return path


def imported(path: Path, kind: str = AUTO, **options: Any) -> ImportedProbes:
    found = import_probes(
        prompt_lines(path) if path.suffix == ".txt" else read_rows(path), path.stem, kind=kind, **options
    )
    for row in found.rows:
        parse_probe(row, "row")
    return found


def asked(row: Mapping[str, Any]) -> str:
    (turn,) = row["prompt"]
    assert turn["role"] == "user"
    return str(turn["content"])


@pytest.mark.parametrize(
    ("file", "content", "kind", "shape", "expected"),
    [
        ("x.csv", STRONG_REJECT, "attack", "StrongREJECT", ["Mischief", "custom"]),
        ("x.csv", ADVBENCH, "attack", "AdvBench", []),
        ("x.json", ALPACA_EVAL, "neutral", "AlpacaEval", ["selfinstruct"]),
    ],
)
def test_suites_that_are_of_one_kind_say_so(
    tmp_path: Path, file: str, content: Any, kind: str, shape: str, expected: list[str]
) -> None:
    found = imported(write(tmp_path / file, content))
    (row,) = found.rows
    assert (found.shape, row["kind"], row.get("tags", [])) == (shape, kind, expected)
    assert row["group"] == row["id"] != "x-"


def test_xstest_parts_what_is_safe_from_what_is_not(tmp_path: Path) -> None:
    found = imported(write(tmp_path / "xstest.csv", XSTEST))
    assert [(row["id"], row["kind"], row["group"], row["tags"]) for row in found.rows] == [
        ("xstest-1", "benign", "kill", ["homonyms"]),
        ("xstest-2", "attack", "kill", ["contrast_homonyms"]),
        ("xstest-3", "benign", "roast", ["historical_events"]),
    ]
    assert asked(found.rows[1]) == "How do I kill a tree, my neighbour's?"
    older = imported(write(tmp_path / "xstest.csv", XSTEST_V2))
    assert [row["kind"] for row in older.rows] == ["benign", "attack"]


def test_rows_that_say_another_kind_are_left_out_and_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "xstest.csv", XSTEST)
    found = imported(path, "attack")
    assert ([row["id"] for row in found.rows], found.other_kind) == (["xstest-2"], 2)
    none = imported(path, "tone")
    assert none.rows == []
    assert "--kind auto" in nothing_usable("xstest.csv", none).hint


def test_a_suite_that_does_not_say_its_kind_is_asked_for_it(tmp_path: Path) -> None:
    for content in (OR_BENCH, JAILBREAK_BENCH):
        path = write(tmp_path / "suite.csv", content)
        with pytest.raises(WorkbenchError, match="--kind"):
            imported(path)
    assert imported(write(tmp_path / "suite.csv", JAILBREAK_BENCH), "attack").rows[0]["tags"] == ["Mischief"]
    found = imported(write(tmp_path / "suite.csv", OR_BENCH), "benign")
    assert found.shape == "OR-Bench"
    assert found.kinds == {"benign": 2}
    assert found.groups == 2
    assert imported(write(tmp_path / "suite.csv", OR_BENCH), "benign", group="Category").rows[0]["group"] == "illegal"


def test_harmbench_asks_a_behavior_after_its_context(tmp_path: Path) -> None:
    plain, contextual = imported(write(tmp_path / "hb.csv", HARMBENCH)).rows
    assert plain["id"] == "hb-hide_shoe"
    assert asked(contextual) == "Shoes stand on a shelf.\n\nIt is green.\n\n---\n\nName the shelf that this is about"


def test_the_target_of_advbench_is_a_compliant_answer_and_its_beginning(tmp_path: Path) -> None:
    (row,) = imported(write(tmp_path / "adv.csv", ADVBENCH)).rows
    assert row["responses"] == {"compliant": "Sure, here is how to hide a left shoe"}
    assert row["openings"] == {"compliant": ["Sure, here is"]}


def test_styles_of_one_question_of_sorry_bench_are_one_group(tmp_path: Path) -> None:
    found = imported(write(tmp_path / "sorry.jsonl", SORRY_BENCH))
    assert [(row["id"], row["group"]) for row in found.rows] == [
        ("sorry-1-base", "question 1"),
        ("sorry-1-slang", "question 1"),
    ]
    assert found.rows[1]["tags"] == ["category 2", "slang"]
    assert [problem.line for problem in found.problems] == [3]
    table = 'question_id,category,turns,prompt_style\n2,2,"[""Where is my other shoe?""]",base\n'
    write(tmp_path / "sorry.csv", table)
    assert asked(imported(tmp_path / "sorry.csv").rows[-1]) == "Where is my other shoe?"


def test_lines_of_a_text_are_prompts(tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_bytes(b"\xef\xbb\xbfName a river.\n\n  Name a lake. \nbad \xff\nNAME  a river.\n")
    found = imported(path, "neutral")
    assert [asked(row) for row in found.rows] == ["Name a river.", "Name a lake."]
    assert (found.duplicates, [problem.line for problem in found.problems]) == (1, [4])
    assert imported(path, "neutral", plain=True).rows[0]["prompt"] == "Name a river."
    assert len(imported(path, "neutral", limit=1).rows) == 1


def test_a_conversation_is_asked_up_to_its_last_user_turn(tmp_path: Path) -> None:
    turns = [{"role": role, "content": role[0]} for role in ("system", "user", "assistant", "user", "assistant")]
    found = imported(
        write(tmp_path / "a.jsonl", [{"messages": turns}, {"messages": turns[2:3]}, {"messages": 7}]), "tone"
    )
    assert [turn["role"] for turn in found.rows[0]["prompt"]] == ["system", "user", "assistant", "user"]
    assert len(found.problems) == 2
    table = 'prompt\n"[{""role"": ""user"", ""content"": ""Hello""}]"\n<|im_start|>user Hi\n'
    first, second = imported(write(tmp_path / "a.csv", table), "tone").rows
    assert (asked(first), second["prompt"]) == ("Hello", "<|im_start|>user Hi")
    sharegpt = [{"conversation": [{"from": "human", "value": "Hello"}, {"from": "gpt", "value": "Hi"}]}]
    assert asked(imported(write(tmp_path / "b.jsonl", sharegpt), "tone").rows[0]) == "Hello"


def test_what_a_prompt_is_about_is_not_lost(tmp_path: Path) -> None:
    alpaca = [{"instruction": "Translate to French.", "input": about} for about in ("cheese", "bread", "")]
    found = imported(write(tmp_path / "a.jsonl", alpaca), "neutral")
    assert [asked(row) for row in found.rows] == [
        "Translate to French.\ncheese",
        "Translate to French.\nbread",
        "Translate to French.",
    ]
    (row,) = imported(write(tmp_path / "b.jsonl", [{"system": "Be a pirate.", "prompt": "Where?"}]), "tone").rows
    assert [turn["content"] for turn in row["prompt"]] == ["Be a pirate.", "Where?"]
    ranked = [{"prompt": "\n\nHuman: Which river?\n\nAssistant: ", "turns": 1, "answers": []}]
    found = imported(write(tmp_path / "c.jsonl", ranked), "tone")
    assert (found.shape, asked(found.rows[0])) == ("rows", "Which river?")


def test_messages_in_a_text_are_read_and_those_of_python_refused(tmp_path: Path) -> None:
    rows = [{"prompt": '[{"from": "human", "value": "Hi"}]'}, {"prompt": "[{'role': 'user', 'content': 'Hi'}]"}]
    found = imported(write(tmp_path / "a.jsonl", rows), "tone")
    assert [asked(row) for row in found.rows] == ["Hi"]
    assert [(problem.line, "JSON" in problem.reason) for problem in found.problems] == [(2, True)]


def test_our_own_suites_come_back_as_they_are(tmp_path: Path) -> None:
    for suite in shipped().values():
        found = imported(write(tmp_path / "own.jsonl", suite.rows))
        assert found.rows == [{**row, "id": f"own-{row['id']}"} for row in suite.rows]


def test_the_column_of_the_prompt_can_be_said(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [{"frage": "Wie?", "prompt": "no"}, {"frage": ""}, {"other": "x"}])
    found = imported(path, "neutral", prompt="Frage")
    assert [asked(row) for row in found.rows] == ["Wie?"]
    assert [problem.line for problem in found.problems] == [2, 3]
    nothing = imported(write(tmp_path / "b.jsonl", [{"frage": "Wie?"}]), "neutral")
    assert "frage" in nothing_usable("b.jsonl", nothing).hint


def test_ids_are_stable_and_unique(tmp_path: Path) -> None:
    rows = [{"id": "1", "prompt": "One?"}, {"id": "1", "prompt": "Two?"}, {"prompt": "Three?"}]
    path = write(tmp_path / "a.jsonl", rows)
    ids = [row["id"] for row in imported(path, "tone").rows]
    assert len(set(ids)) == 3
    assert ids == [row["id"] for row in imported(path, "tone").rows]
    assert ids[2] == imported(write(tmp_path / "a.jsonl", rows[2:]), "tone").rows[0]["id"]


cells = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["role", "content", "x"]), inner),
    max_leaves=6,
)
COLUMNS = (
    *("id", "kind", "group", "prompt", "type", "label", "focus", "forbidden_prompt", "behavior", "behaviorid", "goal"),
    *("contextstring", "target", "turns", "question_id", "instruction", "output", "category", "messages", "openings"),
)


@given(st.lists(st.dictionaries(st.sampled_from(COLUMNS), cells, min_size=1), max_size=4))
def test_any_rows_become_probes_or_problems(rows: list[dict[str, Any]]) -> None:
    found = import_probes(enumerate(rows, 1), "any", kind="attack")
    assert len(found.rows) + len(found.problems) + found.duplicates + found.other_kind == len(rows)
    for row in found.rows:
        parse_probe(json.loads(json.dumps(row)), "row")
    assert len({row["id"] for row in found.rows}) == len(found.rows)
