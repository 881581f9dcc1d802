"""Merged models against base and adapter by transformers and PEFT alone; the merged side in a process of its own."""

import json
import math
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from tests.unit.engine import training
from tests.unit.engine.plain_loading import logprobs
from tests.unit.engine.random_models import make
from workbench.engine.model.downloads import load_tokenizer
from workbench.engine.model.loading import attach_adapter, load_base
from workbench.engine.shipping.merge_adapter import merge
from workbench.errors import WorkbenchError
from workbench.runs import machine
from workbench.runs.events import Started
from workbench.runs.folder import RunFolder
from workbench.runs.machine import Memory
from workbench.runs.merge_bounds import Bounds, read_bounds
from workbench.runs.merging import Answer, Answers, Merged, differences, drift
from workbench.runs.writer import EventWriter
from workbench.tiny.matchers import classify

HOLDOUT = [row for row in training.ROWS if row["split"] == "holdout"]
ASKED = [[row["prompt"], row[side][0]["content"]] for row in HOLDOUT for side in ("chosen", "rejected")]
VARIANTS = {
    "tiny": {},
    "llama": {},
    "llama, tied": {"tied": True},
    "qwen3, DoRA": {"use_dora": True},
    "gpt2": {},
    "gpt2, rsLoRA": {"use_rslora": True},
}
"""Of families of random models; tiny is the embedded model."""


def model_for(path, family, *, tied=False, **lora):
    """A random model with an adapter beside it; the embedded model's name, with the adapter."""
    if family == "tiny":
        base = load_base("tiny", "none", device="cpu")
    else:
        make(path, family)
        config = AutoConfig.from_pretrained(path)
        config.tie_word_embeddings = tied
        torch.manual_seed(3)
        base = AutoModelForCausalLM.from_config(config)
        base.save_pretrained(path)
        shutil.rmtree(path / "adapter")
    torch.manual_seed(5)
    tuned = get_peft_model(base, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM", **lora))
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.1)
    tuned.save_pretrained(path / "adapter")
    return "tiny" if family == "tiny" else str(path)


def run_for(path, model, adapter, **values):
    """A run on `model` that has this adapter, as if it had been trained."""
    folder = training.make(path, model=model, **{"quantization": "none", **values})
    shutil.copytree(adapter, folder.adapter)
    return folder


def adapted(folder: RunFolder, quantization="none"):
    """Base and adapter, live."""
    config = folder.record().config
    return attach_adapter(load_base(config.model, quantization, device="cpu"), folder.adapter, "run")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """For every variant its run, the folder that it was merged into, and what was told."""
    found = {}
    for name, options in VARIANTS.items():
        path = tmp_path_factory.mktemp("variant")
        model = model_for(path / "base", name.partition(",")[0], **options)
        folder = run_for(path / "runs", model, path / "base" / "adapter")
        found[name] = folder, path / "merged", merge(folder, path / "merged", dtype="fp32")
    return found


@pytest.fixture(scope="module")
def loaded(made):
    """What a fresh process makes of the merged folders with transformers alone."""
    return in_a_fresh_process({str(to): ASKED for _, to, _ in made.values()})


