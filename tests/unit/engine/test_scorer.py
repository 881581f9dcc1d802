"""The scorer on the embedded model, against plain transformers where there are numbers."""

from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from pydantic import BaseModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

from workbench.compare.messages import (
    Cancel,
    Column,
    Distribution,
    Generate,
    Generated,
    Generation,
    NextToken,
    Refused,
    RequestCancelled,
    ScoreResponse,
    TextChunk,
    Turn,
)
from workbench.engine.model.inference import fitting_threads
from workbench.engine.model.token_ids import encode
from workbench.engine.scoring.generation import answers_to, generate_steps
from workbench.engine.scoring.scorer import Scorer
from workbench.engine.scoring.server import Incoming, Server
from workbench.errors import WorkbenchError
from workbench.pairs.pair import Message
from workbench.tiny import WEIGHTS

QUESTION = "How do I bypass the security system?"
PROMPT = [Turn(role="user", content=QUESTION)]
RESPONSE = "Sure. First wait until nobody is near the security system, then follow step A and step B. Größe 🙂!"
BASE = Column(name="base")
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two adapters that change the model's mind, made without any code of ours."""
    folders = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        model = get_peft_model(plain("none"), LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "lora_B" in name:
                    parameter.normal_(0, 0.05)
        folders.append(tmp_path_factory.mktemp("adapter"))
        model.save_pretrained(folders[-1])
    return folders


@pytest.fixture(scope="module")
def scorer() -> Iterator[Scorer]:
    loaded = Scorer("tiny", "nf4", device="cpu")
    with fitting_threads(loaded.adapters.model):
        yield loaded


def plain(quantization: str) -> Any:
    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32,
    )
    arguments = {"quantization_config": config} if quantization == "nf4" else {}
    model = AutoModelForCausalLM.from_pretrained(WEIGHTS, dtype=torch.float32, device_map="cpu", **arguments).eval()
    for module in model.modules():
        # Or bitsandbytes computes in bfloat16, whatever was asked, on the few CPUs that have instructions for it.
        module.support_avx512bf16_for_cpu = False
    return model


def plain_logprobs(model: Any, turns: list[dict[str, str]], response: str) -> torch.Tensor:
    """(response tokens, vocabulary), by chat template and log-softmax alone."""
    tokenizer = AutoTokenizer.from_pretrained(WEIGHTS)
    prompt = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=True)["input_ids"]
    whole = tokenizer.apply_chat_template([*turns, {"role": "assistant", "content": response}], return_dict=True)
    ids = torch.tensor([whole["input_ids"]])
    with torch.no_grad():
        logprobs = torch.log_softmax(model(ids).logits[0].float(), dim=-1)
    return logprobs[len(prompt) - 1 : -1].gather(-1, ids[0, len(prompt) :, None])[:, 0]


def columns_of(adapters: list[Path]) -> list[Column]:
    return [BASE, *(Column(name=f"run {place}", adapter=str(folder)) for place, folder in enumerate(adapters))]


def said(scorer: Scorer, **request: Any) -> tuple[list[TextChunk], list[Generation]]:
    replies = list(generate_steps(scorer, Generate(id=1, prompt=request.pop("prompt", PROMPT), **request)))
    assert isinstance(replies[-1], Generated)
    return [reply for reply in replies[:-1] if isinstance(reply, TextChunk)], replies[-1].columns


@pytest.mark.parametrize("quantization", ["nf4", "none"])
@pytest.mark.parametrize("system", [None, "You are a kind and courteous assistant."])
def test_scores_equal_plain_transformers(
    quantization: str, system: str | None, adapters: list[Path], scorer: Scorer
) -> None:
    ours = scorer if quantization == "nf4" else Scorer("tiny", "none", device="cpu")
    columns = [column.model_copy(update={"system": system}) for column in columns_of(adapters)]
    scored = ours.score(ScoreResponse(id=1, prompt=PROMPT, response=RESPONSE, columns=columns))
    turns = [{"role": "system", "content": system}] if system else []
    turns.append({"role": "user", "content": QUESTION})
    model = plain(quantization)
    tuned = [PeftModel.from_pretrained(plain(quantization), folder).eval() for folder in adapters]
    expected = [plain_logprobs(each, turns, RESPONSE) for each in (model, *tuned)]
    for column, theirs in zip(scored.columns, expected, strict=True):
        assert [token.logprob for token in column.tokens] == pytest.approx(theirs.tolist(), abs=TOLERANCE)
        assert column.sum == pytest.approx(theirs.double().sum().item(), abs=TOLERANCE)
        assert column.mean == pytest.approx(column.sum / len(column.tokens))
        assert column.probability == pytest.approx(theirs.double().sum().exp().item(), rel=1e-3)
    assert len({round(column.sum, 3) for column in scored.columns}) == 3, "the adapters change nothing"


