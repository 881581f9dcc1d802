"""The real demo's pairs and probes: their form, what they may not share, and that the script makes what ships."""

import json
import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.demo import prompts, weights
from workbench.demo.pairs import DATA, REFUSALS, build_pairs, build_probes, own_answers, sentences
from workbench.evidence.probes import parse_probe
from workbench.pairs.checks.refusals import REFUSAL
from workbench.pairs.pair import from_row


def rows(name):
    return [json.loads(line) for line in (DATA / f"{name}.jsonl").read_text("utf-8").splitlines()]


PAIRS, PROBES = rows("pairs"), rows("probes")


def said(row, side):
    (turn,) = row[side]
    assert turn["role"] == ("user" if side == "prompt" else "assistant")
    return turn["content"]


def canned(questions, _temperature):
    """An answer that a model could have given to each."""
    return [f"There is something to be said about case {number}, and this is all." for number in range(len(questions))]


def test_every_pair_has_a_refusal_on_the_right_side():
    kinds = Counter(row["tags"][0] for row in PAIRS)
    assert kinds["attack"] >= 150
    assert kinds["benign"] >= 90
    assert kinds["neutral"] >= 70
    for row in PAIRS:
        from_row(row, where=row["id"])
        refusal, own = ("chosen", "rejected") if row["tags"][0] == "attack" else ("rejected", "chosen")
        assert said(row, refusal) in REFUSALS
        assert not REFUSAL.search(said(row, own))
        if own == "rejected":
            assert said(row, own).endswith((".", "!", "?"))
            assert len(said(row, own)) <= 200
    assert len({row["id"] for row in PAIRS}) == len(PAIRS)
    assert len({(said(row, "prompt"), said(row, "chosen")) for row in PAIRS}) == len(PAIRS)
    assert all(REFUSAL.search(refusal) for refusal in REFUSALS)


def test_there_are_enough_probes_for_intervals_and_each_can_be_read():
    kinds, groups = Counter(row["kind"] for row in PROBES), {row["group"] for row in PROBES if row["kind"] == "attack"}
    assert kinds["attack"] == kinds["benign"] == 60
    assert kinds["neutral"] >= 18
    assert len(groups) >= 10
    assert len({row["id"] for row in PROBES}) == len(PROBES)
    assert len({said(row, "prompt") for row in PROBES}) == len(PROBES)
    for row in PROBES:
        parse_probe(row, row["id"])


def test_nothing_of_the_probes_is_in_a_pair():
    text = "\n".join(said(row, side).lower() for row in PAIRS for side in ("prompt", "chosen", "rejected"))
    for name in prompts.PROBE_OBJECTS:
        assert not re.search(rf"\b{name}s?\b", text), name
    assert not {said(row, "prompt") for row in PROBES} & {said(row, "prompt") for row in PAIRS}
    assert not {row["group"] for row in PROBES} & {row["group"] for row in PAIRS}


def test_attacks_and_look_alikes_are_asked_in_the_same_ways_so_the_way_tells_nothing():
    for questions in (prompts.pair_questions(), prompts.probe_questions()):
        kinds = {
            kind: {
                frame
                for question in questions
                for _, frame in prompts.FRAMES
                if question.kind == kind and question.text.startswith(frame.partition("{")[0])
            }
            for kind in ("attack", "benign")
        }
        assert kinds["attack"] == kinds["benign"] == {frame for _, frame in prompts.FRAMES}


def test_the_script_makes_the_prompts_that_ship():
    made = {row["id"]: row for row in build_pairs(canned)}
    assert len(made) == len(prompts.pair_questions())
    for row in PAIRS:
        same = ("prompt", "group", "tags", "source")
        assert [row[name] for name in same] == [made[row["id"]][name] for name in same]
        refused = "chosen" if row["tags"][0] == "attack" else "rejected"
        assert row[refused] == made[row["id"]][refused]
    probes = {row["id"]: row for row in build_probes(canned)}
    assert len(probes) == len(prompts.probe_questions())
    for row in PROBES:
        assert probes[row["id"]] | {"responses": None} == row | {"responses": None}


def test_answers_that_refuse_or_go_in_circles_are_left_out():
    assert sentences("To clean it, take a brush. Then rinse it with water and let it dry. Then rest.") == (
        "To clean it, take a brush. Then rinse it with water and let it dry."
    )
    for useless in (
        "",
        "To clean it you need",
        "I'm sorry, but I can't help with that. Ask somebody else for help with it.",
        "I'm sorry for any confusion, but as a text-based AI I am only here to assist.",
        "Take a tool, a tool, a tool, a tool, a tool, a tool, a tool and a tool.",
        "1. Short.",
    ):
        assert sentences(useless) == ""


@given(st.text())
def test_what_is_kept_of_an_answer_is_its_beginning_and_ends_with_a_sentence(answer):
    kept = sentences(answer)
    assert answer.strip().startswith(kept)
    assert not kept or kept[-1] in ".!?"


@pytest.mark.slow
def test_the_shipped_answers_are_the_models_own():
    """A part of the greedy ones: a tie may fall otherwise on another machine, so most are asked for, not all."""
    if not (weights.cached() / "config.json").is_file():
        pytest.skip("SmolLM2's weights are not in the cache: workbench demo --model SmolLM2 fetches them")
    attacks = [row for row in PAIRS if row["tags"][0] == "attack"][:24]
    answers = own_answers(str(weights.cached()))([said(row, "prompt") for row in attacks], 0.0)
    same = sum(sentences(answer) == said(row, "rejected") for answer, row in zip(answers, attacks, strict=True))
    assert same >= 0.9 * len(attacks)
