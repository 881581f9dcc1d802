"""Alerts from events alone: what gives rise to each, what must not, and that no sequence of events breaks them.

That real runs give rise to them is shown in tests/unit/engine/test_health.py; that a good real run gives rise to none,
by the demo's events (tests/end_to_end/test_demo.py) and by its numbers here.
"""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.methods import METHODS
from workbench.runs.events import Eval, Resumed, Sample, Started, Step, Warned
from workbench.runs.health import DETECTORS, Health
from workbench.runs.quantities import preferred
from workbench.runs.state import fold

LN2 = math.log(2)
BETA = 0.1


def started(total, holdout=8):
    return Started(
        time=0.0, total_steps=total, train_pairs=16 * total, holdout_pairs=holdout, dropped=0, truncated=0, identical=0,
        trainable_parameters=1, total_parameters=2, reference="base", device="CPU", model_revision="x",
    )  # fmt: skip


def step(number, speed=30.0, tokens=None, total=60, **metrics):
    return Step(
        time=float(number), step=number, epoch=number / total, seconds=float(number), pairs=16 * number,
        metrics={name.replace("__", "/"): value for name, value in metrics.items()}, pairs_per_second=speed,
        tokens_per_second=speed * 100 if tokens is None else tokens, memory_bytes=1,
    )  # fmt: skip


def evaluation(number, **metrics):
    return Eval(
        time=float(number), step=number, epoch=0.0, seconds=float(number), pairs=16 * number,
        metrics={name.replace("__", "/"): value for name, value in metrics.items()},
    )  # fmt: skip


def metrics(margin, chosen=-1.0, rejected=-4.0, share=0.5, beta=BETA):
    """What DPO's trainer logs at this margin, `share` of it gained by chosen; log-probabilities are those before."""
    up, down = share * margin, (share - 1) * margin
    return {
        "loss": math.log1p(math.exp(-margin)), "rewards__margins": margin, "rewards__chosen": up,
        "rewards__rejected": down, "preference_accuracy": preferred(margin), "logps__chosen": chosen + up / beta,
        "logps__rejected": rejected + down / beta,
    }  # fmt: skip


def trained(number, total, margin, *, rate=1e-3, gradient=1.0, changed=1.0, share=0.5, **more):
    seen = metrics(margin, share=share) | {"grad_norm": gradient, "learning_rate": rate, "adapter__changed": changed}
    return step(number, total=total, **seen, **more)


def healthy(total, holdout=True, every=1):
    """A run as they should be: warm-up, a margin that grows to about 5, chosen up, rejected down, five evaluations."""
    warm, events = max(1, round(total * 0.05)), [started(total, 8 if holdout else 0)]

    def margin(number):
        return 0.0 if number <= 2 else 5 * (1 - math.exp(-2.5 * (number - 2) / total))

    for number in range(total + 1):
        if number and (number == 1 or number % every == 0 or number == total):
            wobble = 1 + 0.2 * math.sin(7 * number)
            events.append(
                trained(
                    number, total, margin(number) * wobble, rate=1e-3 * min(1.0, (number - 1) / warm),
                    changed=1.0 if number > 2 else 0.0, gradient=1.2 * wobble * math.exp(-2 * number / total),
                    speed=30 * wobble,
                )
            )  # fmt: skip
        if holdout and (number % max(1, round(total / 5)) == 0 or number == total):
            events.append(evaluation(number, **metrics(margin(number) * 0.9)))
            events += [sample(number, 24, 24 if number == 0 else 26), sample(number, 20, 25 if number else 20)]
    return events


def sample(number, base, aligned):
    return Sample(
        time=float(number), step=number, pair="p", prompt="?", base="b", aligned="a", base_tokens=base,
        aligned_tokens=aligned,
    )  # fmt: skip


def alerts(events, first_loss=LN2, beta=BETA, method="dpo"):
    health = Health(first_loss, beta=beta, method=method)
    return [alert for event in events for alert in health.observe(event)]


def codes(events, **arguments):
    return [alert.code for alert in alerts(events, **arguments)]


@pytest.mark.parametrize("holdout", [True, False])
@pytest.mark.parametrize(("total", "every"), [(12, 1), (20, 1), (60, 1), (60, 10), (400, 1), (3000, 10)])
def test_a_healthy_run_gives_no_alert(total, every, holdout):
    assert alerts(healthy(total, holdout, every)) == []