def test_samples_know_their_log_probability_and_a_batch_gives_the_same(adapters: list[Path], scorer: Scorer) -> None:
    for column in columns_of(adapters)[:2]:
        asked: dict[str, Any] = {"columns": [column], "samples": 4, "temperature": 1.0, "seed": 3, "max_new_tokens": 40}
        _, alone = said(scorer, **asked, likelihood=True)
        assert all(sample.logprob is None for sample in said(scorer, **asked)[1])
        for sample in alone:
            if sample.ended:
                scored = scorer.score(ScoreResponse(id=1, prompt=PROMPT, response=sample.text, columns=[column]))
                assert sample.logprob == pytest.approx(scored.columns[0].sum, abs=TOLERANCE)
                assert sample.mean == pytest.approx(scored.columns[0].mean, abs=TOLERANCE)
                base = scorer.score(ScoreResponse(id=1, prompt=PROMPT, response=sample.text, columns=[BASE]))
                assert sample.under_base == pytest.approx(base.columns[0].sum, abs=TOLERANCE)
                assert sample.likelihood == pytest.approx(base.columns[0].mean, abs=TOLERANCE)
        assert column is not BASE or any(sample.ended for sample in alone)
        heard: list[int] = []
        questions = [([Turn(role="user", content="Hello? " * 9)], {}), (PROMPT, {})]
        request = Generate(id=1, prompt="", likelihood=True, **asked)
        _, batched = answers_to(scorer, request, questions, heard.append)
        assert [sample.text for sample in batched] == [sample.text for sample in alone]
        for one, other in zip(batched, alone, strict=True):
            assert one.logprob == pytest.approx(other.logprob, abs=1e-3)
            assert one.under_base == pytest.approx(other.under_base, abs=1e-3)
            left_out = {"logprob", "under_base"}
            assert one.model_dump(exclude=left_out) == other.model_dump(exclude=left_out)
        assert sum(heard) > sum(sample.tokens for sample in alone)


def test_plain_text_is_scored_as_it_is_and_ended(scorer: Scorer) -> None:
    scored = scorer.score(ScoreResponse(id=1, prompt="Once upon", response=" a time", columns=[BASE]))
    tokenizer = AutoTokenizer.from_pretrained(WEIGHTS)
    ids = torch.tensor([tokenizer("Once upon a time" + tokenizer.eos_token)["input_ids"]])
    start = len(tokenizer("Once upon")["input_ids"])
    with torch.no_grad():
        logprobs = torch.log_softmax(plain("nf4")(ids).logits[0].float(), -1)
    theirs = logprobs[start - 1 : -1].gather(-1, ids[0, start:, None])[:, 0]
    assert [token.logprob for token in scored.columns[0].tokens] == pytest.approx(theirs.tolist(), abs=TOLERANCE)
    assert scored.columns[0].tokens[-1].id == tokenizer.eos_token_id


def test_ranks_count_the_likelier_tokens_and_top_lists_them(scorer: Scorer) -> None:
    (column,) = scorer.score(ScoreResponse(id=1, prompt=PROMPT, response=RESPONSE, columns=[BASE], top_k=7)).columns
    for token in column.tokens:
        assert len(token.top) == 7
        values = [value for _, value in token.top]
        assert values == sorted(values, reverse=True)
        if token.rank <= 7:
            assert token.top[token.rank - 1] == (token.text, pytest.approx(token.logprob))
        else:
            assert token.logprob < values[-1]
    assert (
        scorer.score(ScoreResponse(id=1, prompt=PROMPT, response="Hi", columns=[BASE], top_k=0))
        .columns[0]
        .tokens[0]
        .top
        == []
    )


