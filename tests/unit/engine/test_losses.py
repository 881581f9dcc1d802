import copy
import math
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForCausalLM

from tests.unit.engine import trl_losses
from workbench.config import LossType, RunConfig
from workbench.engine.methods.losses import (
    ACROSS_PAIRS,
    LOSSES,
    LossSettings,
    Objective,
    PairLogps,
    preferred,
)
from workbench.engine.model.downloads import load_tokenizer
from workbench.engine.model.token_ids import pair_ids
from workbench.pairs.pair import from_row

SETTINGS = LossSettings(beta=0.5, label_smoothing=0.1)


def logps(chosen, rejected, reference_chosen=0.0, reference_rejected=0.0, tokens=(1, 1)):
    def batch(value):
        return torch.tensor(value, dtype=torch.float32).reshape(-1)

    return PairLogps(
        batch(chosen), batch(rejected), batch(tokens[0]), batch(tokens[1]),
        batch(reference_chosen), batch(reference_rejected),
    )  # fmt: skip


def test_there_is_a_loss_for_every_name_that_a_run_may_give() -> None:
    assert set(LOSSES) == {*get_args(LossType), "simpo", "orpo"}


# h(chosen) = -4 - -6 = 2 nats over 4 tokens, h(rejected) = -9 - -8 = -1 over 2: a difference of 3, or of 1 a token.
# beta 0.5: scaled 1.5 (0.5 a token), rewards 1 and -0.5. Policy a token: chosen -1, rejected -4.5. log sigmoid(1.5) =
# -0.201413, log sigmoid(-1.5) = -1.701413, sigmoid(1) = 0.731059, sigmoid(-0.5) = 0.377541.
@pytest.mark.parametrize(
    ("name", "by_hand"),
    [
        ("sigmoid", 0.201413),
        ("hinge", 0.0),
        ("ipo", (1 - 1) ** 2),
        ("exo_pair", 0.817574 * (-0.201413 - math.log(0.9)) + 0.182426 * (-1.701413 - math.log(0.1))),
        ("nca_pair", 0.313262 + 0.5 * 1.313262 + 0.5 * 0.474077),
        ("robust", (0.9 * 0.201413 - 0.1 * 1.701413) / 0.8),
        ("bco_pair", 0.313262 + 0.474077),
        ("sppo_hard", (2 - 1) ** 2 + (-1 + 1) ** 2),
        ("aot", 0.9 * 0.201413 + 0.1 * 1.701413),
        ("aot_unpaired", 0.9 * 0.201413 + 0.1 * 1.701413),
        ("apo_zero", 1 - 0.731059 + 0.377541),
        ("apo_down", 0.731059 + 1 - 0.817574),
        # sigmoid(1.5 / 0.05) is 1: the exponential alone.
        ("discopop", math.exp(-1.5)),
        ("sft", 4 / 4),
        ("sigmoid_norm", 0.474077),
        # beta * (-1 + 4.5 - 0.5) = 1.5
        ("simpo", 0.201413),
        # odds: e^-1 / (1 - e^-1) = 0.581977, e^-4.5 / (1 - e^-4.5) = 0.0112345; log of their ratio 3.947436
        ("orpo", 1 + 0.5 * math.log1p(math.exp(-3.947436))),
    ],
)  # fmt: skip
def test_one_pair_by_hand(name: str, by_hand: float) -> None:
    one = logps(-4, -9, -6, -8, (4, 2))
    assert LOSSES[name](one, SETTINGS).tolist() == pytest.approx([by_hand], abs=2e-6)


def test_optimal_transport_sorts_each_side_of_the_batch() -> None:
    two = logps([1.0, 5.0], [0.0, 0.0], [3.0, 0.0], [0.0, 0.0])
    # aot: margins 1, 5 against the reference's 0, 3. aot_unpaired: h(chosen) -2, 5 against 0, 0.
    settings = LossSettings(beta=1.0)
    by_hand = {"aot": [1.0, 2.0], "aot_unpaired": [-2.0, 5.0]}
    assert set(by_hand) == ACROSS_PAIRS
    for name, deltas in by_hand.items():
        expected = [math.log1p(math.exp(-delta)) for delta in deltas]
        assert LOSSES[name](two, settings).tolist() == pytest.approx(expected, abs=1e-6)


