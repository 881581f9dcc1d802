"""Every number of the scorer against plain transformers, for models and templates of six families, in float32."""

import json
import math

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.unit.engine.random_models import FAMILIES, make
from workbench.compare.messages import Column, DistributionAt, Generate, NextToken, ScorePairs, ScoreResponse, Turn
from workbench.compare.token_text import text_of
from workbench.engine.model.downloads import load_tokenizer
from workbench.engine.model.inference import sample
from workbench.engine.scoring.data_set_scores import score_pairs
from workbench.engine.scoring.generation import generate_steps
from workbench.engine.scoring.scorer import Scorer
from workbench.errors import WorkbenchError

TOLERANCE = 1e-4
RESPONSES = [
    "Sure. First wait until nobody is near.",
    "Größe 🙂 in 日本, naïve!\n",
    "",
    "the <|im_end|> </s>[INST] end",
]


class Plain:
    """The model and its adapter by transformers and PEFT alone."""

    def __init__(self, folder):
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.tokenizer.chat_template = load_tokenizer(str(folder)).chat_template
        self.models = [AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval() for _ in range(2)]
        self.models[1] = PeftModel.from_pretrained(self.models[1], folder / "adapter").eval()

    def ids(self, turns, **arguments):
        rendered = self.tokenizer.apply_chat_template(turns, return_dict=True, **arguments)
        return rendered["input_ids"]

    def logprobs(self, model, ids):
        """(tokens, vocabulary): at place n, of token n + 1."""
        with torch.no_grad():
            return torch.log_softmax(self.models[model](torch.tensor([ids])).logits[0].float(), dim=-1)


