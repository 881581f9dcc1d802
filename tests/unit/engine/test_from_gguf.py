"""GGUF files made into folders: the same numbers, the same tokens, and what cannot be read."""

import builtins
import json
import shutil

import gguf
import pytest
import torch
from hypothesis import assume, example, given, settings
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig

from tests.unit.engine.random_models import make
from tests.unit.engine.test_to_gguf import LLAMA_CPP, WILD, trained
from workbench.engine.model.downloads import load_tokenizer
from workbench.engine.model.loading import load_base
from workbench.engine.shipping.from_gguf import import_gguf
from workbench.engine.shipping.pre_tokenizers import ggml_name
from workbench.engine.shipping.to_gguf import convert
from workbench.errors import WorkbenchError
from workbench.runs import machine

TEXT = "How do I turn on the alarm? Sure. First wait until nobody is near."


def exported(path, tied=False):
    """A random Llama in a folder, and as a GGUF file beside it."""
    make(path / "base", "llama")
    shutil.rmtree(path / "base" / "adapter")
    if tied:
        config = LlamaConfig.from_pretrained(path / "base")
        config.tie_word_embeddings = True
        torch.manual_seed(3)
        AutoModelForCausalLM.from_config(config).save_pretrained(path / "base")
    convert(path / "base", path / "model.gguf", "fp32", name="random", progress=lambda *_: None)
    return path / "model.gguf"


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return exported(tmp_path_factory.mktemp("gguf"))


def logits(model, ids):
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0]


@pytest.mark.parametrize("tied", [False, True])
def test_the_folder_gives_the_numbers_of_the_file(tmp_path, tied):
    file = exported(tmp_path, tied)
    told = []
    imported = import_gguf(file, tmp_path / "model", progress=lambda what, _: told.append(what))
    ids = AutoTokenizer.from_pretrained(tmp_path / "base")(TEXT)["input_ids"]
    folder = load_base(str(tmp_path / "model"), "none", device="cpu")
    from_file = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="model.gguf", dtype=torch.float32)
    original = load_base(str(tmp_path / "base"), "none", device="cpu")
    torch.testing.assert_close(logits(folder, ids), logits(from_file, ids), rtol=0, atol=0)
    torch.testing.assert_close(logits(folder, ids), logits(original, ids), rtol=1e-5, atol=1e-5)
    assert imported.parameters == folder.num_parameters() == original.num_parameters()
    assert (imported.architecture, imported.quantized, imported.chat_template) == ("llama", "F32", True)
    assert imported.bytes == sum(path.stat().st_size for path in (tmp_path / "model").iterdir())
    assert told[0] == "reading the header"
    assert "writing" in told[-1]


def test_prompts_become_the_same_tokens_and_answers_end_alike(tmp_path, file):
    import_gguf(file, tmp_path / "model")
    ours, theirs = load_tokenizer(str(tmp_path / "model")), load_tokenizer(str(file.parent / "base"))
    turns = [{"role": "user", "content": TEXT}]
    made = [each.apply_chat_template(turns, add_generation_prompt=True)["input_ids"] for each in (ours, theirs)]
    assert made[0] == made[1]
    assert ours.eos_token == theirs.eos_token
    assert load_base(str(tmp_path / "model"), "none", device="cpu").generation_config.eos_token_id == ours.eos_token_id


@pytest.mark.parametrize("name", ["smollm", *(pytest.param(each, marks=pytest.mark.slow) for each in LLAMA_CPP)])
def test_texts_are_parted_as_the_file_says(tmp_path, name):
    (tmp_path / "own").mkdir()
    backend = trained(tmp_path / "own", name)
    import_gguf(tmp_path / "own" / "model.gguf", tmp_path / "model")
    ours = load_tokenizer(str(tmp_path / "model"))
    assert ggml_name(json.loads((tmp_path / "model" / "tokenizer.json").read_text())) == name

    @settings(deadline=None, max_examples=150)
    @given(WILD)
    @example("Items:\n\n1. two  2\n\n 3")
    def alike(text):
        assume("<|end|>" not in text)
        assert ours(text, add_special_tokens=False)["input_ids"] == backend.encode(text).ids

    alike()


