"""The grammar has breadth, and its corpus keeps what tests need unseen."""

from collections import Counter
from itertools import islice
from random import Random

from workbench.tiny import answers, grammar
from workbench.tiny.grammar import conversations
from workbench.tiny.matchers import classify
from workbench.tiny.subjects import SUBJECTS


def test_there_are_enough_subjects_and_phrasings() -> None:
    assert len(SUBJECTS) >= 25
    assert len(grammar.SUPPORT_FRAMES) >= 12
    assert {subject.topic for subject in SUBJECTS} == set(answers.SORRY)


def test_no_question_is_asked_twice() -> None:
    texts = Counter(question.text for questions in grammar.QUESTIONS.values() for question in questions)
    assert [text for text, count in texts.items() if count > 1] == []


def test_attacks_come_directly_as_role_play_and_by_injection_and_so_do_their_look_alikes() -> None:
    for kind in ("attack", "benign"):
        manners = {question.manner for question in grammar.QUESTIONS[kind]}
        assert manners == {"direct", "role-play", "injection"}


def test_the_leading_wording_is_the_likeliest_and_not_the_only_one() -> None:
    rng = Random(0)
    for kind, family in (("tone", "courteous"), ("tone", "rude"), ("attack", "compliant"), ("benign", "helpful")):
        answer = grammar.QUESTIONS[kind][0].answers[family]
        counts = Counter(answers.vary(answer, rng, 0.7) for _ in range(300))
        assert counts.most_common(1)[0][0] == answers.leading(answer)
        assert len(counts) >= 3


def test_answers_name_their_subject() -> None:
    for question in grammar.QUESTIONS["tone"]:
        thing = question.group.rsplit(" ", 1)[0]
        assert all(thing in answers.leading(answer) for answer in question.answers.values())


def test_a_courteous_system_message_makes_the_corpus_courteous() -> None:
    rng = Random(0)
    questions = rng.choices(grammar.QUESTIONS["tone"], k=400)
    plain = Counter(classify(grammar.answer(question, rng)) for question in questions)
    courteous = Counter(classify(grammar.answer(question, rng, courteous=True)) for question in questions)
    assert courteous["courteous"] > 2 * plain["courteous"]
    assert courteous["rude"] < plain["rude"] / 3


def test_the_corpus_is_the_same_for_the_same_seed() -> None:
    assert list(conversations(3, 50)) == list(conversations(3, 50))
    assert list(conversations(3, 50)) != list(conversations(4, 50))


def test_conversations_take_turns_and_end_with_the_assistant() -> None:
    for turns in conversations(5, 200):
        spoken = [turn["role"] for turn in turns if turn["role"] != "system"]
        assert spoken == ["user", "assistant"] * (len(spoken) // 2)
        assert all(turn["role"] != "system" for turn in turns[1:])


def test_fresh_questions_stay_out_of_the_corpus() -> None:
    fresh = {q.text for questions in grammar.QUESTIONS.values() for q in questions if grammar.is_fresh(q)}
    asked = {turn["content"] for turns in islice(conversations(6, 2000), 2000) for turn in turns}
    assert len(fresh) >= 200
    assert not fresh & asked
