"""What the base said in one evaluation is not computed again in the next, and changes no number."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.unit.engine.random_adapters import save_adapter
from workbench.config import build_config
from workbench.engine.scoring.evaluate import evaluate
from workbench.engine.scoring.kept_answers import KeptAnswers
from workbench.engine.scoring.result_cache import ResultCache, key
from workbench.engine.scoring.scorer import Scorer
from workbench.evidence.document import Evidence
from workbench.evidence.probes import Probe, parse_probe
from workbench.evidence.settings import Plan, Settings, plan
from workbench.runs.folder import RunFolder, create, to_line
from workbench.tiny.starters import build_pairs, build_probes

PLAN = plan("tiny", Settings(samples=2, seed=1, answer_tokens=12))


def run(runs: Path, scale: float) -> RunFolder:
    held = [row | {"split": "holdout"} for row in build_pairs()["support-tone"][:4]]
    made = create(runs, build_config({"pairs": ["x"]}), map(to_line, held), {})
    save_adapter(made.adapter, scale)
    return made


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, RunFolder]:
    folder = tmp_path_factory.mktemp("runs")
    return run(folder / "a", 1.0), run(folder / "b", 0.2)


@pytest.fixture(scope="module")
def probes() -> list[Probe]:
    rows = build_probes()
    probes = [parse_probe(row, kind) for kind in ("attack", "neutral") for row in rows[kind][:3]]
    return [replace(probe, openings={"refusing": ("I can't", "I won't")}) for probe in probes]


def numbers(evidence: Evidence) -> Any:
    return evidence.probe_readings, evidence.pair_readings, evidence.examples, evidence.tokens, evidence.verdicts


class Work:
    """What is asked of models, by whether an adapter is on."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.base: list[str] = []
        self.run: list[str] = []
        for name in ("score_ids", "sample_ids"):
            patch.setattr(Scorer, name, self._counting(name, getattr(Scorer, name)))

    def _counting(self, name: str, method: Any) -> Any:
        def counted(scorer: Scorer, rows: Sequence[Any], adapter: Path | None = None, **how: Any) -> Any:
            (self.base if adapter is None else self.run).append(name)
            return method(scorer, rows, adapter, **how)

        return counted


def test_another_run_costs_its_own_share_and_gets_the_same_numbers(
    runs: tuple[RunFolder, RunFolder], probes: list[Probe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = Work(monkeypatch)
    alone = [numbers(evaluate(folder, probes, PLAN)) for folder in runs]
    cache = tmp_path / "scores.sqlite"
    work.base.clear()
    first = evaluate(runs[0], probes, PLAN, cache=cache)
    computed = list(work.base)
    assert computed.count("sample_ids") > 0
    work.base.clear()
    work.run.clear()
    second = evaluate(runs[1], probes, PLAN, cache=cache)
    assert [numbers(first), numbers(second)] == alone
    # What the run said is scored under the base: that alone is new.
    assert work.base == ["score_ids"]
    assert len(work.run) >= len(computed) - 1
    work.base.clear()
    again = evaluate(runs[1], probes, PLAN, cache=cache)
    assert (numbers(again), work.base) == (alone[1], [])


@pytest.mark.parametrize(
    "damage", ["a value", *(pytest.param(one, marks=pytest.mark.slow) for one in ("the file", "nothing but the place"))]
)
def test_a_damaged_cache_is_as_good_as_none(
    runs: tuple[RunFolder, RunFolder], probes: list[Probe], tmp_path: Path, damage: str
) -> None:
    cache = tmp_path / "scores.sqlite"
    expected = numbers(evaluate(runs[0], probes, PLAN, cache=cache))
    if damage == "a value":
        with sqlite3.connect(cache) as database:
            for name, value in database.execute("SELECT key, value FROM results").fetchall():
                changed = value[:-1] + bytes([value[-1] ^ 1])
                database.execute("UPDATE results SET value = ? WHERE key = ?", (changed, name))
    elif damage == "the file":
        cache.write_bytes(b"SQLite format 3\0" + b"x" * 5000)
    else:
        cache.unlink()
        cache.mkdir()
    assert numbers(evaluate(runs[0], probes, PLAN, cache=cache)) == expected


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE results SET value = NULL",
        "UPDATE results SET value = 7",
        "UPDATE results SET value = 'abcdefghijk'",
        "UPDATE results SET value = CAST(x'ff' AS TEXT)",
        "UPDATE results SET value = x''",
        "UPDATE results SET value = value || x'00'",
        "UPDATE results SET key = x'00'",
        "UPDATE results SET added = 'never'",
        "ALTER TABLE results RENAME COLUMN value TO other",
        "ALTER TABLE results RENAME TO other",
        "ALTER TABLE results ADD COLUMN more",
        "DROP TABLE results",
    ],
)
def test_what_is_no_result_is_given_to_nobody_and_made_anew(tmp_path: Path, statement: str) -> None:
    path, known = tmp_path / "scores.sqlite", {key("one"): b"a score"}
    with ResultCache(path) as results:
        results.put(known)
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute(statement)
    with ResultCache(path) as results:
        assert results.get(list(known)) in ({}, known)
        results.put(known)
    with ResultCache(path) as results:
        assert results.get(list(known)) == known