def demo():
    """The numbers of a real run of the demo, on two cores that others used as well."""
    lines = [line.split() for line in (Path(__file__).parent / "demo_run.txt").read_text().splitlines()]
    names = lines[0][4:]
    yield started(58)
    for kind, number, pairs, speed, *numbers in lines[1:]:
        seen = {name: float(value) for name, value in zip(names, numbers, strict=True) if value != "-"}
        base = {"time": 0.0, "step": int(number), "epoch": int(number) / 58, "seconds": 0.0, "pairs": int(pairs)}
        if kind == "eval":
            yield Eval(**base, metrics=seen)
        else:
            yield Step(
                **base, metrics=seen, pairs_per_second=float(speed), tokens_per_second=40 * float(speed), memory_bytes=1
            )


def test_the_demo_gives_no_alert():
    events = list(demo())
    assert len(events) > 60
    assert alerts(events, first_loss=None, beta=1.0) == []
    steps = [each for each in events if not isinstance(each, Eval)]
    assert alerts([started(58, 0), *steps[1:]], first_loss=None, beta=1.0) == []


def broken():
    """For each kind of alert, events that give rise to it and to nothing else."""
    zero = [trained(number, 40, 0.0, changed=1.0) for number in range(1, 11)]
    fine = healthy(60)
    yield "first-loss", [step(1, loss=0.71)]
    yield "first-loss", [step(1, loss=LN2, rewards__chosen=0.3, rewards__rejected=0.3)]
    yield "not-finite", [*fine[:30], step(40, loss=math.nan)]
    yield "not-finite", [*fine[:30], step(40, loss=0.3, grad_norm=math.inf)]
    yield "not-finite", [*fine[:30], evaluation(40, loss=math.nan)]
    yield "exploding", [*fine[:20], *(trained(n, 60, 1.0, gradient=50.0) for n in range(20, 26))]
    yield "exploding", [*fine[:20], *(trained(n, 60, 200.0) for n in range(20, 26))]
    yield "exploding", [*fine[:20], *(trained(n, 60, -6.0) for n in range(20, 26))]
    yield "not-moving", [started(40), *(trained(n, 40, 0.0, changed=0.02, rate=1e-8) for n in range(1, 11))]
    yield "not-moving", [started(40), *(trained(n, 40, 0.0, changed=0.0, gradient=0.0) for n in range(1, 40))]
    yield "stuck", [started(40), *zero]
    yield "displacement", [started(60), *(evaluation(n, **metrics(n / 20, share=-1.0)) for n in (0, 12, 24))]
    yield "displacement", [started(60, 0), *(trained(n, 60, (n - 1) / 20, share=-1.0) for n in range(1, 31))]
    yield "too-easy", [started(60), *(trained(n, 60, 0.0 if n == 1 else 4.0 + n) for n in range(1, 7))]
    yield "no-spread", [step(n, loss=0.0, reward=1.0, reward_std=0.0, frac_reward_zero_std=1.0) for n in (2, 3, 4)]
    yield "no-spread", [step(n, loss=0.0, reward=1.0, reward_std=0.0) for n in (2, 3, 4)]
    yield "slow", [*fine[:30], *(trained(n, 60, 3.0, speed=5.0) for n in range(31, 34))]
    yield "longer", [started(60), *(sample(n, 20, 20 if n == 0 else 40) for n in (0, 0, 12, 12, 24, 24))]
    evals = [(0, 0.0), (12, 1.0), (24, 1.5), (36, 1.0), (48, 0.5)]
    steps = {n: trained(n, 60, (n - 1) / 10) for n in range(1, 61)}
    told = [started(60)]
    for number, margin in evals:
        told += [steps[n] for n in range(max(1, number - 11), number + 1) if number]
        told.append(evaluation(number, **metrics(margin)))
    yield "overfitting", told


BROKEN = list(broken())


@pytest.mark.parametrize(("code", "events"), BROKEN)
def test_each_kind_of_trouble_is_told_once_and_alone(code, events):
    (alert,) = alerts([*events, *events[-3:]])
    assert alert.code == code
    assert alert.step <= events[-1].step
    for text in (alert.title, alert.message, alert.remedy):
        assert text.strip() == text
        assert text
    assert any(character.isdigit() for character in alert.message)  # the numbers that were seen


def test_every_detector_is_tried_here():
    assert {code for code, _ in BROKEN} == {detector.code for detector in DETECTORS}


