"""Tasks of lm-eval on local files: what base and run score, item by item, is what the model itself says."""

import json
from pathlib import Path

import pytest

from tests.unit.engine.random_adapters import save_adapter
from workbench.config import build_config
from workbench.engine.model.inference import score_batches
from workbench.engine.scoring.asked_model import AskedModel, base_and_run
from workbench.engine.scoring.capabilities import read_tasks
from workbench.engine.scoring.evaluate import evaluate
from workbench.engine.scoring.scorer import Scorer
from workbench.errors import WorkbenchError
from workbench.evidence.capabilities import TasksAsked
from workbench.evidence.probes import parse_probe
from workbench.evidence.settings import Settings, plan
from workbench.runs.folder import RunFolder, create, to_line
from workbench.tiny.starters import build_pairs, build_probes

pytest.importorskip("lm_eval", reason="needs the extra [eval]")
pytestmark = pytest.mark.slow

ITEMS = 12
CHOICES = [" Paris.", " Berlin.", " a cat."]
TASK = """
task: capitals
dataset_path: json
dataset_kwargs:
  data_files:
    test: {file}
output_type: multiple_choice
test_split: test
doc_to_text: "{{{{question}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: answer
target_delimiter: ""
metric_list:
  - metric: acc
"""


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tasks")
    rows = [
        {"question": f"The {word} of France is", "choices": CHOICES, "answer": number % 3}
        for number, word in enumerate(["capital", "city", "name", "sound"] * (ITEMS // 4))
    ]
    (folder / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "capitals.yaml").write_text(TASK.format(file=folder / "items.jsonl"))
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run whose adapter makes the model babble."""
    row = build_pairs()["support-tone"][0] | {"split": "train"}
    made = create(tmp_path_factory.mktemp("runs"), build_config({"pairs": ["x"]}), [to_line(row)], {})
    save_adapter(made.adapter)
    return made


def test_items_are_scored_as_the_model_has_them(tasks: Path, run: RunFolder) -> None:
    scorer = Scorer("tiny", device="cpu")
    models = AskedModel(scorer, base_and_run(run.adapter), lambda _: None)
    (reading,) = read_tasks(models, TasksAsked(["capitals"], str(tasks)), seed=0)
    assert (reading.task, reading.metric) == ("capitals", "acc")
    rows = [json.loads(line) for line in (tasks / "items.jsonl").read_text().splitlines()]
    for column, values in zip(models.columns, (reading.before, reading.after), strict=True):
        model = scorer.adapters.switched(column[1])
        expected = []
        for row in rows:
            pairs = []
            for choice in CHOICES:
                prompt = scorer.tokenizer(row["question"])["input_ids"]
                whole = scorer.tokenizer(row["question"] + choice)["input_ids"]
                pairs.append((prompt, whole[len(prompt) :]))
            sums = [scores.sum().item() for scores in score_batches(model, pairs)]
            expected.append(float(sums.index(max(sums)) == row["answer"]))
        assert values == expected
    assert 0 < sum(reading.before) < ITEMS


def test_a_task_has_a_verdict_of_its_own(tasks: Path, run: RunFolder) -> None:
    probes = [parse_probe(row, "x") for row in build_probes()["neutral"][:3]]
    asked = TasksAsked(["capitals"], str(tasks), limit=8)
    few = plan("tiny", Settings(samples=0, fewest=6))
    evidence = evaluate(run, probes, few, tasks=asked)
    (reading,) = evidence.task_readings
    assert len(reading.before) == 8
    verdict = next(verdict for verdict in evidence.verdicts if verdict.kind == "task")
    assert verdict.name == "capability kept: capitals"
    change = sum(reading.after) / 8 - sum(reading.before) / 8
    assert verdict.value == pytest.approx(change)
    assert verdict.holds is (change >= -0.05)
    too_few = evaluate(run, probes, plan("tiny", Settings(samples=0)), tasks=asked)
    verdict = next(verdict for verdict in too_few.verdicts if verdict.kind == "task")
    assert (verdict.holds, verdict.message) == (None, "8 items of capitals, 40 are needed")


def test_a_task_that_nobody_knows_is_told(tasks: Path, run: RunFolder) -> None:
    models = AskedModel(Scorer("tiny", device="cpu"), base_and_run(run.adapter), lambda _: None)
    with pytest.raises(WorkbenchError, match="no task 'capitls'"):
        read_tasks(models, TasksAsked(["capitls"], str(tasks)), seed=0)