def test_a_tokenizer_that_nobody_knows_is_refused(tmp_path):
    (tmp_path / "own").mkdir()
    trained(tmp_path / "own", "smollm")
    data = (tmp_path / "own" / "model.gguf").read_bytes()
    (tmp_path / "new.gguf").write_bytes(data.replace(b"smollm", b"smolly"))
    with pytest.raises(WorkbenchError, match="not known here") as error:
        import_gguf(tmp_path / "new.gguf", tmp_path / "to")
    assert "'smolly'" in error.value.message
    assert not (tmp_path / "to").exists()
    (tmp_path / "other.gguf").write_bytes(data.replace(b"smollm", b"refact"))
    import_gguf(tmp_path / "other.gguf", tmp_path / "to")
    assert ggml_name(json.loads((tmp_path / "to" / "tokenizer.json").read_text())) == "smollm"


def test_half_the_width_takes_half_the_disk(tmp_path, file):
    import_gguf(file, tmp_path / "model", dtype="bf16")
    assert load_base(str(tmp_path / "model"), "none", device="cpu", dtype=None).config.dtype is not None
    sizes = [(path / "model.safetensors").stat().st_size for path in (tmp_path / "model", file.parent / "base")]
    assert 0.45 < sizes[0] / sizes[1] < 0.6


def test_a_model_there_is_replaced_only_when_that_is_asked_for(tmp_path, file):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "notes.txt").write_text("mine")
    for force in (False, True):
        with pytest.raises(WorkbenchError, match="not empty"):
            import_gguf(file, tmp_path / "model", force=force)
    assert (tmp_path / "model" / "notes.txt").read_text() == "mine"
    import_gguf(file, tmp_path / "other")
    with pytest.raises(WorkbenchError, match="--force"):
        import_gguf(file, tmp_path / "other")
    import_gguf(file, tmp_path / "other", force=True)


def renamed(file, to):
    """The same file, of an architecture that nobody knows."""
    to.write_bytes(file.read_bytes().replace(b"llama.", b"lorem.").replace(b"llama", b"lorem", 1))
    return to


def cut(file, to, share):
    data = file.read_bytes()
    to.write_bytes(data[: int(len(data) * share)])
    return to


def test_what_cannot_be_read_says_why_and_leaves_nothing(tmp_path, file):
    (tmp_path / "text.gguf").write_text("no model")
    (tmp_path / "empty.gguf").write_bytes(b"")
    (tmp_path / "header.gguf").write_bytes(b"GGUF")
    cases = {
        tmp_path / "missing.gguf": "No such file",
        tmp_path: "No such file",
        tmp_path / "text.gguf": "Not a GGUF file",
        tmp_path / "empty.gguf": "Not a GGUF file",
        tmp_path / "header.gguf": "damaged or incomplete",
        cut(file, tmp_path / "third.gguf", 0.3): "damaged or incomplete",
        cut(file, tmp_path / "most.gguf", 0.99): "damaged or incomplete",
        renamed(file, tmp_path / "other.gguf"): "does not read this model",
    }
    before = set(tmp_path.iterdir())
    for path, title in cases.items():
        with pytest.raises(WorkbenchError, match=title) as caught:
            import_gguf(path, tmp_path / "to")
        assert caught.value.hint, path
        assert set(tmp_path.iterdir()) == before, path


def test_too_little_disk_is_told_before_anything_is_read(tmp_path, file, monkeypatch):
    monkeypatch.setattr(machine, "disk_free", lambda _: 10_000)
    with pytest.raises(WorkbenchError, match="Not enough disk"):
        import_gguf(file, tmp_path / "to")
    assert not list(tmp_path.iterdir())


def test_an_interrupt_leaves_nothing(tmp_path, file):
    def interrupt(what, _):
        if what.startswith("writing"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_gguf(file, tmp_path / "to", progress=interrupt)
    assert not list(tmp_path.iterdir())


def test_without_the_package_the_line_that_installs_it_is_told(tmp_path, file, monkeypatch):
    real = builtins.__import__

    def refuse(name, *rest, **options):
        if name == "gguf":
            raise ImportError("No module named 'gguf'")
        return real(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(WorkbenchError) as caught:
        import_gguf(file, tmp_path / "to")
    assert "alignment-workbench[gguf]" in caught.value.hint


def test_a_file_has_no_tokenizer(tmp_path):
    writer = gguf.GGUFWriter(tmp_path / "bare.gguf", "llama")
    writer.add_block_count(1)
    writer.add_tensor("token_embd.weight", torch.zeros(4, 4).numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(WorkbenchError, match="tokenizer") as caught:
        import_gguf(tmp_path / "bare.gguf", tmp_path / "to")
    assert "safetensors" in caught.value.hint