def test_a_step_cut_into_parts_has_the_likelihood_loss_of_the_whole() -> None:
    tokens = [3.0, 11.0, 5.0, 1.0]
    chosen = [-4.0, -21.0, -2.5, -1.0]
    whole = logps(chosen, [0.0] * 4, [0.0] * 4, [0.0] * 4, (tokens, [1.0] * 4))
    mean = sum(-each for each in chosen) / sum(tokens)
    assert LOSSES["sft"](whole, SETTINGS).mean().item() == pytest.approx(mean)
    parts = [
        PairLogps(
            whole.chosen[part], whole.rejected[part], whole.chosen_tokens[part], whole.rejected_tokens[part],
            tokens_a_pair=sum(tokens) / 4,
        )
        for part in (slice(0, 1), slice(1, 4))
    ]  # fmt: skip
    sums = sum(LOSSES["sft"](part, SETTINGS).sum().item() for part in parts)
    assert sums / 4 == pytest.approx(mean)


def test_several_losses_are_summed_with_their_weights() -> None:
    one = logps([-4, -3], [-9, -1], [-6, -3], [-8, -1], ([4, 2], [2, 2]))
    both = Objective(["sigmoid", "sft"], [1.0, 10.0], SETTINGS, reference=True).losses(one)
    alone = [LOSSES[name](one, SETTINGS) for name in ("sigmoid", "sft")]
    assert both.tolist() == pytest.approx((alone[0] + 10 * alone[1]).tolist())
    plain = Objective(["sigmoid", "sft"], [], SETTINGS, reference=True).losses(one)
    assert plain.tolist() == pytest.approx((alone[0] + alone[1]).tolist())


def test_rewards_are_log_ratios_or_without_a_reference_means_a_token() -> None:
    one = logps(-4, -9, -6, -8, (4, 2))
    assert [each.item() for each in Objective(["dpo"], [], SETTINGS, reference=True).rewards(one)] == [1.0, -0.5]
    assert [each.item() for each in Objective(["simpo"], [], SETTINGS, reference=False).rewards(one)] == [-0.5, -2.25]
    assert [each.item() for each in Objective(["orpo"], [], SETTINGS, reference=False).rewards(one)] == [-0.5, -2.25]


def test_a_loss_says_that_it_needs_a_reference() -> None:
    bare = PairLogps(*[torch.tensor([-1.0]) for _ in range(4)])
    for name in LOSSES:
        if name in ("sft", "simpo", "orpo"):
            assert LOSSES[name](bare, SETTINGS).isfinite().all()
        else:
            with pytest.raises(ValueError, match="reference"):
                LOSSES[name](bare, SETTINGS)


def test_one_side_of_the_reference_is_not_enough() -> None:
    for name in ("reference_chosen", "reference_rejected"):
        half = PairLogps(*[torch.tensor([-1.0]) for _ in range(4)], **{name: torch.tensor([-1.0])})
        with pytest.raises(ValueError, match="reference"):
            LOSSES["sigmoid"](half, SETTINGS)


def test_a_response_of_one_token_is_divided_by_one_and_an_empty_one_too() -> None:
    for tokens in ((1, 1), (0, 0)):
        one = logps(-4, -9, -6, -8, tokens)
        assert LOSSES["sigmoid_norm"](one, SETTINGS).item() == pytest.approx(0.201413, abs=2e-6)
        # beta * (-4 + 9 - 0.5) = 2.25
        assert LOSSES["simpo"](one, SETTINGS).item() == pytest.approx(math.log1p(math.exp(-2.25)), abs=2e-6)


def test_the_gradient_of_the_mean_loss_by_hand() -> None:
    # d/dx -log sigmoid(beta x) = -beta sigmoid(-beta x), with x = 3 and 0, over two pairs.
    two = logps([-4.0, -1.0], [-9.0, -2.0], [-6.0, -1.0], [-8.0, -2.0])
    slopes = [-0.5 * 0.182426 / 2, -0.5 * 0.5 / 2]
    found = Objective(["sigmoid"], [], SETTINGS, reference=True).loss_gradient(two).tolist()
    assert found[0] == pytest.approx(slopes, abs=1e-6)
    assert found[1] == pytest.approx([-each for each in slopes], abs=1e-6)