def test_what_explains_an_alert_keeps_it_silent():
    still = [started(40), *(trained(n, 40, 0.0, changed=0.0, rate=1e-12) for n in range(1, 40))]
    assert codes(still) == ["not-moving"]


@pytest.mark.parametrize(
    "events",
    [
        # one bad batch, or one slow step, is nothing
        [*healthy(60)[:30], trained(30, 60, -6.0, gradient=60.0), trained(31, 60, 2.0)],
        [*healthy(60)[:30], *(trained(n, 60, 3.0, speed=3.0 if n % 2 else 30.0) for n in range(31, 41))],
        # batches of long texts: few pairs a second, as many tokens
        [*healthy(60)[:30], *(trained(n, 60, 3.0, speed=5.0, tokens=3000.0) for n in range(31, 41))],
        # the learning rate still rises
        [started(40), *(trained(n, 40, 0.0, changed=0.0, rate=1e-5 * n) for n in range(1, 12))],
        # all answers reach the limit, so nothing can be said of their length
        [started(60), *(sample(n, 48, 48) for n in (0, 0, 12, 12, 24, 24))],
        # "No." beside "No, sorry."
        [started(60), *(sample(n, 2, 4) for n in (12, 12, 24, 24))],
        # chosen of a long answer wavers
        [started(60), *(evaluation(n, **metrics(1.0, chosen=-270.0, rejected=-300.0, share=-0.5)) for n in (12, 24))],
        # both evaluations and training get worse: whatever that is, it is not overfitting
        [started(40), *(trained(n, 40, 3.0 - n / 20) for n in range(3, 21)), evaluation(10, **metrics(2.0)),
         evaluation(20, **metrics(1.5)), *(trained(n, 40, 1.5) for n in range(21, 31)), evaluation(30, **metrics(1.0))],
        # a held-out margin far above what is needed, a little lower
        [started(40), *(trained(n, 40, 0.5 * (n - 1)) for n in range(1, 41)), evaluation(20, **metrics(17.0)),
         evaluation(30, **metrics(15.0)), evaluation(40, **metrics(14.0))],
        # an epoch that repeats: accuracy 1.0 on pairs seen before says nothing
        [started(60), *(trained(n, 2, 0.0 if n < 3 else 5.0) for n in range(1, 7))],
        # some groups without spread, or none at all for a step
        [step(n, loss=0.0, reward=0.5, reward_std=0.3, frac_reward_zero_std=0.5) for n in range(2, 10)],
        [step(n, loss=0.0, reward=0.5, reward_std=0.3, frac_reward_zero_std=float(n % 3 == 0)) for n in range(2, 10)],
    ],
)  # fmt: skip
def test_what_is_no_trouble_is_not_told(events):
    assert codes(events) == []


def test_windows_grow_with_the_run():
    """Ten steps without a margin are a quarter of forty, and nothing of a thousand."""
    zero = [trained(number, 1000, 0.0) for number in range(1, 11)]
    assert codes([started(40), *zero]) == ["stuck"]
    assert codes([started(1000), *zero]) == []
    assert codes([started(1000), *zero, *(trained(number, 1000, 0.0) for number in range(11, 60))]) == ["stuck"]


def method_steps(total, **metrics):
    return [started(total), *(step(number, total=total, grad_norm=1.0, **metrics) for number in range(1, total + 1))]


def test_rewards_without_a_reference_need_not_begin_at_zero_nor_leave_it():
    """SimPO's and ORPO's are log-probabilities a token: below zero from the start, their difference may be small."""
    metrics = {"loss": 0.9, "rewards/chosen": -2.0, "rewards/rejected": -2.001, "rewards/margins": 0.001}
    found = {method: set(codes(method_steps(40, **metrics), first_loss=None, method=method)) for method in METHODS}
    assert {"first-loss", "stuck"} <= found["dpo"]
    assert found["simpo"] == found["orpo"] == set()


def test_a_loss_about_zero_is_no_explosion_where_answers_are_the_models_own():
    events = [started(40), *(step(n, total=40, loss=0.001 if n == 1 else 0.02, grad_norm=1.0) for n in range(1, 41))]
    assert codes(events, method="reward", first_loss=None) == ["exploding"]
    assert codes(events, method="grpo", first_loss=None) == []
    held_out = [evaluation(number, loss=0.01 * number) for number in range(5)]
    assert codes([started(40), *held_out], method="rloo", first_loss=None) == []


