import json
from dataclasses import replace

import pytest

from workbench.child import Part, Progress
from workbench.config import build_config
from workbench.runs.machine import Gpu, Holder, Machine, Memory
from workbench.runs.model_shape import Shape
from workbench.runs.preview import (
    Counts,
    Doing,
    Measured,
    Preview,
    RowCounts,
    Trouble,
    Unmeasured,
    begin,
    fit_lines,
    learned_from,
    memory_rows,
    raw_line,
    rows_line,
    time_line,
    to_part,
)  # fmt: skip

GIB = 2**30
SHAPE = Shape(4096, 32, 32, 8, 128, 14336, 128256, tied=False)
GPU = Gpu(0, "NVIDIA H100", 80 * GIB, 60 * GIB, 0.5, (Holder(7, "vllm", 20 * GIB, ours=False),))
MACHINE = Machine(Memory(128 * GIB, 100 * GIB), (GPU,), GPU, 100 * GIB)
COUNTS = Counts(412, 50, 3, 7, 1, 200.4, 480, 512, 600, 900, tokens=120_000, holdout_tokens=15_000)
MEASURED = Measured(0.5, 1_000, 1, 0.25, 2_000, 30.0, 20 * GIB)


def preview(machine=MACHINE, shape=SHAPE, **values):
    return Preview(build_config({"pairs": ["x"], **values}), machine, shape)


@pytest.mark.parametrize(
    "told",
    [
        RowCounts(1, 2, 3, 2),
        COUNTS,
        MEASURED,
        Unmeasured("busy", "run", 3.5),
        Trouble("t", "m", "h", memory=True),
    ],
)
def test_what_is_told_comes_back_as_it_went(told):
    assert learned_from(Part(json.loads(json.dumps(to_part(told))))) == told


def test_plain_text_and_what_is_to_be_drafted_are_said():
    known = preview().after(RowCounts(412, 50, 0, 50, 7))
    assert rows_line(known) == "412 train · 50 held out · 7 to be drafted"
    assert raw_line(known) == raw_line(known.after(COUNTS)) == ""
    told = raw_line(known.after(replace(COUNTS, raw=462)))
    assert "462 pairs are plain text" in told
    assert "workbench check x --model tiny --fix plain-text" in told


def test_progress_is_what_it_does_now():
    assert learned_from(Progress("counting tokens")) == Doing("counting tokens")


def test_it_grows_by_what_is_told():
    first = preview(gradient_accumulation=4)
    assert (first.steps, first.seconds, rows_line(first), time_line(first)) == (None, None, "", "")
    rows = first.after(RowCounts(415, 50, 2, 50))
    assert rows.steps == 26
    counted = rows.after(COUNTS)
    assert counted.needed < rows.needed
    assert rows_line(counted) == "412 train · 50 held out · 3 dropped · 7 truncated · 1 identical · 2 unusable"
    done = counted.after(Doing("measuring a step")).after(MEASURED)
    assert done.doing == ""
    # By tokens: those of the run, and seven evaluations, at the start, after every fifth of the run and at the end.
    assert done.seconds == pytest.approx(30 + 120 * 0.5 + 7 * 7.5 * 0.25)
    assert done.step_seconds == pytest.approx(120 * 0.5 / 26)
    # What the reference gives is learned once: in the first epoch, and in the first evaluation.
    twice = (
        preview(gradient_accumulation=4, epochs=2.0, fast=True)
        .after(COUNTS)
        .after(replace(MEASURED, reference_seconds=0.2))
    )
    assert twice.seconds == pytest.approx(30 + 120 * (2 * 0.5 + 0.2) + 7 * 7.5 * 0.25 + 15 * 0.2)
    assert time_line(done) == "26 steps of 16 · about 2 min, 2.31 s a step (measured on 1,000 tokens)"
    assert done.needed == pytest.approx(20 * GIB * 1.06 + 600 * 2**20, rel=0.001)
    assert done.fits


def test_time_goes_by_tokens_whatever_was_measured():
    """A trial of a tenth of the tokens in a tenth of the time says the same; half the steps, half the time."""
    seconds = preview().after(COUNTS).after(MEASURED).seconds
    few = Measured(0.05, 100, 1, 0.025, 200, 30.0, 0)
    assert preview().after(COUNTS).after(few).seconds == pytest.approx(seconds)
    training = [preview(epochs=epochs).after(COUNTS).after(MEASURED)._training_seconds(MEASURED, steps)
                for epochs, steps in ((1.0, 26), (0.5, 13), (3.0, 78))]  # fmt: skip
    assert [each / training[0] for each in training] == pytest.approx([1, 0.5, 3])
    # Two processes have half each.
    both = preview(launcher="accelerate", processes=2, batch_size=8).after(COUNTS).after(MEASURED)
    assert both.steps == 26
    assert both.step_seconds == pytest.approx(120 * 0.5 / 26 / 2)


