"""Rows to token ids: equal to what TRL's own DPOTrainer makes of them."""

import json
from types import SimpleNamespace

import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from trl import DPOConfig, DPOTrainer
from trl.trainer.dpo_trainer import DataCollatorForPreference
from trl.trainer.reward_trainer import DataCollatorForPreference as DataCollatorForRewards

from workbench.engine.model.downloads import load_tokenizer
from workbench.engine.model.rendering import FALLBACK_TEMPLATE
from workbench.engine.model.token_ids import encode, pair_ids, prompt_ids, with_system
from workbench.engine.training.data import prepare, to_dataset
from workbench.errors import WorkbenchError
from workbench.pairs.pair import Message, from_row
from workbench.tiny import WEIGHTS

TEMPLATES = {
    "its own": None,
    "fallback": FALLBACK_TEMPLATE,
    "line break after the end": "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}",
    "prompt alone differs": "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|> think {% endif %}",
    "tools": "{{ tools }} {{ mood }}{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}",
}
words = st.text(alphabet="ab Ж.\n", max_size=6)
answers = words.filter(str.strip)


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer("tiny")


def turns(*texts, role="user"):
    others = {"user": "assistant", "assistant": "user"}
    found = []
    for text in texts:
        found.append({"role": role, "content": text})
        role = others[role]
    return found


def conversation(prompt="How do I do it?", chosen="Gladly.", rejected="No.", **more):
    return {
        "id": "x",
        "prompt": turns(prompt),
        "chosen": turns(chosen, role="assistant"),
        "rejected": turns(rejected, role="assistant"),
        **more,
    }


def standard(prompt, chosen, rejected):
    return {"id": "x", "prompt": prompt, "chosen": chosen, "rejected": rejected}


def by_trl(tokenizer, rows, max_length=None):
    """What TRL's DPOTrainer makes of the rows: its own method, which needs nothing of the trainer but the tokenizer."""
    config = DPOConfig(output_dir="unused", max_length=max_length, bf16=False, use_cpu=True, report_to="none")
    dataset = Dataset.from_list([{k: v for k, v in row.items() if k != "id"} for row in rows])
    made = DPOTrainer._prepare_dataset(SimpleNamespace(_tokenizer=tokenizer), dataset, tokenizer, config, "train")
    return [(row["prompt_ids"], row["chosen_ids"], row["rejected_ids"]) for row in made]


def by_us(tokenizer, rows, max_length=10**6):
    return [(ids.prompt, ids.chosen, ids.rejected) for ids in prepare(tokenizer, rows, max_length).train]


@pytest.mark.parametrize("name", TEMPLATES)
def test_conversations_get_the_ids_that_trl_gives_them(name, tokenizer, monkeypatch):
    if TEMPLATES[name]:
        monkeypatch.setattr(tokenizer, "chat_template", TEMPLATES[name])
    several = {
        "prompt": turns("Hello", "Hi!", "And now?"),
        "chosen": turns("First,", "Yes?", "then.", role="assistant"),
        "rejected": turns("Never.", role="assistant"),
    }
    system = {"prompt": [{"role": "system", "content": "Be kind."}, *turns("Hm?")]}
    rows = [conversation(), conversation() | several, conversation() | system, conversation(chosen="a ", rejected=".")]
    assert by_us(tokenizer, rows) == by_trl(tokenizer, rows)


def test_columns_for_the_template_are_passed_on(tokenizer, monkeypatch):
    monkeypatch.setattr(tokenizer, "chat_template", TEMPLATES["tools"])
    rows = [conversation(tools=json.dumps([{"name": "f"}]), chat_template_kwargs={"mood": "kind"})]
    ids = by_us(tokenizer, rows)
    assert ids == by_trl(tokenizer, rows)
    assert "kind" in tokenizer.decode(ids[0][0])


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(words, answers, answers), min_size=1, max_size=8))
def test_plain_rows_get_the_ids_that_trl_gives_them(found):
    tokenizer = load_tokenizer("tiny")
    rows = [standard(*each) for each in found]
    assert by_us(tokenizer, rows) == by_trl(tokenizer, rows)