def test_advice_for_a_method_without_a_reference_has_no_beta():
    steps = [step(n, total=40, loss=0.6 - 0.01 * n, learning_rate=1e-4) for n in range(1, 41)]
    held_out = [evaluation(0, loss=0.6), *steps[:10], evaluation(10, loss=0.5), *steps[10:]]
    events = [started(40), *held_out, evaluation(40, loss=0.9)]
    (overfit,) = alerts(events, method="reward", first_loss=None)
    assert overfit.code == "overfitting"
    assert "beta" not in overfit.remedy
    assert "go slower: --set learning_rate=5e-05" in overfit.remedy


def test_a_resumed_run_keeps_what_was_told_and_forgets_what_is_void():
    events = [started(40), *(trained(number, 40, 0.0) for number in range(1, 11))]
    health = Health(LN2, beta=BETA)
    told = [alert for event in events for alert in health.observe(event)]
    assert [alert.code for alert in told] == ["stuck"]

    again = Health(LN2, beta=BETA)
    again.remember(fold([*events, *told, Resumed(time=1.0, step=6, checkpoint="c")]))
    assert [again.observe(each) for each in events[7:]] == [[]] * 4

    healed = Health(LN2, beta=BETA)
    for event in (*events[:9], Resumed(time=1.0, step=2, checkpoint="c")):
        assert healed.observe(event) == []
    assert [healed.observe(trained(number, 40, 0.5)) for number in range(3, 11)] == [[]] * 8


def test_a_resumed_run_may_be_slower():
    """It may go on on another machine: its own speed counts."""
    health = Health(LN2, beta=BETA)
    health.remember(fold([*healthy(60)[:30], Resumed(time=1.0, step=20, checkpoint="c")]))
    found = [alert for n in range(21, 40) for alert in health.observe(trained(n, 60, 3.0, speed=2.0))]
    assert found == []


NUMBERS = st.floats(allow_nan=True, allow_infinity=True)
NAMES = (
    "loss", "grad_norm", "learning_rate", "rewards/margins", "rewards/chosen", "rewards/rejected",
    "preference_accuracy", "logps/chosen", "logps/rejected", "adapter/changed", "reward", "reward_std",
    "frac_reward_zero_std", "other",
)  # fmt: skip
COUNTS = st.integers(min_value=0, max_value=60)
METRICS = st.dictionaries(st.sampled_from(NAMES), NUMBERS | st.sampled_from([0.0, 0.5, 1.0, 4.0, 1e9]))
EVENTS = st.one_of(
    st.builds(started, st.integers(min_value=-5, max_value=10**9), COUNTS),
    st.builds(
        Step, time=NUMBERS, step=COUNTS, epoch=NUMBERS, seconds=NUMBERS, pairs=st.integers(-5, 10**6), metrics=METRICS,
        pairs_per_second=NUMBERS, tokens_per_second=NUMBERS, memory_bytes=COUNTS,
    ),
    st.builds(Eval, time=NUMBERS, step=COUNTS, epoch=NUMBERS, seconds=NUMBERS, pairs=COUNTS, metrics=METRICS),
    st.builds(sample, COUNTS, COUNTS, COUNTS),
    st.builds(Resumed, time=NUMBERS, step=COUNTS, checkpoint=st.just("c")),
    st.builds(Warned, time=NUMBERS, title=st.just("t"), message=st.just("m"), code=st.sampled_from(["", "stuck"])),
)  # fmt: skip


@given(st.lists(EVENTS, max_size=60), st.none() | NUMBERS, st.none() | NUMBERS)
def test_no_sequence_of_events_breaks_it_and_no_alert_comes_twice(events, first_loss, beta):
    found = codes(events, first_loss=first_loss, beta=beta)
    assert len(found) == len(set(found))
    known = {event.code for event in events[:1] if isinstance(event, Warned)}
    assert not known & set(found)


@given(st.lists(EVENTS, max_size=40), st.integers(min_value=0, max_value=40))
def test_events_in_parts_are_events_at_once(events, cut):
    health = Health(LN2, beta=BETA)
    first = [alert for event in events[:cut] for alert in health.observe(event)]
    both = first + [alert for event in events[cut:] for alert in health.observe(event)]
    assert repr(both) == repr(alerts(events))  # as text, in which NaN equals itself