def test_a_pass_counts_beside_its_tokens():
    """Weights are unpacked once a pass: what few tokens took is mostly that, and more tokens do not take it again."""
    config, few = {"batch_size": 103}, replace(MEASURED, tokens=100, pass_tokens=900.0, peak_bytes=0)
    cpu = Machine(MACHINE.memory, (), None, 100 * GIB)
    found = preview(cpu, **config).after(COUNTS).after(few)
    # Four steps of 30,000 tokens each, which are eight passes of the fast path's budget; measured: one of 100.
    assert found.steps * found.step_seconds == pytest.approx(0.5 * (120_000 + 4 * 8 * 900) / 1_000)
    plain = preview(cpu, fast=False, **config).after(COUNTS).after(few)
    assert plain.steps * plain.step_seconds == pytest.approx(0.5 * (120_000 + 4 * 900) / 1_000)


def test_memory_that_was_not_measured_is_estimated():
    quiet = preview(Machine(MACHINE.memory, (), None, 100 * GIB)).after(COUNTS)
    assert quiet.after(MEASURED).needed == MEASURED.peak_bytes
    few = quiet.after(replace(MEASURED, peak_bytes=0))
    assert few.needed == quiet.needed == quiet.estimate.total
    assert memory_rows(few) == memory_rows(quiet)


def test_what_a_model_needs_that_cannot_share_prompts_is_told_until_it_is_measured():
    found = preview(max_length=1024).after(COUNTS)
    assert [row[0] for row in memory_rows(found)][-2:] == [
        "estimate with a line a response", "estimate with rows as TRL has them",
    ]  # fmt: skip
    assert not any("cannot share" in line for line in fit_lines(found))
    tight = Gpu(0, "NVIDIA H100", 80 * GIB, 12 * GIB, 0.5, ())
    close = replace(found, machine=replace(MACHINE, gpus=(tight,), gpu=tight))
    assert close.fits
    assert any("would not fit if the model cannot share prompts: " in line for line in fit_lines(close))
    assert close.after(MEASURED).fallbacks == preview(fast=False).fallbacks == preview(method="kto").fallbacks == {}


def test_a_busy_machine_is_told_beside_the_number():
    busy = replace(MEASURED, load=6.2, cores=2)
    assert busy.busy
    assert time_line(preview().after(COUNTS).after(busy)).endswith(
        "(measured on 1,000 tokens while the machine was busy: load 6.2 on 2 cores)"
    )
    for load, cores in ((0.0, 1), (0.4, 2), (3.0, 16)):
        assert not replace(MEASURED, load=load, cores=cores).busy


def test_an_earlier_run_tells_the_pace():
    found = preview().after(COUNTS).after(Unmeasured("busy", "2026-01-01-tone", 8.0))
    assert found.seconds == 26 * 16 / 8
    assert "as in 2026-01-01-tone" in time_line(found)
    assert any("busy" in line for line in fit_lines(found))


def test_what_does_not_fit_comes_with_what_would():
    large = preview(batch_size=64, quantization="none", fast=False).after(RowCounts(1000, 10, 0, 10))
    assert large.fits is False
    assert large.changes
    lines = fit_lines(large)
    assert lines[0].startswith("✘ does not fit")
    assert "--set gradient_accumulation=" in lines[1]
    assert "20.0 GiB held by vllm (7)" in lines[2]
    tried = preview().after(Trouble("Out of memory", "x", memory=True))
    assert tried.fits is False


def test_a_full_disk_does_not_fit():
    full = preview(Machine(MACHINE.memory, (GPU,), GPU, GIB))
    assert full.fits is False
    assert "disk is too small" in fit_lines(full)[0]


def test_an_unknown_model_is_neither(tmp_path):
    found = begin(tmp_path, build_config({"pairs": ["x"], "model": "nobody/has-this"}))
    assert (found.fits, found.needed, found.changes) == (None, None, {})
    assert fit_lines(found)[0].startswith("▲ The model is not on this machine yet")
    assert memory_rows(found) == []