def test_a_run_is_trained_by_its_losses_or_by_the_one_of_its_method() -> None:
    config = RunConfig.model_validate(
        {"pairs": ["x"], "loss_type": ["hinge", "sft"], "loss_weights": [1.0, 2.0], "beta": 0.3}
    )
    both = Objective.of(config)
    assert (both.names, both.weights, both.settings.beta, both.reference) == (["hinge", "sft"], [1.0, 2.0], 0.3, True)
    alone = Objective.of(RunConfig.model_validate({"pairs": ["x"], "method": "simpo"}))
    assert (alone.names, alone.reference) == (["simpo"], False)
    assert LossSettings().beta == RunConfig.model_validate({"pairs": ["x"]}).beta


def test_a_pair_is_right_half_right_or_wrong() -> None:
    assert preferred(torch.tensor([2.0, 1.0, 0.0]), torch.tensor([1.0, 1.0, 1.0])).tolist() == [1.0, 0.5, 0.0]


@st.composite
def batches(draw):
    size = draw(st.integers(1, 6))
    logp = st.lists(st.floats(-300, 0, width=32), min_size=size, max_size=size)
    count = st.lists(st.integers(1, 200), min_size=size, max_size=size)
    values = [torch.tensor(draw(each), dtype=torch.float32) for each in (logp, logp, count, count, logp, logp)]
    return PairLogps(*values)


# DiscoPOP's exponential grows past float32 where the policy left the reference by hundreds of nats, as in TRL.
@given(batches(), st.sampled_from(sorted(set(LOSSES) - {"discopop"})), st.floats(0.01, 1))
def test_every_loss_is_finite_with_a_gradient_for_any_pairs(batch: PairLogps, name: str, beta: float) -> None:
    chosen, rejected = batch.chosen.clone().requires_grad_(), batch.rejected.clone().requires_grad_()
    given_ = PairLogps(
        chosen, rejected, batch.chosen_tokens, batch.rejected_tokens, batch.reference_chosen, batch.reference_rejected
    )
    losses = LOSSES[name](given_, LossSettings(beta=beta, label_smoothing=0.1))
    assert losses.shape == chosen.shape
    assert losses.dtype == torch.float32
    assert losses.isfinite().all()
    losses.mean().backward()
    assert chosen.grad.isfinite().all()
    assert rejected.grad is None or rejected.grad.isfinite().all()


@given(batches())
def test_while_policy_and_reference_agree_the_loss_is_ln_2(batch: PairLogps) -> None:
    same = PairLogps(
        batch.chosen, batch.rejected, batch.chosen_tokens, batch.rejected_tokens, batch.chosen, batch.rejected
    )
    for name in ("sigmoid", "sigmoid_norm", "aot", "aot_unpaired"):
        losses = LOSSES[name](same, LossSettings())
        assert torch.allclose(losses, torch.full_like(losses, math.log(2)))


@given(batches(), st.sampled_from(["sigmoid", "hinge", "robust", "sigmoid_norm", "simpo", "orpo", "apo_zero"]))
def test_a_likelier_chosen_answer_never_costs_more(batch: PairLogps, name: str) -> None:
    likelier = PairLogps(
        batch.chosen * 0.9, batch.rejected, batch.chosen_tokens, batch.rejected_tokens, batch.reference_chosen,
        batch.reference_rejected,
    )  # fmt: skip
    before, after = (LOSSES[name](each, LossSettings()) for each in (batch, likelier))
    assert (after <= before + 1e-5 * before.abs().clamp(min=1)).all()


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer("tiny")


@pytest.fixture(scope="module")
def rows():
    questions = ["What about the parcel?", "Where is my card?", "The door is shut.", "Who has my order?"]
    return [
        {
            "id": str(number),
            "prompt": [{"role": "user", "content": question}],
            "chosen": [{"role": "assistant", "content": "Gladly, it is fine now." + " Thanks." * number}],
            "rejected": [{"role": "assistant", "content": "No." + " Go away." * (3 - number)}],
        }
        for number, question in enumerate(questions)
    ]