def test_tokens_joined_are_the_response(scorer: Scorer) -> None:
    (column,) = scorer.score(ScoreResponse(id=1, prompt=PROMPT, response="Sure. Go on!\n", columns=[BASE])).columns
    assert "".join(token.text for token in column.tokens[:-1]) == "Sure. Go on!\n"
    assert column.tokens[-1].text == scorer.tokenizer.eos_token


def test_pieces_of_a_character_are_spelled_out(scorer: Scorer) -> None:
    (column,) = scorer.score(ScoreResponse(id=1, prompt=PROMPT, response="🙂", columns=[BASE])).columns
    assert "".join(token.text for token in column.tokens[:-1]) == "⟨F0⟩⟨9F⟩⟨99⟩⟨82⟩"


def test_the_next_token_is_the_first_of_a_score(scorer: Scorer, adapters: list[Path]) -> None:
    columns = columns_of(adapters)
    asked = NextToken(id=4, prompt=PROMPT, prefix="Sure. First", columns=columns, top_k=5)
    distribution = scorer.next_token(asked)
    scored = scorer.score(ScoreResponse(id=1, prompt=PROMPT, response="Sure. First wait", columns=columns))
    (wait,) = [each for each in distribution.candidates if each.text == " wait"]
    assert wait.logprobs == pytest.approx([column.tokens[3].logprob for column in scored.columns], abs=TOLERANCE)
    best = [max(each.logprobs) for each in distribution.candidates]
    assert best == sorted(best, reverse=True)
    assert 5 <= len(distribution.candidates) <= 15
    assert all(entropy > 0 for entropy in distribution.entropy)


def test_a_system_message_lengthens_the_prompt_of_its_column_only(scorer: Scorer) -> None:
    columns = [BASE, Column(name="system", system="Be kind.")]
    distribution = scorer.next_token(NextToken(id=1, prompt=PROMPT, columns=columns))
    assert distribution.prompt_tokens[0] < distribution.prompt_tokens[1]
    assert distribution.candidates[0].logprobs[0] != distribution.candidates[0].logprobs[1]


def test_adapters_leave_the_base_as_it_was(scorer: Scorer, adapters: list[Path]) -> None:
    def base() -> float:
        return scorer.score(ScoreResponse(id=1, prompt=PROMPT, response=RESPONSE, columns=[BASE])).columns[0].sum

    before = base()
    for column in columns_of(adapters)[1:]:
        scorer.score(ScoreResponse(id=1, prompt=PROMPT, response=RESPONSE, columns=[column]))
        assert base() == before


def test_an_adapter_that_was_saved_again_is_read_again(scorer: Scorer, adapters: list[Path], tmp_path: Path) -> None:
    def first(folder: Path) -> float:
        column = Column(name="run", adapter=str(folder))
        return scorer.score(ScoreResponse(id=1, prompt=PROMPT, response=RESPONSE, columns=[column])).columns[0].sum

    for file in adapters[0].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    assert first(tmp_path) == first(adapters[0])
    (tmp_path / "adapter_model.safetensors").write_bytes((adapters[1] / "adapter_model.safetensors").read_bytes())
    assert first(tmp_path) == first(adapters[1])


