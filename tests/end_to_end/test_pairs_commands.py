"""import, export and pairs as they are typed: what lands on disk, on stdout, on stderr, and in the exit status."""

import gzip
import json
import os
import pty
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner, Result

from tests.end_to_end.conftest import workbench
from tests.unit.pairs.transcripts import to_transcript
from workbench.cli import pairs_commands
from workbench.cli.context import Context
from workbench.errors import WorkbenchError
from workbench.pairs.pair import Message, Pair, plain
from workbench.pairs.split import held_out
from workbench.pairs.store import PairStore, load_pairs, write_pairs

HH = Path("../shared/data/hh-rlhf/harmless-base-1500.jsonl.gz")

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
pairs_commands.register(app)


@app.callback()
def root(context: typer.Context, workspace: Annotated[Path, typer.Option()]) -> None:
    context.obj = Context(given_workspace=workspace, slow=False, debug=False)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "workspace").mkdir()
    return tmp_path / "workspace"


def run(workspace: Path, *arguments: Any) -> Result:
    return CliRunner().invoke(app, ["--workspace", str(workspace), *map(str, arguments)])


def refused(workspace: Path, *arguments: Any) -> str:
    """The message of the one error that the command line tells with exit status 2."""
    result = run(workspace, *arguments)
    assert isinstance(result.exception, WorkbenchError), result.output
    assert not result.stdout
    return str(result.exception)