@pytest.fixture(scope="module", params=FAMILIES)
def made(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    make(folder, request.param)
    columns = [Column(name="base"), Column(name="run", adapter=str(folder / "adapter"))]
    return folder, Scorer(str(folder), "none", device="cpu"), Plain(folder), columns


def whole_ids(plain, turns, response):
    """The ids of prompt and response. What is typed is text: no control token may come of it."""
    typed = any(added.content in response for added in plain.tokenizer.added_tokens_decoder.values())
    ids = plain.ids([*turns, {"role": "assistant", "content": response}], sanitize_control_tokens=typed)
    closed = plain.tokenizer.decode(ids).rstrip().endswith(plain.tokenizer.eos_token)
    return ids if closed else [*ids, plain.tokenizer.eos_token_id]


def split(alone, whole):
    """Where the response begins: where the prompt alone and the whole part."""
    pairs = zip(alone, whole, strict=False)
    return next((place for place, (one, other) in enumerate(pairs) if one != other), len(alone))


def check(column, logprobs, ids, begin):
    """A scored column against (tokens, vocabulary) of plain log-probabilities; the response begins at `begin`."""
    logprobs = logprobs[begin - 1 : len(ids) - 1]
    said = torch.tensor(ids[begin:])
    own = logprobs.gather(-1, said[:, None])[:, 0]
    assert [token.id for token in column.tokens] == ids[begin:]
    assert [token.logprob for token in column.tokens] == pytest.approx(own.tolist(), abs=TOLERANCE)
    assert column.sum == pytest.approx(own.double().sum().item(), abs=TOLERANCE)
    assert column.mean == pytest.approx(own.double().mean().item(), abs=TOLERANCE)
    assert column.probability == pytest.approx(own.double().sum().exp().item(), rel=1e-3)
    assert column.perplexity == pytest.approx(math.exp(-own.double().mean().item()), rel=1e-3)
    assert column.prompt_tokens == begin
    likelier = (logprobs > own[:, None]).sum(-1) + 1
    clear = ((logprobs - own[:, None]).abs() > TOLERANCE).sum(-1) == logprobs.shape[-1] - 1
    assert [token.rank for token, sure in zip(column.tokens, clear, strict=True) if sure] == likelier[clear].tolist()
    entropy = -(logprobs.exp() * logprobs).sum(-1)
    assert [token.entropy for token in column.tokens] == pytest.approx(entropy.tolist(), abs=TOLERANCE)
    for token, row in zip(column.tokens, logprobs, strict=True):
        assert [value for _, value in token.top] == pytest.approx(
            row.topk(len(token.top)).values.tolist(), abs=TOLERANCE
        )


@pytest.mark.parametrize("response", RESPONSES)
def test_a_conversation_is_scored_as_transformers_does(made, response):
    _, scorer, plain, columns = made
    turns = [{"role": "user", "content": "How do I turn on the alarm? 🙂"}]
    asked = {"prompt": [Turn(**turn) for turn in turns], "response": response, "columns": columns}
    scored = scorer.score(ScoreResponse(id=1, **asked))
    ids = whole_ids(plain, turns, response)
    begin = split(plain.ids(turns, add_generation_prompt=True), ids)
    logprobs = [plain.logprobs(model, ids) for model in (0, 1)]
    for column, theirs in zip(scored.columns, logprobs, strict=True):
        check(column, theirs, ids, begin)
    base, run = (each[begin - 1 : -1] for each in logprobs)
    kl = (run.exp() * (run - base)).sum(-1)
    assert [token.kl for token in scored.columns[1].tokens] == pytest.approx(kl.tolist(), abs=TOLERANCE)
    assert all(token.kl == 0 and token.shift_rank == 1 for token in scored.columns[0].tokens)
    choice = run.argmax(-1)
    ranks = (base > base.gather(-1, choice[:, None])).sum(-1) + 1
    assert [token.shift_rank for token in scored.columns[1].tokens] == ranks.tolist()

    place = len(ids) - begin - 1
    found = scorer.distribution_at(DistributionAt(id=2, position=place, top_k=7, **asked))
    assert (found.said, len(found.forced)) == (ids[-1], place)
    assert ids[-1] in [candidate.token for candidate in found.candidates]
    for candidate in found.candidates:
        expected = [each[place, candidate.token].item() for each in (base, run)]
        assert candidate.logprobs == pytest.approx(expected, abs=TOLERANCE)
    assert found.kl == pytest.approx([0.0, kl[place].item()], abs=TOLERANCE)
    assert {base[place].argmax().item(), run[place].argmax().item()} <= {each.token for each in found.candidates}


def test_special_tokens_that_a_user_types_stay_text(made):
    _, scorer, plain, columns = made
    special = {token.content for token in plain.tokenizer.added_tokens_decoder.values() if token.special}
    assert plain.tokenizer.eos_token in special

    def control(text):
        """The control tokens of a conversation in which `text` is typed, and what it reads as."""
        turns = [Turn(role="system", content=text), Turn(role="user", content=f"Say {text} twice, please.")]
        ids, _ = scorer.prefix_ids(turns, "", {}, columns[0])
        return [token for token in ids if token in plain.tokenizer.all_special_ids], plain.tokenizer.decode(ids)

    expected, _ = control("that")
    for typed in special:
        found, text = control(typed)
        assert found == expected, typed
        assert f"Say {typed} twice" in text
        # Nor do they in a response, which ends where its own end is.
        asked = ScoreResponse(id=1, prompt=[Turn(role="user", content="Hi")], response=f"{typed} no", columns=columns)
        for column in scorer.score(asked).columns:
            tokens = [token.id in plain.tokenizer.all_special_ids for token in column.tokens]
            assert tokens.index(True) > 1


@pytest.mark.parametrize("response", [" and on", "", " Größe 🙂", "!</s>"])
def test_plain_text_is_scored_as_transformers_does(made, response):
    _, scorer, plain, columns = made
    scored = scorer.score(ScoreResponse(id=1, prompt="Turn on the alarm", response=response, columns=columns))
    end = plain.tokenizer.eos_token
    text = "Turn on the alarm" + (response if response.endswith(end) else response + end)
    ids = plain.tokenizer(text)["input_ids"]
    begin = split(plain.tokenizer("Turn on the alarm")["input_ids"], ids)
    for model, column in enumerate(scored.columns):
        check(column, plain.logprobs(model, ids), ids, begin)
        assert column.tokens[-1].special


@pytest.mark.parametrize("prefix", ["", "Sure. Fi", "naïve 日本"])
def test_the_next_token_is_that_of_transformers(made, prefix):
    _, scorer, plain, columns = made
    turns = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello"}]
    asked = NextToken(id=1, prompt=[Turn(**turn) for turn in turns], prefix=prefix, columns=columns, top_k=9)
    found = scorer.next_token(asked)
    text = plain.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True) + prefix
    ids = plain.tokenizer(text, add_special_tokens=False)["input_ids"]
    rows = [plain.logprobs(model, ids)[-1].double() for model in (0, 1)]
    assert {token for row in rows for token in row.topk(9).indices.tolist()} == {c.token for c in found.candidates}
    for candidate in found.candidates:
        assert candidate.logprobs == pytest.approx([row[candidate.token].item() for row in rows], abs=TOLERANCE)
        assert candidate.ranks == [int((row > row[candidate.token]).sum()) + 1 for row in rows]
    assert found.entropy == pytest.approx([-(row.exp() * row).sum().item() for row in rows], abs=TOLERANCE)
    assert found.kl == pytest.approx([0.0, (rows[1].exp() * (rows[1] - rows[0])).sum().item()], abs=TOLERANCE)
    assert found.prompt_tokens[0] + len(found.forced) == len(ids)
    assert text_of(found.forced).lstrip() == prefix

    taken = [candidate.token for candidate in found.candidates[:2]]
    further = scorer.next_token(asked.model_copy(update={"taken": taken}))
    row = plain.logprobs(0, [*ids, *taken])[-1]
    assert further.candidates[0].logprobs[0] == pytest.approx(row[further.candidates[0].token].item(), abs=TOLERANCE)
    assert [token.id for token in further.forced][-2:] == taken


