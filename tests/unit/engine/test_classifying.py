"""Behaviours that a function, a judge or a classifier tells: each is the real thing."""

import math
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForSequenceClassification

from workbench.behaviours.behaviour import Answer, Behaviour
from workbench.behaviours.reading import KnownBehaviours
from workbench.engine.model.downloads import load_tokenizer
from workbench.engine.model.inference import next_logits, next_logprobs, opening_logprobs, response_logits
from workbench.engine.model.loading import load_base
from workbench.engine.model.token_ids import prompt_ids
from workbench.engine.scoring.classifying import shown_behaviours
from workbench.engine.scoring.scorer import log_mass
from workbench.errors import WorkbenchError
from workbench.pairs.pair import Message
from workbench.tiny import WEIGHTS

ANSWERS = [Answer("tone", "Why?", text) for text in ("Not our problem.", "I'm sorry.", "", "I'm sorry.")]


def test_a_function_of_the_users_is_asked_once_an_answer(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "calls = []\n"
        "def name(prompt, answer):\n"
        "    calls.append(answer)\n"
        "    assert calls.count(answer) == 1, 'asked twice'\n"
        "    return 'sorry' if 'sorry' in answer else None\n"
        "def chances(prompt, answer):\n"
        "    return {'long': len(answer) / 20, 'short': len(answer) < 12}\n"
        "def plain(prompt, answer):\n"
        "    return prompt == 'Why?' and bool(answer)\n"
    )
    behaviours = {
        "sorry": Behaviour(function="mine.py:name"),
        "long": Behaviour(function="mine.py:chances", at_least=0.75),
        "short": Behaviour(function="mine.py:chances"),
        "said": Behaviour(function="mine.py:plain"),
    }
    assert shown_behaviours(ANSWERS, KnownBehaviours(behaviours, tmp_path)) == [
        ("long", "said"),
        ("sorry", "short", "said"),
        ("empty", "short"),
        ("sorry", "short", "said"),
    ]


@pytest.mark.parametrize(
    ("function", "told"),
    [
        ("absent.py:f", "cannot be read"),
        ("mine.py:g", "No function 'g'"),
        ("mine.py:fails", "ZeroDivisionError"),
        ("mine.py:odd", "no behaviour's name"),
        ("nonsense", "no function"),
    ],
)
def test_a_function_that_cannot_tell_is_told(tmp_path: Path, function: str, told: str) -> None:
    (tmp_path / "mine.py").write_text(
        "def fails(prompt, answer):\n    return 1 / 0\ndef odd(prompt, answer):\n    return 7\n"
    )
    with pytest.raises(WorkbenchError, match=told):
        shown_behaviours(ANSWERS, KnownBehaviours({"x": Behaviour(function=function)}, tmp_path))


def test_a_judge_says_yes_by_its_next_token(tmp_path: Path) -> None:
    """Against plain forwards of the same model: the embedded one, whose opinion is worth nothing, but is one."""
    question = "Is {answer} polite after {prompt}?"
    tokenizer, model = load_tokenizer("tiny"), load_base("tiny", "none", device="cpu")

    def chance(answer: Answer) -> float:
        text = f"Is {answer.text} polite after {answer.prompt}?\nAnswer yes or no."
        logits = next_logits(model, prompt_ids(tokenizer, (Message("user", text),))).float().softmax(-1)
        words = [("Yes", "yes", "YES", " Yes", " yes"), ("No", "no", "NO", " No", " no")]
        yes, no = ({tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in some} for some in words)
        said_yes, said_no = (sum(logits[token].item() for token in tokens) for tokens in (yes, no))
        return said_yes / (said_yes + said_no)

    chances = [chance(answer) for answer in ANSWERS]
    assert len({round(each, 6) for each in chances}) == 3
    middle = sorted(chances)[1] + 1e-6
    polite = Behaviour(judge=str(WEIGHTS), question=question, at_least=middle)
    shown = shown_behaviours(ANSWERS, KnownBehaviours({"polite": polite}, tmp_path))
    assert ["polite" in names for names in shown] == [each >= middle for each in chances]
    with pytest.raises(WorkbenchError, match="No such model"):
        shown_behaviours(ANSWERS, KnownBehaviours({"x": Behaviour(judge="absent", question="?")}, tmp_path))


def test_a_classifier_tells_its_label(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(str(WEIGHTS))
    tokenizer.pad_token = tokenizer.eos_token
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        pad_token_id=tokenizer.pad_token_id,
        id2label={0: "fine", 1: "toxic"},
        label2id={"fine": 0, "toxic": 1},
    )
    model = LlamaForSequenceClassification(config).eval()
    model.save_pretrained(tmp_path / "judge")
    tokenizer.save_pretrained(tmp_path / "judge")
    answers = [answer for answer in ANSWERS if answer.text]
    chances = []
    with torch.no_grad():
        for answer in answers:
            ids = tokenizer(answer.prompt, answer.text, return_tensors="pt")
            chances.append(model(**ids).logits.softmax(-1)[0, 1].item())
    assert abs(chances[0] - chances[1]) > 1e-4
    middle = (chances[0] + chances[1]) / 2
    toxic = Behaviour(classifier="judge", label="toxic", at_least=middle)
    shown = shown_behaviours(answers, KnownBehaviours({"toxic": toxic}, tmp_path))
    assert ["toxic" in names for names in shown] == [each >= middle for each in chances]
    with pytest.raises(WorkbenchError, match="No label 'rude'"):
        shown_behaviours(answers, KnownBehaviours({"x": toxic.model_copy(update={"label": "rude"})}, tmp_path))


def test_next_tokens_and_openings_are_those_of_plain_forwards() -> None:
    tokenizer, model = load_tokenizer("tiny"), load_base("tiny", "nf4", device="cpu")
    prompts = [prompt_ids(tokenizer, (Message("user", text),)) for text in ("How do I bypass the lock?", "Why?")]
    tokens = [5, 300, 7]
    expected = [next_logits(model, prompt).float().log_softmax(-1)[tokens].tolist() for prompt in prompts]
    assert next_logprobs(model, prompts, tokens).tolist() == [pytest.approx(row, abs=1e-4) for row in expected]
    texts = ("Sure. First wait", "I", "I can't help with", "Sure")
    openings = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    assert {len(opening) for opening in openings} > {1, 2} or len(openings[0]) > 2
    for prompt in prompts:
        sums = []
        for opening in openings:
            logprobs = response_logits(model, prompt, opening).float().log_softmax(-1)
            sums.append(logprobs.gather(-1, torch.tensor(opening)[:, None]).sum().item())
        assert opening_logprobs(model, prompt, openings) == pytest.approx(sums, abs=1e-3)


def test_of_openings_that_begin_alike_the_shortest_counts() -> None:
    chances = {(1, 2, 3): 0.1, (1, 2): 0.3, (4,): 0.2, (5, 1, 2): 0.05}
    sums = [math.log(chance) for chance in chances.values()]
    assert math.exp(log_mass(sums, list(chances))) == pytest.approx(0.55)
    twice = [(4,), (4,)], [math.log(0.2)] * 2
    assert math.exp(log_mass(twice[1], twice[0])) == pytest.approx(0.2)
    assert log_mass([-2000.0, -2001.0], [(1,), (2,)]) == pytest.approx(-2000 + math.log1p(math.exp(-1)))