@pytest.fixture(scope="module")
def models(tokenizer):
    torch.manual_seed(1)
    config = LlamaConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, vocab_size=len(tokenizer),
        initializer_range=0.3, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    policy, reference = LlamaForCausalLM(config).eval(), LlamaForCausalLM(config).eval()
    return policy, reference


@pytest.fixture(scope="module")
def ours(models, tokenizer, rows):
    """The pairs' log-probabilities by transformers alone, each response in a forward of its own."""
    sums: dict[str, list[float]] = {name: [] for name in ("chosen", "rejected", "ref_chosen", "ref_rejected")}
    counts: dict[str, list[int]] = {"chosen": [], "rejected": []}
    for row in rows:
        pair = from_row(row, where="here")
        ids = pair_ids(tokenizer, pair.prompt, pair.chosen, pair.rejected, {})
        for side, response in (("chosen", ids.chosen), ("rejected", ids.rejected)):
            counts[side].append(len(response))
            for prefix, model in zip(("", "ref_"), models, strict=True):
                with torch.no_grad():
                    logits = model(torch.tensor([ids.prompt + response])).logits[0, len(ids.prompt) - 1 : -1]
                found = logits.float().log_softmax(-1).gather(-1, torch.tensor(response)[:, None]).sum()
                sums[prefix + side].append(found.item())
    return PairLogps(
        *(torch.tensor(sums[name]) for name in ("chosen", "rejected")),
        *(torch.tensor(counts[name], dtype=torch.float32) for name in ("chosen", "rejected")),
        *(torch.tensor(sums[name]) for name in ("ref_chosen", "ref_rejected")),
    )


def test_every_dpo_loss_equals_that_of_trl(models, tokenizer, rows, ours, tmp_path) -> None:
    settings = LossSettings(beta=0.05, label_smoothing=0.1, discopop_tau=0.5)
    names = list(RunConfig.model_fields["loss_type"].annotation.__args__[0].__args__)
    policy, reference = (copy.deepcopy(model) for model in models)
    found = trl_losses.dpo(policy, reference, tokenizer, rows, tmp_path, names, settings)
    assert len(found) == 15
    for name, value in found.items():
        assert LOSSES[name](ours, settings).mean().item() == pytest.approx(value, rel=1e-5), name


def test_simpo_equals_that_of_trl(models, tokenizer, rows, ours, tmp_path) -> None:
    settings = LossSettings(beta=2.5, simpo_gamma_ratio=0.55)
    loss, metrics = trl_losses.simpo(copy.deepcopy(models[0]), tokenizer, rows, tmp_path, settings)
    assert LOSSES["simpo"](ours, settings).mean().item() == pytest.approx(loss, rel=1e-5)
    chosen, rejected = Objective(["simpo"], [], settings, reference=False).rewards(ours)
    assert chosen.mean().item() == pytest.approx(metrics["rewards/chosen"], rel=1e-5)
    assert rejected.mean().item() == pytest.approx(metrics["rewards/rejected"], rel=1e-5)


def test_orpo_equals_that_of_trl_but_for_the_prompt_in_its_likelihood(models, tokenizer, rows, ours, tmp_path) -> None:
    settings = LossSettings(beta=0.3)
    loss, metrics = trl_losses.orpo(copy.deepcopy(models[0]), tokenizer, rows, tmp_path, settings)
    mean = ours.chosen / ours.chosen_tokens
    odds = (LOSSES["orpo"](ours, settings) + mean).mean().item()
    assert odds == pytest.approx(loss - metrics["nll_loss"], rel=1e-4)
    assert mean.mean().item() == pytest.approx(metrics["logps/chosen"], rel=1e-5)


@given(st.floats(-20, -(2.0**-10), width=32), st.floats(-20, -(2.0**-10), width=32))
def test_the_odds_ratio_equals_that_of_trl_for_any_probabilities(chosen: float, rejected: float) -> None:
    settings = LossSettings(beta=0.3)
    one = logps(chosen, rejected)
    theirs = trl_losses.odds_ratio_losses(one.chosen, one.rejected, 0.3)
    assert (LOSSES["orpo"](one, settings) + one.chosen).item() == pytest.approx(theirs.item(), rel=1e-4, abs=2e-6)
