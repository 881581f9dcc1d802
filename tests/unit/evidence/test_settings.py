from pathlib import Path

import pytest

from workbench.behaviours.behaviour import english
from workbench.errors import WorkbenchError
from workbench.evidence.claims import DEFAULTS
from workbench.evidence.settings import Plan, Settings, read_plan, read_settings

EXAMPLE = """
[evidence]
samples = 4

[behaviour.on_brand]
phrases = ["Acme", "we at Acme"]

[behaviour.refusing]
phrases = ["nope"]

[claim."on-brand answers"]
kind = "tone"
behaviour = "on_brand"
by = ["samples"]
before = 0.0
at_least = 0.9

[claim."refusals of attacks"]
at_least = 0.8

[claim."helpful answers to benign look-alikes"]
at_least = 0.5
"""


def read(tmp_path: Path, text: str = "", beside: str = "", model: str = "some/model") -> Plan:
    path, suites = tmp_path / "workbench.toml", tmp_path / "probes"
    suites.mkdir(exist_ok=True)
    path.write_text(text, "utf-8")
    (suites / "mine.toml").write_text(beside, "utf-8")
    return read_plan(path, suites, model)


def test_what_is_not_there_has_its_default(tmp_path: Path) -> None:
    path = tmp_path / "workbench.toml"
    defaults = read_settings(path)
    assert defaults.model_dump() == Settings().model_dump()
    path.write_text("[other]\nx = 1\n[evidence]\nsamples = 5\n", "utf-8")
    assert read_settings(path).model_dump() == defaults.model_dump() | {"samples": 5}
    plan = read_plan(tmp_path / "absent.toml", tmp_path / "absent", "some/model")
    assert (plan.settings, plan.behaviours, plan.claims) == (Settings(), english(), DEFAULTS)
    assert next(iter(read_plan(tmp_path / "absent.toml", tmp_path / "absent", "tiny").behaviours)) == "compliant"


def test_behaviours_and_claims_are_added_and_changed(tmp_path: Path) -> None:
    plan = read(tmp_path, EXAMPLE)
    assert plan.settings.samples == 4
    assert plan.behaviours["on_brand"].phrases == ["Acme", "we at Acme"]
    assert plan.behaviours["refusing"].regexes == []
    added = plan.claims["on-brand answers"]
    assert (added.kind, added.behaviour, added.by, added.threshold) == ("tone", "on_brand", ["samples"], 0.9)
    changed = plan.claims["refusals of attacks"]
    assert (changed.kind, changed.behaviour, changed.at_least) == ("attack", "refusing", 0.8)
    other_bound = plan.claims["helpful answers to benign look-alikes"]
    assert (other_bound.kept, other_bound.at_least) == (None, 0.5)
    assert list(plan.claims) == [*DEFAULTS, "on-brand answers"]
    assert plan.known.root == tmp_path


def test_a_claim_that_does_not_suit_is_left_out(tmp_path: Path) -> None:
    plan = read(tmp_path, '[claim."rude answers"]\nskip = true\n')
    assert list(plan.claims) == [name for name in DEFAULTS if name != "rude answers"]


def test_beside_a_suite_there_may_be_rules_but_nothing_that_runs(tmp_path: Path) -> None:
    assert read(tmp_path, beside='[behaviour.odd]\nphrases = ["odd"]').behaviours["odd"].phrases == ["odd"]
    for line in ('function = "x.py:f"', 'judge = "tiny"\nquestion = "?"', 'classifier = "x"\nlabel = "y"'):
        with pytest.raises(WorkbenchError, match="may not run code"):
            read(tmp_path, beside=f"[behaviour.odd]\n{line}")
        assert "odd" in read(tmp_path, f"[behaviour.odd]\n{line}").behaviours


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[evidence]\nsample = 1\n", "Did you mean 'samples'?"),
        ("[evidence]\nfewest = 1\n", "fewest: 1 is below 2\n"),
        ("[evidence]\nfewest = 'many'\n", 'fewest: "many" is not a whole number'),
        ("[evidence\n", "workbench.toml"),
        ("evidence = 3\n", "is no section"),
        ("behaviour = 3\n", "is no section"),
        ('[behaviour.odd]\nphrase = ["x"]\n', "Did you mean 'phrases'?"),
        ("[behaviour.odd]\n", "nor is there another test"),
        ("[behaviour.empty]\nphrases = ['x']\n", "cannot be redefined"),
        ("[behaviour.odd]\nunless = ['nobody']\n", "No behaviour named 'nobody'"),
        ("[behaviour.a]\nunless = ['b']\n[behaviour.b]\nunless = ['a']\n", "a → b → a"),
        ('[claim."mine"]\nkind = "attack"\nbehaviour = "refusing"\n', "at_least: or at_most, kept or lost"),
        ('[claim."mine"]\nkind = "attack"\nbehaviour = "odd"\nat_least = 0.5\n', "No behaviour named 'odd'"),
        ('[claim."mine"]\nkind = "attack"\nbehavior = "odd"\n', "Did you mean 'behaviour'?"),
        ('[claim."refusals of attacks"]\nat_most = 0.5\nat_least = 0.1\n', "at_least: or at_most, kept or lost"),
    ],
)
def test_what_is_wrong_is_told_with_file_and_key(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(WorkbenchError) as raised:
        read(tmp_path, text)
    assert told in str(raised.value)
    assert "workbench.toml" in raised.value.message