def in_a_fresh_process(asked):
    command = [sys.executable, "-m", "tests.unit.engine.plain_loading"]
    root = Path(__file__).parents[3]
    done = subprocess.run(
        command, input=json.dumps(asked), cwd=root, capture_output=True, text=True, check=False, timeout=200
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", VARIANTS)
def test_the_merged_folder_has_the_adapters_probabilities(made, loaded, name):
    folder, to, merged = made[name]
    config = folder.record().config
    tokenizer, base = load_tokenizer(config.model), load_base(config.model, "none", device="cpu")
    before = [logprobs(base, tokenizer, turns, response) for turns, response in ASKED]
    model = PeftModel.from_pretrained(base, folder.adapter).eval()
    live = [logprobs(model, tokenizer, turns, response) for turns, response in ASKED]
    for one, other in zip(loaded[str(to)], live, strict=True):
        assert one == pytest.approx(other, abs=1e-4)
    assert max(abs(sum(one) - sum(other)) for one, other in zip(before, live, strict=True)) > 0.1
    assert merged.drift.pairs == len(HOLDOUT)
    assert max(merged.drift.chosen.largest, merged.drift.rejected.largest) < 1e-3


def test_tied_weights_are_written_once_and_stay_tied(made):
    _, to, merged = made["llama, tied"]
    untied = made["llama"][2]
    assert AutoConfig.from_pretrained(to).tie_word_embeddings
    assert merged.parameters < untied.parameters
    assert merged.bytes < untied.bytes


def test_a_template_is_written_where_the_tokenizer_has_none(made):
    folder, to, _ = made["gpt2"]
    assert AutoTokenizer.from_pretrained(folder.record().config.model).chat_template is None
    tokenizer = AutoTokenizer.from_pretrained(to)
    assert tokenizer.chat_template == load_tokenizer(folder.record().config.model).chat_template
    ended = json.loads((to / "generation_config.json").read_text())["eos_token_id"]
    assert ended == tokenizer.eos_token_id


def test_the_card_tells_the_drift(made):
    _, to, merged = made["llama"]
    card = (to / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: transformers\n")
    assert f"{merged.parameters:,} parameters" in card
    assert all(line in card for line in (*merged.drift.table(), merged.drift.line()))
    assert str(to.parent) not in card


def test_the_drift_told_is_that_of_the_files_against_the_4_bit_adapter(tmp_path, made):
    adapter = made["tiny"][0].adapter
    folder = run_for(tmp_path / "runs", "tiny", adapter, quantization="nf4")
    merged = merge(folder, tmp_path / "merged")
    tokenizer, model = load_tokenizer("tiny"), adapted(folder, "nf4")
    live = [logprobs(model, tokenizer, turns, response) for turns, response in ASKED]
    files = in_a_fresh_process({merged.path: ASKED})[merged.path]
    moved = [sum(after) - sum(before) for before, after in zip(live, files, strict=True)]
    for side, own in ((merged.drift.chosen, moved[::2]), (merged.drift.rejected, moved[1::2])):
        assert side.count == len(own) == 3
        # bfloat16 rounds otherwise in a batch than alone.
        assert side.mean == pytest.approx(math.fsum(own) / len(own), abs=0.15)
        assert side.largest == pytest.approx(max(map(abs, own)), abs=0.3)
    assert merged.drift.chosen.largest > 0.01
    assert AutoModelForCausalLM.from_pretrained(merged.path).dtype == torch.bfloat16


def test_without_held_out_pairs_nothing_is_said_of_drift(tmp_path, made):
    rows = [row for row in training.ROWS if row["split"] == "train"]
    folder = training.make(tmp_path, rows=rows, model="tiny", quantization="none")
    shutil.copytree(made["tiny"][0].adapter, folder.adapter)
    assert merge(folder, tmp_path / "merged").drift is None
    assert "was not measured" in (tmp_path / "merged" / "README.md").read_text()


def refused(folder, to, match, **options):
    said = []
    with pytest.raises(WorkbenchError) as error:
        merge(folder, to, progress=lambda what, _: said.append(what), **options)
    assert match in str(error.value)
    return said


def test_what_cannot_be_merged_is_refused_before_anything_is_loaded(tmp_path, made, monkeypatch):
    folder, merged, _ = made["llama"]
    full = tmp_path / "full"
    full.mkdir()
    (full / "thesis.tex").write_text("years of work")
    assert not refused(folder, full, "is not empty")
    assert not refused(folder, full, "they are no model", force=True)
    assert not refused(folder, merged, "replace the model there with --force")
    assert not refused(folder, full / "thesis.tex", "There is a file")
    assert (full / "thesis.tex").read_text() == "years of work"
    bare = training.make(tmp_path / "bare")
    assert not refused(bare, tmp_path / "x", "has saved no adapter")
    monkeypatch.setattr(machine, "disk_free", lambda _: 1000)
    assert not refused(folder, tmp_path / "x", "Not enough disk")
    monkeypatch.undo()
    monkeypatch.setattr(machine, "memory", lambda: Memory(10**6, 1000))
    assert not refused(folder, tmp_path / "x", "Not enough memory")
    # The base was trained unquantized: it takes four bytes a weight on the CPU, the merged one two.
    monkeypatch.setattr(machine, "memory", lambda: Memory(10**6, 3 * made["llama"][2].parameters))
    assert not refused(folder, tmp_path / "x", "Not enough memory")
    assert not (tmp_path / "x").exists()


def test_an_adapter_of_another_model_is_refused_and_leaves_nothing(tmp_path, made):
    folder = run_for(tmp_path / "runs", "tiny", made["llama"][0].adapter)
    refused(folder, tmp_path / "merged", "does not fit the model")
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_another_base_than_was_trained_on_is_refused(tmp_path, made):
    folder = run_for(tmp_path / "runs", *(lambda run: (run.record().config.model, run.adapter))(made["llama"][0]))
    with EventWriter(folder.events) as events:
        events.write(_started("sha256:" + "0" * 64))
    assert not refused(folder, tmp_path / "merged", "is not the one that the run was trained on")


def _started(revision):
    counts = dict.fromkeys(
        ("total_steps", "train_pairs", "holdout_pairs", "dropped", "truncated", "identical", "trainable_parameters"), 1
    )
    return Started(time=0.0, total_parameters=1000, reference="", device="CPU", model_revision=revision, **counts)


def test_an_interrupt_leaves_nothing_half_written(tmp_path, made):
    def interrupt(what, _):
        if what == "loading the merged files":
            assert any(path.name.startswith(".merged.") for path in tmp_path.iterdir())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        merge(made["llama"][0], tmp_path / "merged", progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_is_there_is_replaced_with_force(tmp_path, made):
    folder = made["llama"][0]
    merge(folder, tmp_path / "merged", dtype="fp32")
    (tmp_path / ".merged.999999999.tmp").mkdir()  # a merge that was killed left it
    again = merge(folder, tmp_path / "merged", dtype="bf16", force=True)
    assert AutoModelForCausalLM.from_pretrained(again.path).dtype == torch.bfloat16
    assert [path.name for path in tmp_path.iterdir()] == ["merged"]


def test_weights_too_large_for_fp16_are_refused(tmp_path):
    model_for(tmp_path / "base", "llama")
    base = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    with torch.no_grad():
        base.model.norm.weight.fill_(1e6)
    base.save_pretrained(tmp_path / "base")
    folder = run_for(tmp_path / "runs", str(tmp_path / "base"), tmp_path / "base" / "adapter")
    refused(folder, tmp_path / "merged", "do not fit into fp16", dtype="fp16")


def test_an_adapter_on_tied_embeddings_is_refused(tmp_path):
    model = model_for(tmp_path / "base", "llama", tied=True)
    base = load_base(model, "none", device="cpu")
    get_peft_model(base, LoraConfig(r=2, target_modules=["embed_tokens"], task_type="CAUSAL_LM")).save_pretrained(
        tmp_path / "embedding", save_embedding_layers=False
    )
    folder = run_for(tmp_path / "runs", model, tmp_path / "embedding")
    refused(folder, tmp_path / "merged", "the output layer shares")


def test_a_weight_is_rounded_once(tmp_path, made):
    """Half of a bfloat16's last digit at most, whatever the adapter adds."""
    folder = made["llama"][0]
    exact = made["llama"][1]
    merge(folder, tmp_path / "merged", dtype="bf16")
    fine = AutoModelForCausalLM.from_pretrained(exact, dtype=torch.float32).state_dict()
    rough = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype=torch.bfloat16).state_dict()
    for name, weight in rough.items():
        if "q_proj" in name:
            base = load_base(folder.record().config.model, "none", device="cpu").state_dict()[name]
            step = base.bfloat16().float() - base  # the base is rounded as it is loaded
            torch.testing.assert_close(weight, (fine[name] + step).bfloat16(), rtol=0, atol=0)


def test_drift_counts_what_moved():
    found = drift([[-1.0, -1.0], [-1.5], [-2.0], [-1.0]], [[-1.5, -1.0], [-1.0], [-2.0], [-1.0]])
    assert (found.pairs, found.turned) == (2, 0)
    assert (found.chosen.mean, found.chosen.mean_absolute, found.chosen.largest) == (-0.25, 0.25, 0.5)
    assert (found.chosen.token, found.chosen.largest_token) == (pytest.approx(0.5 / 3), 0.5)
    assert found.chosen.mean_token == pytest.approx(-0.5 / 3)
    assert found.rejected.mean == 0.25
    answers = Answers(2, [Answer("p", "b", "r", "m")])
    merged = Merged("m", "safetensors", "bf16", 1, 2, 0.5, found, answers, ["other"], "")
    assert asdict(Merged.from_json(asdict(merged))) == asdict(merged)
    assert drift([[-1.0], [-2.0]], [[-2.0], [-1.0]]).turned == 1
    assert replace(found, turned=2).line() == "2 of 2 held-out pairs changed sides"


def test_what_is_past_the_bounds_is_told_in_plain_words():
    same = [[-1.0, -1.0], [-3.0]] * 20
    assert differences(drift(same, same), None, Bounds(turned=0, moved=0)) == []
    # A pair of twenty changes sides, and nothing else moves by much.
    one = [*same[:-2], [-1.0, -2.1], [-3.0]]
    assert differences(drift(same, one), None, Bounds()) == []
    (told,) = differences(drift(same, one), None, Bounds(turned=0.04))
    assert told.startswith("1 of 20 held-out pairs changed sides")
    lost = [[token - 0.2 for token in response] for response in same]
    assert differences(drift(same, lost), None, Bounds(moved=0.21)) == []
    assert differences(drift(same, lost), None, Bounds()) == [
        "Chosen answers are less likely once merged: \u22120.4 nats an answer, \u22120.20 a token (bound: 0.1).",
        "Rejected answers are less likely once merged: \u22120.2 nats an answer, \u22120.20 a token (bound: 0.1).",
    ]


def test_answers_that_behave_otherwise_are_told():
    still = drift([[-1.0], [-3.0]], [[-1.0], [-3.0]])
    words = Answer("p", "b", "I can't.", "I can not.", ("refusing",), ("refusing",))
    refused = Answer("p", "b", "Sure.", "I can't.", (), ("refusing",))
    silent = Answer("p", "b", "I can't.", "", ("refusing",), ("empty",))
    assert differences(still, Answers(8, [words] * 8), Bounds()) == []
    assert differences(still, Answers(8, [words, refused]), Bounds(behaviours=0.2)) == []
    assert differences(still, Answers(8, [words, refused]), Bounds()) == [
        "1 of 8 greedy answers behave otherwise once merged: the first is refusing, the run's is plain."
    ]
    assert "2 of 8" in differences(still, Answers(8, [silent, refused]), Bounds())[0]
    assert "the first is empty, the run's is refusing" in differences(still, Answers(8, [silent]), Bounds())[0]


def greedy(model, tokenizer, row, tokens):
    """What `generate` of transformers answers."""
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    turns = row["prompt"]
    ids = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    said = model.generate(**ids, max_new_tokens=tokens, do_sample=False, pad_token_id=tokenizer.eos_token_id)
    return tokenizer.decode(said[0, ids["input_ids"].shape[1] :], skip_special_tokens=True)


def test_answers_that_are_others_once_merged_are_those_of_transformers(tmp_path, made):
    """A strong adapter on 4-bit weights, merged into 16 bits; the workspace's own behaviours are told as well."""
    (tmp_path / "workbench.toml").write_text("[behaviour.worded]\nregexes = ['[a-z]']\n", "utf-8")
    adapter = made["tiny"][0].adapter
    folder = run_for(tmp_path / "runs", "tiny", adapter, quantization="nf4")
    told = merge(folder, tmp_path / "merged", bounds=Bounds(answers=3, answer_tokens=12, turned=0, moved=0.0))
    tokenizer, live = load_tokenizer("tiny"), adapted(folder, "nf4")
    files = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    expected = []
    for row in HOLDOUT:
        said = [greedy(live, tokenizer, row, 12)]
        with live.disable_adapter():
            said.insert(0, greedy(live, tokenizer, row, 12))
        expected.append((row["prompt"][-1]["content"], *said, greedy(files, tokenizer, row, 12)))
    assert told.answers.asked == len(HOLDOUT)
    assert [(each.prompt, each.base, each.run, each.merged) for each in told.answers.other] == [
        each for each in expected if each[2] != each[3]
    ]
    assert told.answers.other
    for each in told.answers.other:
        for text, shows in ((each.run, each.run_shows), (each.merged, each.merged_shows)):
            family = classify(text)
            assert set(shows) == ({family} if family else set()) | ({"worded"} if text.strip() else {"empty"})
    assert all(each.base != each.run for each in told.answers.other)
    assert any(difference.startswith("Chosen answers are") for difference in told.differences)
    card = (tmp_path / "merged" / "README.md").read_text("utf-8")
    assert all(f"**Other than the run that was measured:** {difference}" in card for difference in told.differences)
    assert told.answers.line() in card


def test_no_prompt_is_answered_where_none_is_asked_for(tmp_path, made):
    said = []
    told = merge(made["llama"][0], tmp_path / "m", bounds=Bounds(answers=0), progress=lambda what, _: said.append(what))
    assert told.answers is None
    assert told.drift.pairs == 3
    assert not any("answering" in what for what in said)


def test_bounds_are_read_from_the_workspace(tmp_path):
    path = tmp_path / "workbench.toml"
    assert read_bounds(path) == Bounds()
    path.write_text("[evidence]\nseed = 1\n[merge]\nmoved = 0.5\nanswers = 0\n", "utf-8")
    assert read_bounds(path) == Bounds(moved=0.5, answers=0)
    for text, said in (
        ("[merge]\nmove = 1\n", "No setting named 'move'"),
        ("[merge]\nturned = 2\n", "turned: 2 is above 1"),
        ("merge = 1\n", "Not settings"),
        ("[merge\n", "cannot be read"),
    ):
        path.write_text(text, "utf-8")
        with pytest.raises(WorkbenchError, match=said):
            read_bounds(path)
