"""Model cards: what they tell, and what they keep to themselves."""

import json

from workbench.config import build_config
from workbench.engine.shipping.model_card import MergeFacts, card, write_card
from workbench.runs.folder import create
from workbench.runs.merging import drift

VERDICT = {
    "name": "refusals of attacks, by probability",
    "holds": True,
    "value": 0.93912,
    "interval": [0.9, None],
    "threshold": 0.6,
    "samples": 48,
    "message": "before 0.184, after 0.939 | <script>",
}
BAD = VERDICT | {"name": "rude answers", "holds": False, "interval": [0.1, 0.25]}
FEW = VERDICT | {"name": "helpful answers", "holds": None, "value": None, "interval": None}


def run(tmp_path, model="org/base-8B", **values):
    folder = create(
        tmp_path / "runs", build_config({"pairs": ["tone"], "model": model, **values}), [], {"tone": "ab" * 32}
    )
    folder.adapter.mkdir()
    return folder


def told(folder, *verdicts):
    folder.evidence.write_text(
        json.dumps({"created": "2026-03-14T15:09:00", "quantization": "nf4", "verdicts": verdicts})
    )
    return card(folder)


def test_the_verdicts_are_a_table(tmp_path):
    text = told(run(tmp_path), VERDICT, BAD, FEW)
    assert "(2026-03-14T15:09:00)" in text
    cells = [line.strip("| ").split("| ") for line in text.splitlines() if line.endswith("&lt;script> |")]
    rows = [[cell.strip() for cell in row] for row in cells]
    assert rows[0][:6] == ["refusals of attacks, by probability", "holds", "0.9391", "0.9 to ∞", "0.6", "48"]
    assert rows[0][6:] == ["before 0.184, after 0.939 \\", "&lt;script>"]
    assert rows[1][1:4] == ["**does not hold**", "0.9391", "0.1 to 0.25"]
    assert rows[2][1:4] == ["cannot be said", "", ""]


def test_without_evidence_or_with_a_damaged_one_nothing_is_claimed(tmp_path):
    folder = run(tmp_path)
    assert "## Evidence" not in card(folder)
    for text in ("{", "[]", "{}", '{"verdicts": [1]}', '{"verdicts": [{"name": "x", "holds": 7}]}'):
        folder.evidence.write_text(text)
        assert "## Evidence" not in card(folder)


def test_the_hub_learns_base_and_kind_and_the_data(tmp_path):
    text = card(run(tmp_path))
    head = text.split("---")[1]
    assert "base_model: org/base-8B\nbase_model_relation: adapter\n" in head
    assert f"- tone: sha256 `{'ab' * 32}`" in text
    assert "\nMethod: " in text
    assert "\nLoss: sigmoid.\n" in text
    merged = card(run(tmp_path), MergeFacts("bf16", 8_030_261_248, drift([[-1.0], [-2.0]], [[-1.5], [-2.0]])))
    assert "library_name: transformers\n" in merged
    assert "base_model_relation: finetune\n" in merged
    assert "8,030,261,248 parameters" in merged
    assert "\nchosen         \u22120.50      0.50    0.50    \u22120.500     0.500   0.500\n" in merged
    assert "\n- 0 of 1 held-out pair changed sides" in merged
    assert "in 4 bits (NF4)" in merged


def test_a_folder_of_this_machine_is_told_by_its_name_alone(tmp_path):
    base = tmp_path / "secret project" / "base"
    base.mkdir(parents=True)
    text = card(run(tmp_path, model=str(base)))
    assert "# LoRA adapter for base\n" in text
    assert "secret project" not in text
    assert "base_model" not in text
    assert 'model = "base"' in text


def test_writing_it_anew_takes_in_what_came_later(tmp_path):
    folder = run(tmp_path)
    write_card(folder)
    assert "## Evidence" not in (folder.adapter / "README.md").read_text()
    told(folder, VERDICT)
    write_card(folder)
    assert "refusals of attacks" in (folder.adapter / "README.md").read_text()
    assert [path.name for path in folder.adapter.iterdir()] == ["README.md"]