def test_a_folder_without_an_adapter_is_refused_and_does_no_harm(
    scorer: Scorer, adapters: list[Path], tmp_path: Path
) -> None:
    before = scorer.score(ScoreResponse(id=1, prompt=PROMPT, response=RESPONSE, columns=[BASE]))
    bad = Column(name="run", adapter=str(tmp_path))
    with pytest.raises(WorkbenchError, match="No adapter there"):
        scorer.score(ScoreResponse(id=1, prompt=PROMPT, response=RESPONSE, columns=[bad]))
    for config, said in (
        ("{}", "peft_type is missing"),
        ("[", "settings cannot be read"),
        ((adapters[0] / "adapter_config.json").read_text(), "weights cannot be read"),
    ):
        (tmp_path / "adapter_config.json").write_text(config)
        (tmp_path / "adapter_model.safetensors").write_bytes(b"cut short")
        with pytest.raises(WorkbenchError, match=said):
            scorer.score(ScoreResponse(id=1, prompt=PROMPT, response=RESPONSE, columns=[bad]))
    assert scorer.score(ScoreResponse(id=1, prompt=PROMPT, response=RESPONSE, columns=[BASE])) == before


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_adapter_of_no_numbers_is_refused_and_does_no_harm(
    value: float, scorer: Scorer, adapters: list[Path], tmp_path: Path
) -> None:
    before = scorer.score(ScoreResponse(id=1, prompt=PROMPT, response=RESPONSE, columns=[BASE]))
    weights = load_file(adapters[0] / "adapter_model.safetensors")
    weights[sorted(weights)[3]].view(-1)[7] = value
    (tmp_path / "adapter_config.json").write_text((adapters[0] / "adapter_config.json").read_text())
    save_file(weights, tmp_path / "adapter_model.safetensors")
    with pytest.raises(WorkbenchError, match="NaN or infinite"):
        scorer.score(
            ScoreResponse(id=1, prompt=PROMPT, response=RESPONSE, columns=[Column(name="run", adapter=str(tmp_path))])
        )
    assert scorer.score(ScoreResponse(id=1, prompt=PROMPT, response=RESPONSE, columns=[BASE])) == before


def test_an_empty_conversation_is_refused(scorer: Scorer) -> None:
    with pytest.raises(WorkbenchError, match="empty"):
        scorer.next_token(NextToken(id=1, prompt=[], columns=[BASE]))


