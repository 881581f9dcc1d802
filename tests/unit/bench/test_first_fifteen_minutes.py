"""The script for the first card: every step is bounded, how it ends is told, and the next is taken all the same."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.bench import gpu
from tests.bench.gpu_side import kind_of
from tests.gpu import first_fifteen_minutes
from tests.gpu.first_fifteen_minutes import NAME, Step, Taken, compared, main, run, steps

SCRIPT = Path(__file__).parents[3] / "tests/gpu/first_fifteen_minutes.sh"


def a_step(code, limit=60.0, *, needs_card=False, **others):
    command = (sys.executable, "-c", code)
    return Step("one", command, limit, "one.out", lambda path: json.loads(path.read_text()), needs_card, **others)


@pytest.mark.parametrize(
    ("code", "ended", "result"),
    [
        ("print('{\"seen\": 1}')", "done", {"seen": 1}),
        ("raise SystemExit('no card')", "failed", None),
        ("print('no JSON')", "failed", None),
        ("import time; print('{\"seen\": 1}', flush=True); time.sleep(60)", "out of time", {"seen": 1}),
    ],
    ids=["done", "failed", "silent", "late"],
)
def test_a_step_is_bounded_and_its_end_told(code, ended, result, tmp_path):
    taken = run(a_step(code, 2.0 if ended == "out of time" else 60.0), tmp_path, 60.0, dry=False)
    assert (taken.ended, taken.result) == (ended, result)
    assert ("no card" in taken.log) == (code.startswith("raise"))


def test_what_needs_a_card_and_has_none_is_skipped_and_what_ran_without_is_tried(tmp_path):
    all_skipped = a_step('print(\'{"tests": 7, "skipped": 7}\')', needs_card=True)
    assert [run(all_skipped, tmp_path, 60.0, dry=dry).ended for dry in (True, False)] == ["skipped", "skipped"]
    assert run(a_step("print(1)"), tmp_path, 60.0, dry=True).ended == "tried"


def test_what_a_step_started_ends_with_it(tmp_path):
    child = "import time; time.sleep(60)"
    code = f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', {child!r}]); print(p.pid)"
    taken = run(a_step(code), tmp_path, 60.0, dry=False)
    assert taken.ended == "done"
    for _ in range(1000):
        if not _runs(taken.result):
            return
        time.sleep(0.01)
    raise AssertionError("it runs on")


def _runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_no_step_begins_once_the_time_is_over_and_no_result_of_a_run_before_counts(tmp_path):
    assert run(a_step("print(1)"), tmp_path, 0.0, dry=False).ended == "left out"
    (tmp_path / "one.out").write_text("1")
    assert run(a_step(""), tmp_path, 60.0, dry=False).result is None


def test_all_that_the_first_card_is_asked_is_asked_in_a_dry_run_too(tmp_path):
    planned = [list(steps(tmp_path, dry=dry, rows=Path("rows"))) for dry in (True, False)]
    names = [[step.name for step in each if not step.instead_of] for each in planned]
    assert names[0] == names[1]
    assert set(names[0]) == {
        "doctor", "tests", "peak", "workbench", "stock", "all layers again", "kl", "score", "profile", "estimates",
    }  # fmt: skip
    # The limits of what matters most fit into the time together.
    limits = {step.name: step.limit for step in planned[1]}
    assert sum(limits[name] for name in ("doctor", "tests", "peak", "workbench", "stock", "kl", "score")) <= 15 * 60


def _main(monkeypatch, tmp_path, planned, *given):
    monkeypatch.setattr(first_fifteen_minutes, "steps", lambda *_, **__: iter(planned))
    monkeypatch.setattr(gpu, "has_cuda", lambda: True)
    code = main(["--to", str(tmp_path), *given])
    found = json.loads((tmp_path / f"{NAME}.json").read_text())
    return code, [(each["name"], each["ended"]) for each in found["steps"]]


def test_a_step_that_fails_keeps_no_other_from_being_taken(monkeypatch, tmp_path):
    planned = [a_step("raise SystemExit('broken')"), a_step("print(1)")]
    assert _main(monkeypatch, tmp_path, planned) == (1, [("one", "failed"), ("one", "done")])
    assert _main(monkeypatch, tmp_path, planned[1:]) == (0, [("one", "done")])
    # Minutes that an installation took are gone.
    assert _main(monkeypatch, tmp_path, planned[1:], "--spent", "901") == (1, [("one", "left out")])


@pytest.mark.parametrize("out_of_memory", [True, False])
def test_stock_trl_gets_fewer_pairs_at_once_where_it_had_no_memory(out_of_memory, monkeypatch, tmp_path):
    first = a_step(f"print('{json.dumps({'out_of_memory': out_of_memory})}')")
    planned = [first, a_step("print(2)", instead_of="one")]
    code, taken = _main(monkeypatch, tmp_path, planned)
    assert (code, len(taken)) == (0, 1 + out_of_memory)


def test_what_is_compared_are_equal_pairs_a_step():
    ours = {"pairs_trained": 128, "seconds": 2.0, "peak_bytes": 12e9, "estimated_bytes": 13.2e9}
    stock = {"pairs_trained": 128, "seconds": 8.0, "peak_bytes": 24e9}
    least = ours | {"seconds": 3.0, "peak_bytes": 6e9}
    taken = [
        Taken(name, "done", result=result)
        for name, result in (("workbench", ours), ("stock", stock), ("all layers again", least))
    ]
    assert compared(taken) == pytest.approx(
        {
            "pairs_a_second": 64,
            "estimate_of_peak": 1.1,
            "times_stock": 4,
            "of_its_memory": 0.5,
            "of_its_memory_where_all_is_computed_again": 0.25,
        }
    )
    assert compared([Taken("workbench", "failed"), taken[1]]) == {}
    assert compared([Taken("workbench", "tried", result=ours), taken[1]]) == {}


@pytest.mark.parametrize(
    ("given", "cuda", "said"),
    [
        (["--only", "peek"], True, "no steps: peek; there are doctor"),
        ([], False, "there is no CUDA device here; --dry-run"),
        (["--rows", "none.jsonl"], True, "there is no none.jsonl; name the hh rows with --rows FILE"),
    ],
    ids=["unknown", "no card", "no rows"],
)
def test_what_cannot_be_done_is_told_before_any_time_is_spent(given, cuda, said, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(gpu, "has_cuda", lambda: cuda)
    with pytest.raises(SystemExit) as end:
        main([*given, "--to", str(tmp_path / "to")])
    assert end.value.code == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "to").exists()


@pytest.mark.parametrize(
    ("kernel", "kind"),
    [
        ("triton_tem_fused_flex_attention_0", "attention"),
        ("void kDequantizeBlockwise<__nv_bfloat16, 512, 64, 8, 2>", "4-bit"),
        ("sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn_n_tilesize128x128x64", "matrix products"),
        ("nvjet_tst_192x192_64x4_2x1_v_bz_TNT", "matrix products"),
        ("void at::native::vectorized_elementwise_kernel<4, at::native::silu_kernel>", "element by element"),
        ("void at::native::(anonymous namespace)::multi_tensor_apply_kernel<FusedAdamMathFunctor>", "optimizer"),
        ("void at::native::reduce_kernel<512, 1, at::native::ReduceOp<float, MeanOps>>", "softmax and norms"),
        ("Memcpy HtoD (Pageable -> Device)", "copies and casts"),
        ("a kernel of another name", "others"),
    ],
)
def test_kernels_are_told_by_their_names(kernel, kind):
    assert kind_of(kernel) == kind


@pytest.mark.timeout(900)
@pytest.mark.parametrize("only", [pytest.param("", marks=pytest.mark.slow), "tests,workbench"], ids=["all", "few"])
def test_the_script_runs_dry(only, tmp_path):
    chosen = ["--only", only] if only else []
    command = [SCRIPT, "--dry-run", "--to", tmp_path, *chosen]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    found = json.loads((tmp_path / f"{NAME}.json").read_text())
    assert json.loads(done.stdout)["steps"] == found["steps"]
    assert done.returncode == 0, done.stderr
    ended = {each["name"]: each["ended"] for each in found["steps"]}
    needing = {name: "skipped" for name in ("tests", "estimates") if name in ended}
    assert ended == dict.fromkeys(ended, "tried") | needing
    assert len(ended) == (2 if only else 10)
    by_name = {each["name"]: each["result"] for each in found["steps"]}
    assert by_name["tests"]["skipped"] == by_name["tests"]["tests"] > 0
    assert by_name["workbench"]["estimated_bytes"] > 0
    assert found["compared"] == {}
    assert (tmp_path / f"{NAME}.md").read_text().startswith("Tried on the CPU: nothing here is measured on a card.")
    if not only:
        assert sum(by_name["profile"]["milliseconds"].values()) > 0


def test_wheels_that_are_not_there_are_named(tmp_path):
    done = subprocess.run([SCRIPT, "--wheels", tmp_path / "none"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--wheels names no folder" in done.stderr