def lines(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def row(number: int, **more: Any) -> dict[str, Any]:
    return {"prompt": f"p{number}", "chosen": "c", "rejected": "r", **more}


def test_hh_rlhf_is_imported_whole_and_comes_back_exactly(workspace: Path) -> None:
    if not HH.exists():
        pytest.skip(f"{HH} is not here")
    result = run(workspace, "import", HH, "--name", "hh", "--json")
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    assert report.pop("problems") == []
    counts = {"imported": 1500, "converted": 0, "undrafted": 4, "judged": 0, "skipped": 0, "duplicates": 0}
    files: dict[str, Any] = {"files": ["harmless-base-1500.jsonl.gz"], "held_out_files": [], "left_out": []}
    [read_as] = report.pop("read_as")
    assert (read_as["pairs"], "the prompt is what both begin with" in read_as["words"]) == (1500, True)
    assert (report.pop("unused"), report.pop("ties"), report.pop("rankings")["rows"]) == ([], 0, 0)
    assert report == {"name": "hh", "kind": "conversational", **counts, **files}
    pairs, problems = load_pairs(workspace / "pairs" / "hh.jsonl")
    originals = [json.loads(line) for line in gzip.decompress(HH.read_bytes()).splitlines()]
    assert not problems
    for pair, original in zip(pairs, originals, strict=True):
        assert pair.prompt[-1].role == "user"
        assert to_transcript(pair.prompt + pair.chosen) == original["chosen"]
        assert to_transcript(pair.prompt + pair.rejected) == original["rejected"]


def test_bad_rows_are_told_and_the_others_imported(workspace: Path, tmp_path: Path) -> None:
    file = tmp_path / "some file.jsonl"
    file.write_text(lines(row(1), {"prompt": "p", "text": "t"}) + "nonsense\n" + lines(row(1), row(2)))
    result = run(workspace, "import", file, "--json")
    report = json.loads(result.stdout)
    assert (report["name"], report["imported"], report["skipped"], report["duplicates"]) == ("some-file", 2, 2, 1)
    assert [problem["line"] for problem in report["problems"]] == [2, 3]
    assert report["problems"][0]["reason"] == "has no chosen and rejected"
    told = run(workspace, "import", file, "--name", "again")
    assert not told.stdout
    assert "Imported 2 conversational pairs as again" in told.stderr
    assert "2 pairs were plain text" in told.stderr
    assert "line 2 has no chosen and rejected" in told.stderr


def test_nothing_is_written_where_nothing_is_usable(workspace: Path, tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    file.write_text("question,one,other\nq,a,b\n")
    told = refused(workspace, "import", file, "--json")
    assert "line 2" in told
    assert "question, one, other" in told
    assert "--map prompt=" in told
    file.write_text("")
    assert "no rows" in refused(workspace, "import", file)
    assert list(workspace.iterdir()) == []
    maps = ["--map", "prompt=question", "--map", "chosen=good", "--map", "rejected=bad"]
    file.write_text("question,good,bad,more\nq,a,b,kept\n")
    assert run(workspace, "import", file, *maps).exit_code == 0
    [pair] = load_pairs(workspace / "pairs" / "x.jsonl")[0]
    assert (plain(pair.prompt), plain(pair.chosen), plain(pair.rejected)) == ("q", "a", "b")
    assert pair.extra == {"more": "kept"}


def test_plain_text_is_a_conversation_unless_asked_otherwise(workspace: Path, tmp_path: Path) -> None:
    file, filled = tmp_path / "x.jsonl", tmp_path / "filled.jsonl"
    file.write_text(lines(row(1), row(2)))
    filled.write_text(lines(row(1, prompt="<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n")))
    asked = json.loads(run(workspace, "import", file, "--json").stdout)
    assert (asked["kind"], asked["converted"]) == ("conversational", 2)
    assert load_pairs(workspace / "pairs" / "x.jsonl")[0][0].prompt == (Message("user", "p1"),)
    kept = json.loads(run(workspace, "import", file, "--plain", "--name", "kept", "--json").stdout)
    assert (kept["kind"], kept["converted"]) == ("standard", 0)
    before = [json.loads(line) for line in (workspace / "pairs" / "kept.jsonl").open()]
    assert [line["prompt"] for line in before] == ["p1", "p2"]
    more = json.loads(run(workspace, "import", file, "--append", "--name", "kept", "--json").stdout)
    assert (more["kind"], more["duplicates"]) == ("standard", 2)
    told = refused(workspace, "import", file, "--append", "--name", "kept", "--conversational")
    assert "holds plain text" in told
    assert "--fix plain-text" in told
    stays = run(workspace, "import", filled)
    assert "a chat template filled in, so they stay plain text" in stays.stderr
    assert isinstance(load_pairs(workspace / "pairs" / "filled.jsonl")[0][0].prompt, str)


def test_a_data_set_is_not_overwritten_unless_asked(workspace: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "x.jsonl", tmp_path / "y.jsonl"
    first.write_text(lines(row(1), row(2)))
    second.write_text(lines(row(2), row(3)))
    target = workspace / "pairs" / "x.jsonl"
    run(workspace, "import", first)
    before = target.read_bytes()
    assert "--append or --replace" in refused(workspace, "import", second, "--name", "x")
    assert "exclude" in refused(workspace, "import", second, "--name", "x", "--append", "--replace")
    report = json.loads(run(workspace, "import", second, "--name", "x", "--append", "--json").stdout)
    assert (report["imported"], report["duplicates"]) == (1, 1)
    assert target.read_bytes().startswith(before)
    again = run(workspace, "import", second, "--name", "x", "--append")
    assert (again.exit_code, len(load_pairs(target)[0])) == (0, 3)
    run(workspace, "import", second, "--name", "x", "--replace", "--limit", 1)
    assert [plain(pair.prompt) for pair in load_pairs(target)[0]] == ["p2"]


@pytest.mark.parametrize("source", ["nosuch.jsonl", "no/such/file", "../nosuch", "x.csv.gz"])
def test_files_that_do_not_exist_are_told_without_asking_the_network(workspace: Path, source: str) -> None:
    assert "No such file" in refused(workspace, "import", source)


@pytest.mark.parametrize("name", ["../x", "", ".hidden", "a/b"])
def test_names_stay_inside_the_workspace(workspace: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "x.jsonl").write_text(lines(row(1)))
    assert "Not a name" in refused(workspace, "import", tmp_path / "x.jsonl", "--name", name)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["x.jsonl"]


def test_a_folder_is_read_file_by_file(workspace: Path, tmp_path: Path) -> None:
    folder = tmp_path / "my data"
    folder.mkdir()
    (folder / "train.jsonl").write_text(lines(*(row(number, rating=number) for number in range(5))))
    (folder / "test.jsonl").write_text(lines(row(9)) + "nonsense\n")
    report = json.loads(run(workspace, "import", folder, "--json", "--limit", 3).stdout)
    assert (report["name"], report["imported"]) == ("my-data", 3)
    assert load_pairs(workspace / "pairs" / "my-data.jsonl")[0][2].extra == {"rating": 2}
    whole = run(workspace, "import", folder, "--name", "whole")
    assert "Read 2 files: train.jsonl, test.jsonl." in whole.stderr
    assert "Held out, as their names say: test.jsonl." in whole.stderr
    assert "  test.jsonl:2 is not JSON" in whole.stderr
    assert [pair.split for pair in load_pairs(workspace / "pairs" / "whole.jsonl")[0]] == [None] * 5 + ["holdout"]
    report = json.loads(run(workspace, "import", folder, "--split", "test", "--name", "held", "--json").stdout)
    assert report["left_out"] == [{"file": "train.jsonl", "reason": "split train"}]
    assert (report["problems"][0]["file"], report["problems"][0]["line"]) == ("test.jsonl", 2)
    assert [plain(pair.prompt) for pair in load_pairs(workspace / "pairs" / "held.jsonl")[0]] == ["p9"]
    assert "Its splits: train, test" in refused(workspace, "import", folder, "--split", "tset", "--name", "z")
    (folder / "train.jsonl").write_text("nonsense")
    assert "train.jsonl:1 is not JSON" in refused(workspace, "import", folder, "--split", "train", "--name", "z")


@pytest.mark.parametrize("ending", ["jsonl", "csv", "parquet"])
def test_what_is_exported_is_imported_the_same(workspace: Path, tmp_path: Path, ending: str) -> None:
    source, target = tmp_path / "x.jsonl", tmp_path / f"out.{ending}"
    source.write_text(lines(*(row(number, tags=["t"]) for number in range(3))))
    run(workspace, "import", source)
    store = PairStore(workspace / "pairs" / "x.jsonl")
    store.update([store.pairs[1].id], lambda pair: replace(pair, status="accepted"))
    store.update([store.pairs[2].id], lambda pair: replace(pair, status="dropped"))
    result = run(workspace, "export", "x", "--to", target)
    assert "Exported 2 pairs" in result.stderr
    assert "1 left out" in result.stderr
    run(workspace, "import", target, "--name", "back")
    assert load_pairs(workspace / "pairs" / "back.jsonl")[0] == list(store.pairs[:2])
    report = json.loads(run(workspace, "export", "x", "--to", target, "--accepted-only", "--json").stdout)
    guarded = {"guarded": 0} if ending == "csv" else {}
    assert report == {"name": "x", "file": str(target), "format": ending, "exported": 1} | guarded
    assert json.loads(run(workspace, "export", "x", "--to", target, "--with-dropped", "--json").stdout)["exported"] == 3


def test_formulas_are_guarded_in_csv_unless_they_are_to_be_raw(workspace: Path, tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text(lines(row(1), {"prompt": "=1+1", "chosen": "-c", "rejected": "@r", "id": "f"}))
    run(workspace, "import", tmp_path / "x.jsonl", "--plain")
    target = tmp_path / "out.csv"
    told = run(workspace, "export", "x", "--to", target).stderr
    assert "3 texts begin as formulas do and have an ' before it" in told
    assert "'=1+1,'-c,'@r" in target.read_text()
    run(workspace, "import", target, "--name", "back", "--plain")
    assert load_pairs(workspace / "pairs" / "back.jsonl")[0] == load_pairs(workspace / "pairs" / "x.jsonl")[0]
    report = json.loads(run(workspace, "export", "x", "--to", target, "--raw", "--json").stdout)
    assert report["guarded"] == 0
    assert "=1+1,-c,@r" in target.read_text()
    assert "--raw is for CSV" in refused(workspace, "export", "x", "--to", tmp_path / "x.parquet", "--raw")


def test_an_export_for_another_trainer(workspace: Path, tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text(lines(row(1), row(2), {"prompt": "p3", "chosen": "c"}))
    run(workspace, "import", tmp_path / "x.jsonl")
    target = tmp_path / "out.jsonl"
    told = run(workspace, "export", "x", "--to", target, "--shape", "llama-factory")
    assert f"Its entry 'x' is in {tmp_path / 'dataset_info.json'}" in told.stderr
    assert json.loads(target.read_text().splitlines()[0])["messages"] == [{"role": "user", "content": "p1"}]
    report = json.loads(run(workspace, "export", "x", "--to", target, "--shape", "kto", "--json").stdout)
    assert (report["exported"], report["not_held"], len(target.read_text().splitlines())) == (3, [], 5)
    assert "are JSON lines" in refused(workspace, "export", "x", "--to", tmp_path / "x.csv", "--shape", "openai")


def test_what_cannot_be_exported_is_told(workspace: Path, tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text(lines(row(1)))
    run(workspace, "import", tmp_path / "x.jsonl")
    assert "Data sets here: x" in refused(workspace, "export", "y", "--to", tmp_path / "y.csv")
    assert "jsonl, parquet, csv" in refused(workspace, "export", "x", "--to", tmp_path / "y.txt")
    assert "Nothing to export" in refused(workspace, "export", "x", "--to", tmp_path / "y.csv", "--accepted-only")
    assert "data set's place" in refused(workspace, "export", "x", "--to", workspace / "pairs" / "x.jsonl")


def test_an_export_takes_what_a_query_finds(workspace: Path, tmp_path: Path) -> None:
    rows = [row(1, tags=["tone"]), row(2, tags=["tone"], status="dropped"), row(3), row(4, tags=["tone"])]
    (tmp_path / "x.jsonl").write_text(lines(*rows))
    run(workspace, "import", tmp_path / "x.jsonl", "--plain")
    target = tmp_path / "tone.jsonl"
    report = run(workspace, "export", "x", "--to", target, "--filter", "tag:tone -p4", "--json")
    assert json.loads(report.stdout)["exported"] == 1
    assert [json.loads(line)["prompt"] for line in target.read_text().splitlines()] == ["p1"]
    assert "Nothing to export" in refused(workspace, "export", "x", "--to", target, "--filter", "tag:zebra")
    assert "Did you mean 'status'" in refused(workspace, "export", "x", "--to", target, "--filter", "statsu:new")
    assert "no filter for an export" in refused(workspace, "export", "x", "--to", target, "--filter", "finding:empty")
    assert len(target.read_text().splitlines()) == 1


def test_the_list_of_data_sets(workspace: Path, tmp_path: Path) -> None:
    empty = run(workspace, "pairs")
    assert (empty.stdout, empty.exit_code) == ("", 0)
    assert json.loads(run(workspace, "pairs", "--json").stdout) == []
    (tmp_path / "x.jsonl").write_text(lines(row(1), row(2, status="flagged")))
    run(workspace, "import", tmp_path / "x.jsonl", "--plain")
    with (workspace / "pairs" / "x.jsonl").open("a") as file:
        file.write("nonsense\n")
    [found] = json.loads(run(workspace, "pairs", "--json").stdout)
    counts = {"new": 1, "accepted": 0, "dropped": 0, "flagged": 1}
    assert found == {"name": "x", "kind": "standard", "pairs": 2, **counts, "undrafted": 0, "problems": 1}
    header, line = run(workspace, "pairs").stdout.splitlines()
    assert line.split() == ["x", "standard", "2", "1", "0", "0", "1", "0", "1"]
    assert header.endswith("bad lines")


def test_a_line_of_progress_appears_at_a_terminal_and_only_for_what_takes_long() -> None:
    code = (
        "import time\n"
        "from workbench.console import StatusLine\n"
        "with StatusLine(after=1) as line:\n"
        "    line.show('Importing\\x1b]52;c;eA==\\x07 x: 10%')\n"
        "    print('quick', flush=True)\n"
        "    time.sleep(1.1)\n"
        "    line.show('Importing\\x1b]52;c;eA==\\x07 x: 50%')\n"
        "    time.sleep(0.2)\n"
    )
    silent = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert silent.stderr == b""
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100"}
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=theirs, env=environment)
    assert process.stdout
    assert process.stdout.readline() == b"quick\n"
    os.set_blocking(ours, False)
    with pytest.raises(BlockingIOError):
        os.read(ours, 1)
    process.wait()
    shown = os.read(ours, 100_000).decode()
    os.close(ours)
    os.close(theirs)
    assert "50%" in shown
    assert "]52;c" in shown
    assert "\x1b]52" not in shown


def test_what_becomes_of_the_columns_is_said_before_anything_is_written(workspace: Path, tmp_path: Path) -> None:
    file = tmp_path / "safe.jsonl"
    labels = {"better_response_id": 0, "safer_response_id": 1}
    both = {"prompt": "Boil eggs?", "response_0": "Ten minutes.", "response_1": "No idea.", **labels}
    tie = {
        "prompt": "Ice?",
        "response_0": "Cold.",
        "response_1": "Warm.",
        "better_response_id": "tie",
        "critique": "Hm.",
    }
    file.write_text(lines(both, tie))
    told = run(workspace, "import", file, "--dry-run")
    assert "whichever better_response_id says" in told.stderr
    assert "First: asked 'Boil eggs?', the model will prefer 'Ten minutes.' over 'No idea.'." in told.stderr
    assert "Would import 1 conversational pair as safe. Nothing is written." in told.stderr
    assert "1 row prefers neither answer" in told.stderr
    assert not (workspace / "pairs" / "safe.jsonl").exists()
    refusal = refused(workspace, "import", file, "--map", "chosen=response_0", "--map", "rejected=response_1")
    assert "better_response_id" in refusal
    assert "--map label=" in refusal
    report = json.loads(run(workspace, "import", file, "--map", "label=safer_response_id", "--json").stdout)
    assert (report["imported"], report["ties"], report["skipped"], report["unused"]) == (1, 0, 1, [])
    assert "whichever safer_response_id says" in report["read_as"][0]["words"]
    [pair] = load_pairs(workspace / "pairs" / "safe.jsonl")[0]
    assert plain(pair.chosen) == "No idea."


def test_judged_answers_come_in_for_kto(workspace: Path, tmp_path: Path) -> None:
    file = tmp_path / "kto.jsonl"
    judged = [{"prompt": "Name a metal.", "completion": said, "label": said == "Iron"} for said in ("Iron", "Wood")]
    file.write_text(lines(*judged, {**judged[0], "label": "maybe"}))
    told = run(workspace, "import", file).stderr
    assert "2 answers are judged good or bad alone: --method kto trains on such" in told
    assert "First: asked 'Name a metal.', 'Iron' is judged good." in told
    assert "line 3 has the judgement 'maybe', which is neither true nor false" in told
    report = json.loads(run(workspace, "import", file, "--name", "again", "--json").stdout)
    assert (report["imported"], report["judged"], report["undrafted"]) == (2, 2, 2)
    pairs = load_pairs(workspace / "pairs" / "kto.jsonl")[0]
    assert [(plain(pair.chosen), plain(pair.rejected)) for pair in pairs] == [("Iron", ""), ("", "Wood")]


def test_answers_judged_alone_are_exported_for_kto_once_accepted(workspace: Path, tmp_path: Path) -> None:
    rows = [Pair("g", "Q", "Iron", "", status="accepted"), Pair("b", "Q", "", "Wood", status="accepted")]
    write_pairs(workspace / "pairs" / "j.jsonl", [*rows, Pair("n", "Q", "", "Air")])
    out = tmp_path / "out.jsonl"
    run(workspace, "export", "j", "--to", out, "--shape", "kto", "--accepted-only")
    written = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(row["completion"], row["label"]) for row in written] == [("Iron", True), ("Wood", False)]
    assert "--shape kto" in refused(workspace, "export", "j", "--to", out)


def test_which_pairs_a_ranking_makes_is_chosen_and_counted_before(workspace: Path, tmp_path: Path) -> None:
    path = tmp_path / "ranked.jsonl"
    answers = [{"answer": f"answer {each}", "rank": each} for each in (3, 1, 2)]
    path.write_text(lines(*({"prompt": f"q{n}", "answers": answers} for n in range(4))))
    foretold = run(workspace, "import", path, "--dry-run")
    assert "Pairs of 4 rankings: best-worst 4 (these), best-rest 8, neighbours 8, all 12" in foretold.stderr
    assert not (workspace / "pairs").exists()
    result = run(workspace, "import", path, "--ranking", "all", "--json")
    report = json.loads(result.stdout)
    assert (report["imported"], report["rankings"]["pairing"]) == (12, "all")
    assert report["rankings"]["pairs"] == {"best-worst": 4, "best-rest": 8, "neighbours": 8, "all": 12}
    pairs, _ = load_pairs(workspace / "pairs" / "ranked.jsonl")
    assert {plain(pair.rejected) for pair in pairs} == {"answer 2", "answer 3"}
    sides = dict[str, set[bool]]()
    parted = held_out([(pair.prompt, None) for pair in pairs], fraction=0.5, seed=0)
    for pair, held in zip(pairs, parted.held, strict=True):
        sides.setdefault(plain(pair.prompt), set()).add(held)
    assert all(len(side) == 1 for side in sides.values())


def test_one_data_set_that_is_damaged_hides_no_other(tmp_path: Path) -> None:
    for name in ("good", "hurt", "gone"):
        pairs = [Pair(f"{name}{number}", f"prompt {number}", "good", "bad") for number in range(3)]
        write_pairs(tmp_path / "pairs" / f"{name}.jsonl", pairs)
    (tmp_path / "pairs" / "two words.jsonl").touch()
    with PairStore(tmp_path / "pairs" / "hurt.jsonl") as store:
        store.set_note([0], "x")
    journal = tmp_path / "pairs" / ".journal" / "hurt.sqlite"
    journal.write_bytes(b"nonsense" * 99)
    real = Path.open

    def unreadable(path: Path, *given: Any, **named: Any) -> Any:
        if path.name == "gone.jsonl":
            raise OSError(5, "Input/output error")
        return real(path, *given, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "open", unreadable)
        done = workbench(tmp_path, "pairs", "--json")
    assert [(each["name"], each["pairs"]) for each in json.loads(done.stdout)] == [("good", 3), ("hurt", 3)]
    assert done.returncode == 1
    assert "Cannot read gone.jsonl" in done.stderr
    assert done.stderr.count("journal of hurt is damaged") == 1
    assert "two words.jsonl is no data set" in done.stderr
    # Who edits it sets the journal aside, and says where.
    assert "set aside" in done.stderr
    again = workbench(tmp_path, "import", str(tmp_path / "pairs" / "good.jsonl"), "--name", "hurt", "--append")
    assert again.returncode == 0, again.stderr
    assert "kept whole as" in again.stderr
    assert "damaged" not in workbench(tmp_path, "pairs").stderr