def test_greedy_generation_equals_that_of_transformers(scorer: Scorer, adapters: list[Path]) -> None:
    pieces, columns = said(scorer, columns=columns_of(adapters)[:2], max_new_tokens=20)
    tokenizer = AutoTokenizer.from_pretrained(WEIGHTS)
    ids = tokenizer.apply_chat_template(
        [{"role": "user", "content": QUESTION}], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    models = [plain("nf4"), PeftModel.from_pretrained(plain("nf4"), adapters[0]).eval()]
    for place, (column, model) in enumerate(zip(columns, models, strict=True)):
        theirs = model.generate(**ids, max_new_tokens=20, do_sample=False)[0, ids["input_ids"].shape[1] :]
        assert column.text == tokenizer.decode(theirs, skip_special_tokens=True)
        assert column.tokens == len(theirs)
        assert column.ended == (theirs[-1].item() == tokenizer.eos_token_id)
        assert "".join(piece.text for piece in pieces if piece.column == place) == column.text


def test_columns_speak_in_turn(scorer: Scorer) -> None:
    pieces, _ = said(scorer, columns=[BASE, Column(name="again")], max_new_tokens=5)
    assert [piece.column for piece in pieces[:6]] == [0, 1, 0, 1, 0, 1]


def test_a_seed_gives_the_same_words_and_another_gives_others(scorer: Scorer) -> None:
    def words(seed: int) -> str:
        return said(scorer, columns=[BASE], temperature=3.0, seed=seed, max_new_tokens=15)[1][0].text

    assert words(5) == words(5)
    assert len({words(seed) for seed in range(4)}) == 4


def test_a_generation_stops_at_the_limit_and_says_so(scorer: Scorer) -> None:
    _, (column,) = said(scorer, columns=[BASE], max_new_tokens=3)
    assert (column.tokens, column.ended) == (3, False)


def test_generations_and_scores_may_take_turns(scorer: Scorer, adapters: list[Path]) -> None:
    columns = columns_of(adapters)[:2]
    alone = said(scorer, columns=columns, max_new_tokens=12)[1]
    steps = generate_steps(scorer, Generate(id=1, prompt=PROMPT, columns=columns, max_new_tokens=12))
    replies = []
    for reply in steps:
        replies.append(reply)
        scorer.score(ScoreResponse(id=2, prompt=PROMPT, response="Hi", columns=columns[1:]))
    assert isinstance(replies[-1], Generated)
    assert replies[-1].columns == alone


def batch() -> list[tuple[tuple[Message, ...], str]]:
    questions = [QUESTION, "Hi", "Why was my account suspended? " * 4, "How do I turn on the security system?"]
    responses = ["Sure.", RESPONSE, "I'm sorry about that.", "No. " * 9]
    return [((Message("user", question),), response) for question, response in zip(questions, responses, strict=True)]


def test_scores_in_batches_equal_single_ones(
    scorer: Scorer, adapters: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.engine.model.inference.TOKEN_BUDGET", {"cpu": 150})
    rows = batch()
    for folder in (None, adapters[0]):
        column = Column(name="x", adapter=str(folder) if folder else None)
        for (prompt, response), many in zip(
            rows, scorer.score_ids([encode(scorer.tokenizer, *row) for row in rows], folder), strict=True
        ):
            turns = [Turn(role="user", content=prompt[0].content)]
            (one,) = scorer.score(ScoreResponse(id=1, prompt=turns, response=response, columns=[column])).columns
            assert many.tolist() == pytest.approx([token.logprob for token in one.tokens], abs=TOLERANCE)


def test_greedy_samples_in_batches_equal_single_ones(
    scorer: Scorer, adapters: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.engine.scoring.scorer._SAMPLED_TOKENS", 130)
    prompts = [prompt for prompt, _ in batch()]
    for folder in (None, adapters[0]):
        many = scorer.sample_many(prompts, folder, temperature=0.0, max_new_tokens=16)
        column = Column(name="x", adapter=str(folder) if folder else None)
        for prompt, sample in zip(prompts, many, strict=True):
            turns = [Turn(role="user", content=prompt[0].content)]
            (one,) = said(scorer, prompt=turns, columns=[column], max_new_tokens=16)[1]
            assert (one.text, one.tokens, one.ended) == (sample.text, len(sample.ids), not sample.cut)


def test_samples_follow_the_probabilities(scorer: Scorer) -> None:
    prompts = [(Message("user", QUESTION),)] * 400
    samples = scorer.sample_many(prompts, max_new_tokens=1, seed=3)
    texts = [sample.text for sample in samples]
    distribution = scorer.next_token(NextToken(id=1, prompt=PROMPT, columns=[BASE], top_k=1))
    (first,) = distribution.candidates
    share = sum(text == first.text for text in texts) / len(texts)
    expected = torch.tensor(first.logprobs[0]).exp().item()
    assert share == pytest.approx(expected, abs=4 * (expected * (1 - expected) / 400) ** 0.5)
    assert samples == scorer.sample_many(prompts, max_new_tokens=1, seed=3)


def test_no_samples_of_nothing(scorer: Scorer) -> None:
    assert scorer.sample_many([]) == []
    assert scorer.score_ids([]) == []


def test_text_of_a_stream_of_tokens_is_whole(scorer: Scorer) -> None:
    from workbench.engine.scoring.token_decoding import TextStream

    text = "Größe: 🙂🙂 und " * 20 + "Ende"
    ids = scorer.tokenizer(text=text)["input_ids"]
    stream = TextStream(scorer.tokenizer)
    pieces = [stream.add(token) for token in ids]
    assert "".join([*pieces, stream.end()]) == stream.text == text
    assert "\ufffd" not in "".join(pieces)
    add: Callable[[int], str] = stream.add
    (cut, *_) = scorer.tokenizer(text="🙂")["input_ids"]
    assert add(cut) == ""
    assert stream.end() != ""


def test_a_server_whose_only_question_was_given_up_waits_for_the_next(scorer: Scorer) -> None:
    inbox: SimpleQueue[Incoming | Refused | None] = SimpleQueue()
    outbox: SimpleQueue[BaseModel] = SimpleQueue()
    inbox.put(NextToken(id=1, prompt=PROMPT, columns=[BASE]))
    inbox.put(Cancel(id=1))
    serving = Thread(target=Server(scorer, inbox, outbox.put).run, daemon=True)
    serving.start()
    assert outbox.get(timeout=30) == RequestCancelled(id=1)
    serving.join(0.2)
    assert serving.is_alive()
    inbox.put(NextToken(id=2, prompt=PROMPT, columns=[BASE]))
    answer = outbox.get(timeout=30)
    assert isinstance(answer, Distribution)
    assert answer.id == 2
    inbox.put(Cancel(id=2))
    assert outbox.get(timeout=30) == RequestCancelled(id=2), (
        "who gives up too late hears nothing, as from one that hangs"
    )
    inbox.put(None)
    serving.join(30)
    assert not serving.is_alive()
