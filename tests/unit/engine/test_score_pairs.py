"""What a run says of each pair is what transformers alone makes of it, and belongs to the pair it names."""

import pytest
from peft import PeftModel

from tests.unit.engine.training import BETA, make, plain_logps, read, row, work
from workbench.engine.model.downloads import load_tokenizer
from workbench.engine.model.loading import load_base
from workbench.runs.events import Checkpoint, Eval, Step
from workbench.runs.pair_scores import read_margins

TRAIN = [row(number) for number in range(7)]
HELD_OUT = [row(number, "holdout") for number in range(7, 12)]
EXACT = {"abs": 1e-4, "rel": 1e-5}


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Two epochs of shuffled pairs, in micro-batches of two, the rows of both splits mixed, with an evaluation last."""
    rows = [each for both in zip(TRAIN, [*HELD_OUT, None, None], strict=True) for each in both if each]
    folder = make(
        tmp_path_factory.mktemp("runs"), rows, max_steps=0, epochs=2.0, batch_size=4, gradient_accumulation=2,
        save_steps=1, keep_checkpoints=9, eval_steps=4, sample_tokens=0,
    )  # fmt: skip
    work(folder)
    return folder


@pytest.fixture(scope="module")
def plain(done):
    """Log-probabilities of a row's chosen and rejected after so many updates."""
    tokenizer = load_tokenizer("tiny")
    base = load_base("tiny", "nf4", device="cpu")
    known = {0: base}

    def logps(each, step):
        if step not in known:
            known[step] = PeftModel.from_pretrained(
                load_base("tiny", "nf4", device="cpu"), done.checkpoints / f"checkpoint-{step}"
            ).eval()
        return [plain_logps(known[step], tokenizer, each, side) for side in ("chosen", "rejected")]

    return logps


def test_every_pair_has_the_score_of_its_own_texts(done, plain):
    assert read(done, Checkpoint)[-1].step == read(done, Step)[-1].step == read(done, Eval)[-1].step == 4
    scores = read_margins(done.path)
    assert set(scores) == {each["id"] for each in TRAIN + HELD_OUT}
    for each in TRAIN + HELD_OUT:
        score = scores[each["id"]]
        assert score.of(each)
        assert score.split == each["split"]
        assert score.step in ((4,) if each["split"] == "holdout" else (2, 3))
        chosen, rejected = plain(each, score.step)
        ref_chosen, ref_rejected = plain(each, 0)
        assert score.chosen == pytest.approx(chosen, **EXACT)
        assert score.rejected == pytest.approx(rejected, **EXACT)
        assert score.ref_chosen == pytest.approx(ref_chosen, **EXACT)
        assert score.ref_rejected == pytest.approx(ref_rejected, **EXACT)
        margin = BETA * ((chosen - ref_chosen) - (rejected - ref_rejected))
        assert score.margin == pytest.approx(margin, **EXACT)
    assert len({round(score.margin, 5) for score in scores.values()}) > 8


def test_their_mean_is_what_the_run_told(done):
    margins = [score.margin for score in read_margins(done.path).values() if score.split == "holdout"]
    told = read(done, Eval)[-1].metrics["rewards/margins"]
    assert sum(margins) / len(margins) == pytest.approx(told, abs=1e-5)
