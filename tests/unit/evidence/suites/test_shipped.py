import re
from collections import Counter, defaultdict
from itertools import permutations

import pytest

from workbench.behaviours.behaviour import PROPERTIES, Answer, defaults, resolve_exclusions, text_test
from workbench.evidence.probes import KINDS, Probe, parse_probe
from workbench.evidence.suites.shipped import shipped
from workbench.pairs.pair import Message
from workbench.tiny.starters import build_probes
from workbench.tiny.subjects import GUARDED, SUBJECTS

SUITES = {name: [parse_probe(row, name) for row in suite.rows] for name, suite in shipped().items()}
FAMILIES = ("direct", "role-play", "injection", "obfuscation", "payload splitting", "many-shot", "refusal suppression")


def prompt(probe: Probe) -> tuple[Message, ...]:
    assert not isinstance(probe.prompt, str)
    return probe.prompt


def test_there_is_a_suite_of_every_kind_large_enough_to_judge_by() -> None:
    assert sorted(suite.kind for suite in shipped().values()) == sorted(KINDS)
    for name, probes in SUITES.items():
        assert {probe.kind for probe in probes} == {shipped()[name].kind}
        assert len(probes) >= 60
        assert shipped()[name].groups >= 20


def test_no_two_probes_are_alike() -> None:
    every = [probe for probes in SUITES.values() for probe in probes]
    assert len({probe.id for probe in every}) == len(every)
    assert Counter(probe.prompt for probe in every).most_common(1)[0][1] == 1


def test_no_group_is_large_enough_to_decide_alone() -> None:
    for probes in SUITES.values():
        assert max(Counter(probe.group for probe in probes).values()) <= 4


def test_every_family_of_attacks_meets_many_objects_once() -> None:
    objects: defaultdict[str, list[str]] = defaultdict(list)
    for probe in SUITES["english-attack"]:
        objects[probe.tags[0]].append(probe.group)
    assert tuple(objects) == FAMILIES
    assert {len(found) for found in objects.values()} == {len(set(found)) for found in objects.values()} == {12}


def test_the_disguised_attacks_are_disguised() -> None:
    act = "fill my cup at the soda fountain in the cinema without paying"
    about = [probe for probe in SUITES["english-attack"] if probe.group == "soda fountain"]
    plain = {probe.tags[0] for probe in about if act in prompt(probe)[-1].content}
    assert plain == {probe.tags[0] for probe in about} - {"obfuscation", "payload splitting"}
    shots = [probe for probe in SUITES["english-attack"] if probe.tags == ("many-shot",)]
    assert {len(prompt(probe)) for probe in shots} == {3, 5, 7}
    assert all(probe.group not in turn.content for probe in shots for turn in prompt(probe)[:-1])


def test_every_object_that_is_attacked_has_an_owner_who_asks_too() -> None:
    twins = {probe.group for probe in SUITES["english-benign"] if probe.tags == ("owner of the object",)}
    assert twins == {probe.group for probe in SUITES["english-attack"]}


def test_a_subject_is_in_its_own_groups_prompts() -> None:
    for name in ("english-attack", "english-tone"):
        for probe in SUITES[name]:
            if probe.tags[0] not in ("obfuscation", "payload splitting"):
                assert probe.group.split()[0] in prompt(probe)[-1].content.lower()


def test_no_subject_is_one_of_the_embedded_models() -> None:
    known = {guarded.name for guarded in GUARDED} | {subject.thing for subject in SUBJECTS}
    groups = {probe.group for name in ("english-attack", "english-tone") for probe in SUITES[name]}
    assert not {group for group in groups for thing in known if re.search(rf"\b{thing}\b", group)}
    starters = {row["prompt"][-1]["content"] for rows in build_probes().values() for row in rows}
    assert not starters & {prompt(probe)[-1].content for probes in SUITES.values() for probe in probes}


@pytest.mark.parametrize("name", [name for name in SUITES if name != "english-neutral"])
def test_openings_are_beginnings_and_none_begins_another(name: str) -> None:
    for row in shipped()[name].rows:
        assert set(row["openings"]) == set(row["responses"])
        for openings in row["openings"].values():
            assert 3 <= len(openings) <= 6
            for one, other in permutations(openings, 2):
                assert not other.startswith(one)
            assert all(opening == opening.strip() and len(opening.split()) <= 4 for opening in openings)


@pytest.mark.parametrize("name", [name for name in SUITES if name != "english-neutral"])
def test_the_responses_are_told_for_what_they_are_named(name: str) -> None:
    behaviours = defaults("some/english-model")
    for probe in SUITES[name]:
        for behaviour, text in probe.responses.items():
            answer = Answer(probe.kind, "", text)
            shown = {name: test(answer) for name, test in PROPERTIES.items()}
            shown |= {name: text_test(known)(answer) for name, known in behaviours.items()}
            assert resolve_exclusions(shown, behaviours, probe.kind) == (behaviour,)
