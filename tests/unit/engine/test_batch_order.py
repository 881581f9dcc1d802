"""The shares of several processes are, batch by batch, the pairs that one process would see, weighed as it would."""

import os
from contextlib import nullcontext

import pytest

from workbench.engine.rank import check_sharing
from workbench.engine.training import distributed
from workbench.engine.training.batch_order import LongestFirst, Shares
from workbench.errors import WorkbenchError

LENGTHS = [5, 9, 3, 9, 7, 1, 2, 8, 9, 4, 6]


@pytest.mark.parametrize("ranks", [2, 3, 4])
@pytest.mark.parametrize("part", [1, 2, 3])
@pytest.mark.parametrize("epoch", [0, 1])
def test_shares_make_up_the_batches_of_one_process(ranks, part, epoch):
    one = LongestFirst(LENGTHS, part * ranks, seed=3)
    one.set_epoch(epoch)
    order = list(one)
    expected = [order[begin : begin + part * ranks] for begin in range(0, len(order), part * ranks)]
    shares = [Shares(LongestFirst(LENGTHS, part * ranks, seed=3), part, ranks, rank) for rank in range(ranks)]
    for each in shares:
        each.set_epoch(epoch)
        assert len(each) == len(expected)
    for batch, *parts in zip(expected, *shares, strict=True):
        found = [each.share(own) for each, own in zip(shares, parts, strict=True)]
        assert [place for own, share in zip(parts, found, strict=True) for place in own[: share.own]] == batch
        assert {share.total for share in found} == {len(batch)}
        assert all(own for own in parts)  # nobody has nothing to do while the others wait for it
        # Means of the shares, as DDP takes them of gradients, are the mean over the pairs.
        values = [sum(own) / len(own) * share.weight for own, share in zip(parts, found, strict=True)]
        assert sum(values) / ranks == pytest.approx(sum(batch) / len(batch))


def test_whole_batches_weigh_the_same():
    shares = Shares(range(7), 2, 2, 1)
    assert [(own, shares.share(own).weight) for own in shares] == [([2, 3], 1.0), ([6], pytest.approx(2 / 3))]


@pytest.mark.parametrize(
    ("environment", "by", "refused"),
    [
        ({}, "", ""),
        ({"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}, "FSDP", ""),
        ({"ACCELERATE_USE_FSDP": "true"}, "FSDP", "FSDP's first version"),
        ({"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": "2"}, "DeepSpeed", ""),
        ({"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": "3"}, "DeepSpeed", "third stage"),
    ],
)
def test_weights_are_shared_out_as_they_can_be_saved_again(environment, by, refused, monkeypatch):
    for name in ("ACCELERATE_USE_FSDP", "FSDP_VERSION", "ACCELERATE_USE_DEEPSPEED", "ACCELERATE_DEEPSPEED_ZERO_STAGE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert distributed.sharded_by() == by
    with pytest.raises(WorkbenchError, match=refused) if refused else nullcontext():
        check_sharing(os.environ)
