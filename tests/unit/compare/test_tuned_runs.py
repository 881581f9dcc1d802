from __future__ import annotations

from datetime import datetime
from pathlib import Path

from workbench.compare.comparison import BASE
from workbench.compare.messages import Column
from workbench.compare.scorers import Base
from workbench.compare.tuned_runs import drafters, tuned_runs, with_unique_name
from workbench.config import RunConfig
from workbench.runs.catalog import Catalog
from workbench.runs.events import Event, Failed, Finished, Phase, Stopped, encode
from workbench.runs.folder import create

_END = {"seconds": 3.0, "peak_memory_bytes": 1, "changed": 1.0}


def _run(runs: Path, minute: int, event: Event, *, adapter: bool = True, **settings: object) -> str:
    config = RunConfig.model_validate({"pairs": ["support-tone"], **settings})
    folder = create(runs, config, [], {}, now=datetime(2026, 5, 1, 12, minute))
    folder.events.write_text(encode(event), "utf-8")
    if adapter:
        folder.adapter.mkdir()
        (folder.adapter / "adapter_config.json").write_text("{}", "utf-8")
        (folder.adapter / "adapter_model.safetensors").write_bytes(b"weights")
    return folder.id


def test_only_ended_runs_with_an_adapter_newest_first(tmp_path: Path) -> None:
    first = _run(tmp_path, 1, Finished(time=1.0, step=30, **_END), beta=0.3)
    second = _run(tmp_path, 2, Stopped(time=1.0, step=7, **_END), quantization="none", model="org/other")
    _run(tmp_path, 3, Failed(time=1.0, title="No", message=""))
    _run(tmp_path, 4, Finished(time=1.0, **_END), adapter=False)
    _run(tmp_path, 5, Phase(time=1.0, name="loading"))
    found = tuned_runs(Catalog(tmp_path).summaries())
    assert [run.id for run in found] == [second, first]
    assert [run.base for run in found] == [Base("org/other", "none"), Base("tiny", "nf4")]
    assert (found[1].beta, found[1].step, found[0].status) == (0.3, 30, "stopped")


def test_names_are_short_where_that_tells_runs_apart(tmp_path: Path) -> None:
    _run(tmp_path, 1, Finished(time=1.0, **_END), pairs=["verbose"])
    twins = {_run(tmp_path, minute, Finished(time=1.0, **_END)) for minute in (2, 3)}
    names = {run.name for run in tuned_runs(Catalog(tmp_path).summaries())}
    assert names == {"verbose-dpo", *twins}


def test_columns_get_names_of_their_own() -> None:
    polite = with_unique_name(BASE.model_copy(update={"system": "Be polite."}), [BASE])
    assert polite.name == "base + system"
    assert with_unique_name(polite.model_copy(update={"name": "base"}), [BASE, polite]).name == "base + system 2"
    assert with_unique_name(Column(name="base", adapter="x"), [BASE]).name == "base 2"


def test_who_drafts_is_a_base_or_a_run_on_it(tmp_path: Path) -> None:
    assert [(each.base, each.column) for each in drafters([])] == [(Base(), Column(name="tiny"))]
    _run(tmp_path, 1, Finished(time=1.0, step=30, **_END))
    _run(tmp_path, 2, Finished(time=1.0, step=7, **_END), quantization="none", pairs=["verbose"])
    found = drafters(tuned_runs(Catalog(tmp_path).summaries()))
    assert [each.column.name for each in found] == ["tiny none", "tiny nf4", "verbose-dpo", "support-tone-dpo"]
    assert [each.base.quantization for each in found] == ["none", "nf4", "none", "nf4"]
    assert [each.column.adapter is None for each in found] == [True, True, False, False]


def test_a_run_in_a_chosen_template_is_of_a_base_that_is_asked_in_it(tmp_path: Path) -> None:
    chosen = tmp_path / "kind.jinja"
    chosen.write_text("{{ messages }}")
    _run(tmp_path, 1, Finished(time=1.0, **_END))
    run = _run(tmp_path, 2, Finished(time=1.0, **_END), chat_template=str(chosen), pairs=["kind"])
    found = tuned_runs(Catalog(tmp_path).summaries())
    assert [each.base for each in found] == [Base("tiny", "nf4", "{{ messages }}"), Base("tiny", "nf4")]
    remarks = [each.remark for each in drafters(found)][:2]
    assert remarks == ["the base, nf4, in the template of kind-dpo", "the base, nf4"]
    (tmp_path / run / "chat_template.jinja").unlink()
    assert [each.base for each in tuned_runs(Catalog(tmp_path).summaries())] == [Base("tiny", "nf4")]
