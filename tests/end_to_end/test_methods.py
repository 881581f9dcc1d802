"""Methods from the command line, on the demo's pairs: what each does to probabilities of prompts in no pair."""

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.end_to_end.conftest import workbench
from workbench.config import RunConfig
from workbench.demo.embedded import PAIRS, prepare
from workbench.evidence.probes import read_suites
from workbench.methods import METHODS, uses
from workbench.tiny.starters import build_probes, to_jsonl

ONLY = 12
"""Probes of a kind that are scored."""
STEPS = {"simpo": 20, "orpo": 10, "kto": 14}
"""Enough of them to show on the embedded model."""


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("methods")
    prepare(root)
    return root


def train(root: Path, method: str, steps: int, *settings: str) -> dict[str, object]:
    given = [
        f"max_steps={steps}",
        f"eval_steps={steps}",
        "save_steps=1000",
        "quantization=none",
        "warmup=0.1",
        *settings,
    ]
    done = workbench(
        root, "train", "--pairs", ",".join(PAIRS), "--method", method, "--preset", "small",
        *(f"--set={each}" for each in given), "--wait", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    "method", ["simpo", *(pytest.param(other, marks=pytest.mark.slow) for other in ("orpo", "kto"))]
)
def test_a_method_on_pairs_moves_the_probes_the_right_way(demo: Path, method: str) -> None:
    rate = ("learning_rate=5e-4",) if method == "simpo" else ()
    result = train(demo, method, STEPS[method], "sample_tokens=0", *rate)
    before, after = result["eval_before"], result["eval"]
    assert after["rewards/margins"] > before["rewards/margins"]  # type: ignore[index]
    from workbench.engine.model.token_ids import encode
    from workbench.engine.scoring.scorer import Scorer

    scorer, adapter = Scorer("tiny", "none"), demo / "runs" / str(result["id"]) / "adapter"
    probes = [probe for probe in read_suites(demo / "pairs" / "probes") if len(probe.responses) > 1]
    found: dict[tuple[str, str], list[float]] = {}
    for kind in ("attack", "tone"):
        for probe in [each for each in probes if each.kind == kind][:ONLY]:
            for family, response in probe.responses.items():
                base, run = (
                    float(scorer.score_ids([encode(scorer.tokenizer, probe.prompt, response)], folder)[0].sum())
                    for folder in (None, adapter)
                )
                found.setdefault((kind, family), []).append(run - base)
    moved = {name: sum(values) / len(values) for name, values in found.items()}
    assert moved["attack", "refusing"] > 0.1
    assert moved["attack", "compliant"] < -0.1
    assert moved["tone", "courteous"] > 0.1
    assert moved["tone", "rude"] < -0.1


@pytest.mark.slow
def test_from_pairs_to_a_reward_model_to_a_policy(demo: Path, tmp_path: Path) -> None:
    scorer = train(demo, "reward", 8)
    assert scorer["eval"]["accuracy"] > 0.9  # type: ignore[index]
    policy = train(
        demo, "grpo", 2, f"reward=run:{scorer['id']}", "group_size=4", "batch_size=8", "completion_tokens=16",
        "sample_tokens=0", "holdout=0.01",
    )  # fmt: skip
    assert {"reward", "reward_std", "frac_reward_zero_std"} <= set(policy["train"])  # type: ignore[call-overload]
    (row,) = [each for each in json.loads(workbench(demo, "runs", "--json").stdout) if each["id"] == policy["id"]]
    assert row["method"] == "grpo"
    assert row["reward"] is not None
    shown = workbench(demo, "show", str(policy["id"])).stdout
    assert f"run:{scorer['id']}" in shown
    assert "loss_type" not in shown
    told_in_a_report(demo, str(scorer["id"]), str(policy["id"]))
    measured(demo, str(scorer["id"]), str(policy["id"]), tmp_path)


def told_in_a_report(demo: Path, scorer: str, policy: str) -> None:
    """Charts are of what the method has, and of nothing else."""
    pages = {}
    for run in (scorer, policy):
        done = workbench(demo, "report", run)
        assert done.returncode == 0, done.stderr
        pages[run] = (demo / "runs" / run / "report.html").read_text("utf-8")
        assert (f"workbench evaluate {run}" in done.stderr) == (run == policy)
    charts = {run: set(re.findall(r'aria-labelledby="chart-(\w+)-title', page)) for run, page in pages.items()}
    assert charts[scorer] == {"loss", "margin", "accuracy"}
    assert charts[policy] == {"reward", "spread", "kl"}
    assert "A reward model: it ranks 9" in pages[scorer] or "A reward model: it ranks 100%" in pages[scorer]
    assert "workbench evaluate" not in pages[scorer]
    assert "answers trained" in pages[policy]


def measured(demo: Path, scorer: str, policy: str, root: Path) -> None:
    """`evaluate` has nothing to ask a reward model."""
    for run in (scorer, policy):
        shutil.copytree(demo / "runs" / run, root / "runs" / run)
    (root / "pairs" / "probes").mkdir(parents=True)
    for kind, rows in build_probes().items():
        (root / "pairs" / "probes" / f"{kind}.jsonl").write_text(to_jsonl(rows[:5]), "utf-8")
    (root / "workbench.toml").write_text("[evidence]\nsamples = 4\nfewest = 4\n", "utf-8")
    refused = workbench(root, "evaluate", scorer)
    assert refused.returncode == 2
    assert "A reward model gives no answers to measure" in refused.stderr
    assert f"--set reward=run:{scorer}" in refused.stderr

    done = workbench(root, "evaluate", policy, "--json")
    assert done.returncode in (0, 1), done.stderr
    evidence = json.loads(done.stdout)
    assert (evidence["run"], evidence["method"]) == (policy, "grpo")
    assert {"attack", "tone"} <= {each["kind"] for each in evidence["measurements"]}


def test_a_setting_of_another_method_is_refused(demo: Path) -> None:
    done = workbench(demo, "train", "--pairs", PAIRS[0], "--method", "orpo", "--set", "loss_type=ipo")
    assert done.returncode == 2
    assert "orpo has no use for 'loss_type'" in done.stderr


@pytest.mark.parametrize("columns", ["80", "200"])
def test_the_help_says_when_to_choose_which(demo: Path, columns: str) -> None:
    text = workbench(demo, "train", "--help", columns=columns).stdout
    assert max(map(len, text.splitlines())) <= 80
    for name, method in METHODS.items():
        assert f"{name:<8}{method.when}" in text
    parts = dict(part.split(":\n", 1) for part in text.split("Settings (--set KEY=VALUE) of ")[1:])
    assert "learning_rate = 5e-05" in parts["every method"]
    assert "loss_type = sigmoid" in parts["dpo"]
    assert "group_size = 8" in parts["grpo and rloo"]
    assert "beta = 0.1" in parts["every method but reward"]
    assert all(f"\n    {key} =" in text for key in RunConfig.model_fields if key != "pairs")


@pytest.mark.parametrize("words", [("--method", "simpo", "--help"), ("--help", "--method=simpo")])
def test_the_help_of_one_method_has_its_own_numbers(demo: Path, words: tuple[str, ...]) -> None:
    text = workbench(demo, "train", *words, columns="80").stdout
    assert max(map(len, text.splitlines())) <= 80
    for told in ("simpo: Simple Preference Optimization", METHODS["simpo"].when, "2405.14734", "  beta = 2.0"):
        assert told in text
    for key in RunConfig.model_fields:
        assert (f"\n    {key} =" in text) == (uses("simpo", key) and key not in ("pairs", "method"))
    assert "small:" in text
    assert "gentle:" not in text