def test_every_response_ends_with_the_stop_token(tokenizer, monkeypatch):
    stop = tokenizer.eos_token_id
    plain = pair_ids(tokenizer, "a", "b", "c<|end|>")
    assert plain.chosen[-1] == plain.rejected[-1] == stop
    assert plain.rejected.count(stop) == 1
    turn = (Message("user", "a"),)
    assert encode(tokenizer, turn, "b")[1][-1] == stop
    monkeypatch.setattr(
        tokenizer, "chat_template", "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    )
    assert encode(tokenizer, turn, "b")[1][-1] == stop  # TRL would leave it without an end


def test_a_response_is_scored_on_the_ids_it_was_trained_on(tokenizer):
    for row in (conversation(), standard("Say it:", " yes", " no")):
        pair = from_row(row, where="here")
        ids = pair_ids(tokenizer, pair.prompt, pair.chosen, pair.rejected)
        assert encode(tokenizer, pair.prompt, pair.chosen) == (ids.prompt, ids.chosen)
        assert encode(tokenizer, pair.prompt, pair.rejected) == (ids.prompt, ids.rejected)
        assert prompt_ids(tokenizer, pair.prompt) == ids.prompt


def test_a_system_message_goes_before_the_prompt(tokenizer):
    user = Message("user", "Hi")
    alone = prompt_ids(tokenizer, with_system((user,), "Be kind."))
    assert alone == prompt_ids(tokenizer, (Message("system", "Be kind."), user))
    joined = prompt_ids(tokenizer, with_system((Message("system", "Be brief."), user), "Be kind."))
    assert joined == prompt_ids(tokenizer, (Message("system", "Be kind.\n\nBe brief."), user))
    assert prompt_ids(tokenizer, with_system("Hi", "Be kind.")) == prompt_ids(tokenizer, "Be kind.\n\nHi")
    assert prompt_ids(tokenizer, with_system((user,), "")) == prompt_ids(tokenizer, (user,))


def test_a_template_that_refuses_is_told_with_the_row(tokenizer, monkeypatch):
    monkeypatch.setattr(tokenizer, "chat_template", "{{ raise_exception('no system role here') }}")
    with pytest.raises(WorkbenchError, match=r"(?s)line 1 \(pair x\).*no system role here"):
        prepare(tokenizer, [conversation()], 100)


def test_the_length_limit_is_counted_as_trl_applies_it(tokenizer):
    long = "very " * 30
    rows = [
        conversation(),
        conversation(prompt=long),  # the prompt alone fills the limit
        conversation(chosen="Well, " + long),  # cut
        conversation(chosen=long + "yes", rejected=long + "no"),  # the same once cut
        conversation(chosen="Same.", rejected="Same."),
        conversation(prompt=long, split="holdout"),
        conversation(split="holdout"),
    ]
    limit = 24
    prepared = prepare(tokenizer, rows, limit)
    assert (len(prepared.train), len(prepared.holdout)) == (4, 1)
    assert (prepared.dropped, prepared.truncated, prepared.identical) == (2, 2, 2)

    columns = [{k: row[k] for k in ("prompt", "chosen", "rejected")} for row in rows]
    assert len(by_trl(tokenizer, columns, limit)) == 5
    collate = DataCollatorForPreference(pad_token_id=tokenizer.pad_token_id, max_length=limit)
    batch = collate(list(to_dataset([*prepared.train, *prepared.holdout])))
    whole = [len(p) + len(r) for p, c, r_ in by_trl(tokenizer, columns, limit) for r in (c, r_)]
    assert batch["attention_mask"].sum() == sum(min(length, limit) for length in whole)
    chosen, rejected = batch["input_ids"].chunk(2)
    assert int((chosen == rejected).all(dim=1).sum()) == prepared.identical


def test_each_pair_has_its_own_margin_as_trl_reads_it(tokenizer):
    sides = ["holdout", "train", "train", "holdout", "train"]
    rows = [conversation(split=side) for side in sides]
    rows = [each | {"id": str(n), "score_chosen": n, "score_rejected": 1} for n, each in enumerate(rows)]
    del rows[2]["score_chosen"]
    prepared = prepare(tokenizer, rows, 64, margin_weight=0.5)
    for pairs, margins, subjects in (
        (prepared.train, prepared.train_margins, prepared.train_subjects),
        (prepared.holdout, prepared.holdout_margins, prepared.holdout_subjects),
    ):
        expected = [0.0 if each.id == "2" else (int(each.id) - 1) / 2 for each in subjects]
        for alike in (pairs, list(pairs)):
            batch = list(to_dataset(alike, margins))
            assert DataCollatorForRewards(tokenizer.pad_token_id)(batch)["margin"].tolist() == expected
    assert prepare(tokenizer, rows, 64).train_margins is None


def test_nothing_left_to_train_on_is_refused(tokenizer):
    with pytest.raises(WorkbenchError, match="1 have a prompt of 16 tokens"):
        prepare(tokenizer, [conversation(prompt="very " * 40), conversation(split="holdout")], 16)
    with pytest.raises(WorkbenchError, match="no training pairs"):
        prepare(tokenizer, [], 16)
    with pytest.raises(WorkbenchError, match=r"line 1: field 'chosen'"):
        prepare(tokenizer, [{"id": "a", "prompt": "p", "rejected": "r"}], 16)


def test_the_embedded_model_needs_no_fallback():
    assert load_tokenizer("tiny").chat_template == (WEIGHTS / "chat_template.jinja").read_text()