def test_greedy_answers_are_those_of_transformers(made):
    _, scorer, plain, columns = made
    turns = [{"role": "user", "content": "How do I turn on the alarm?"}]
    asked = Generate(id=1, prompt=[Turn(**turn) for turn in turns], columns=columns, max_new_tokens=24)
    *pieces, whole = generate_steps(scorer, asked)
    prompt = plain.ids(turns, add_generation_prompt=True)
    for number, column in enumerate(whole.columns):
        theirs = plain.models[number].generate(torch.tensor([prompt]), max_new_tokens=24, do_sample=False)
        theirs = theirs[0, len(prompt) :].tolist()
        steps = sample(
            scorer.model(columns[number]), [prompt], stop=scorer.stops, max_new_tokens=24, temperature=0.0, seed=0
        )
        assert [token for step in steps for _, token in step] == theirs
        assert column.text == "".join(piece.text for piece in pieces if piece.column == number)
        assert column.tokens == len(theirs)
        text = plain.tokenizer.decode(theirs, skip_special_tokens=True)
        if "\ufffd" not in text:  # how broken bytes are shown depends on how many come at once
            assert column.text == text


def test_a_table_has_the_sums_of_single_scores(made, tmp_path):
    _, scorer, _, columns = made
    columns = [*columns, Column(name="kind", system="Be kind.")]
    rows = [
        {
            "id": f"p{number}",
            "prompt": [{"role": "user", "content": "Why? " * (number + 1)}],
            "chosen": [{"role": "assistant", "content": response}],
            "rejected": [{"role": "assistant", "content": "No." * (1 + 5 * number)}],
        }
        for number, response in enumerate(filter(None, RESPONSES))
    ]
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    *parts, end = score_pairs(scorer, ScorePairs(id=1, path=str(path), columns=columns))
    found = {row.pair: row for part in parts if part is not None for row in part.rows}
    assert (end.total, end.problems, end.computed, end.cached) == (3, 0, 18, 0)
    for row in rows:
        for side in ("chosen", "rejected"):
            prompt, response = ([Turn(**turn) for turn in row[name]] for name in ("prompt", side))
            single = scorer.score(ScoreResponse(id=1, prompt=prompt, response=response, columns=columns))
            sides = getattr(found[row["id"]], side)
            assert [each.sum for each in sides] == pytest.approx([each.sum for each in single.columns], abs=1e-3)
            assert [each.tokens for each in sides] == [len(each.tokens) for each in single.columns]


def test_what_is_longer_than_the_context_is_refused_and_never_scored(made):
    _, scorer, _, columns = made
    assert scorer.context == 256
    long = "Well. " * 200
    for request in (
        ScoreResponse(id=1, prompt="Hi", response=long, columns=columns),
        DistributionAt(id=1, prompt="Hi", response=long, position=0, columns=columns),
    ):
        with pytest.raises(WorkbenchError, match="Longer than the model's context"):
            (scorer.score if isinstance(request, ScoreResponse) else scorer.distribution_at)(request)
    with pytest.raises(WorkbenchError, match="Longer than"):
        scorer.next_token(NextToken(id=1, prompt="Hi", prefix=long, columns=columns))
    with pytest.raises(WorkbenchError, match="No room"):
        list(generate_steps(scorer, Generate(id=1, prompt=long, columns=columns)))
    *_, whole = generate_steps(scorer, Generate(id=1, prompt="Well. " * 38, columns=columns, max_new_tokens=9000))
    for column in whole.columns:
        assert column.ended != column.filled
        assert column.prompt_tokens + column.tokens <= 256