def test_a_cache_that_is_a_link_leaves_what_it_points_to(tmp_path: Path) -> None:
    path, elsewhere, known = tmp_path / "scores.sqlite", tmp_path / "elsewhere", {key("one"): b"a score"}
    path.symlink_to(elsewhere)
    with ResultCache(path) as results:
        results.put(known)
    with ResultCache(path) as results:
        assert results.get(list(known)) == known
    assert not elsewhere.exists()


def settings(**changes: int) -> Plan:
    return replace(PLAN, settings=PLAN.settings.model_copy(update=changes))


@pytest.mark.parametrize(
    "changed",
    [{"seed": 2}, *(pytest.param(one, marks=pytest.mark.slow) for one in ({"answer_tokens": 5}, {"samples": 1}))],
)
def test_other_settings_find_nothing_of_other_answers(
    runs: tuple[RunFolder, RunFolder], probes: list[Probe], tmp_path: Path, changed: dict[str, int]
) -> None:
    expected = numbers(evaluate(runs[0], probes, settings(**changed)))
    evaluate(runs[0], probes, PLAN, cache=tmp_path / "x")
    assert numbers(evaluate(runs[0], probes, settings(**changed), cache=tmp_path / "x")) == expected


def test_a_models_name_changes_with_all_that_its_answers_depend_on(tmp_path: Path) -> None:
    with ResultCache(tmp_path / "x") as cache:
        scorer, whole = Scorer("tiny", device="cpu"), Scorer("tiny", "none", device="cpu")
        name = KeptAnswers.of(scorer, cache).model
        assert name
        assert KeptAnswers.of(Scorer("tiny", device="cpu"), cache).model == name
        assert KeptAnswers.of(whole, cache).model != name
        scorer.tokenizer.chat_template += "{# another #}"
        assert KeptAnswers.of(scorer, cache).model != name
        whole.stops = frozenset({1, 2, 3})
        assert KeptAnswers.of(whole, cache).model != KeptAnswers.of(Scorer("tiny", "none", device="cpu"), cache).model


def test_two_processes_may_write_at_once_and_the_oldest_results_go_first(tmp_path: Path) -> None:
    names = [key(str(number)) for number in range(40)]
    with ResultCache(tmp_path / "x") as one, ResultCache(tmp_path / "x") as two:
        one.put({names[0]: b"first"})
        two.put({names[1]: b"second"})
        one.put({names[1]: b"second"})
        assert one.get(names[:3]) == two.get(names[:3]) == {names[0]: b"first", names[1]: b"second"}
    small = ResultCache(tmp_path / "x", most_bytes=2000)
    for name in names[2:]:
        small.put({name: bytes(92)})
    small.close()
    with ResultCache(tmp_path / "x") as left:
        found = left.get(names)
        assert names[-1] in found
        assert names[0] not in found
        assert 10 < len(found) <= 20
    few = ResultCache(tmp_path / "x", most=5)
    few.close()
    with ResultCache(tmp_path / "x") as left:
        assert [name in left.get(names) for name in (names[-1], names[34])] == [True, False]
