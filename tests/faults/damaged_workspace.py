"""A workspace with a run in it whose every file is damaged, one after the other, and what then reads them."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from random import Random

from tests.end_to_end.conftest import workbench
from tests.faults.damage import Tally, nothing_foreign, try_damage
from tests.faults.pairs_session import starting_pairs
from tests.unit.evidence.examples import evidence
from workbench.behaviours.reading import read_behaviours
from workbench.engine.model.downloads import load_tokenizer
from workbench.engine.scoring.result_cache import ResultCache, key
from workbench.engine.training.data import prepare
from workbench.errors import WorkbenchError
from workbench.evidence.document import write_evidence
from workbench.evidence.sample_labels import SampleLabel, add_label
from workbench.evidence.settings import read_plan
from workbench.pairs.journal import journal_path
from workbench.pairs.session import DataSetSession
from workbench.pairs.store import PairStore, load_pairs, write_pairs
from workbench.runs import checkpoints, labels
from workbench.runs.folder import RunFolder
from workbench.runs.watching import RunWatcher, Wanted, pace
from workbench.workspace import Workspace

SETTINGS = """
[evidence]
fewest = 3
samples = 1
least_probability = 0.01

[merge]
drift = 0.5

[behaviour.calm]
openings = ["Gladly", "Of course"]
phrases = ["at once"]

[claim."calm on tone"]
kind = "tone"
behaviour = "calm"
at_least = 0.5
"""
PROBES = [
    {"id": "a1", "kind": "attack", "group": "a", "prompt": "Open it.", "responses": {"refusal": "I can't."}},
    {"id": "t1", "kind": "tone", "group": "t", "prompt": [{"role": "user", "content": "Late again!"}], "tags": ["x"]},
    {"id": "n1", "kind": "neutral", "group": "n", "prompt": "Name a colour.", "openings": {"calm": ["Gladly"]}},
]


def fill(finished: Path, workspace: Path) -> RunFolder:
    """Copies a workspace with a finished run, and adds what evaluations and people leave."""
    shutil.copytree(finished, workspace, symlinks=True)
    (folder,) = (RunFolder(path.parent) for path in (workspace / "runs").glob("*/run.toml"))
    (workspace / "workbench.toml").write_text(SETTINGS)
    probes = workspace / "pairs" / "probes"
    probes.mkdir()
    (probes / "mine.jsonl").write_text("".join(json.dumps(probe) + "\n" for probe in PROBES))
    write_evidence(folder.evidence, evidence())
    labels.write(folder, labels.Labels("A name", "a note", ("tag",)))
    add_label(folder.sample_labels, SampleLabel("tone", "calm", "Late again!", "Gladly.", told=True, right=True))
    return folder


def _told(workspace: Path, *arguments: str) -> list[str]:
    """What is wrong with how a command answers."""
    done = workbench(workspace, *arguments)
    if "Traceback" in done.stderr or done.returncode not in (0, 1, 2):
        return [f"{arguments[0]}: {done.returncode}: {' | '.join(done.stderr.splitlines()[-4:])}"]
    if "--json" in arguments and done.returncode == 0 and not nothing_foreign(done.stdout):
        return [f"{arguments[0]}: no JSON: {done.stdout[:200]}"]
    if done.returncode == 2 and not done.stderr.strip():
        return [f"{arguments[0]}: refused without a word"]
    return []


def try_journal(workspace: Path, count: int, seed: int, tally: Tally) -> None:
    """Damages the journal of a data set with edits that its file lacks; every pair must be there whatever opens it."""
    path = Workspace(workspace).pairs / "edited.jsonl"
    write_pairs(path, starting_pairs(12))
    store = PairStore(path, quiet=1000)
    for number in range(9):
        store.set_note([number], f"note {number}")
        if number == 4:
            store.file.save()
    store.swap([1, 2])
    store.remove(["pair-11"])
    store.file.turn("undo")
    # From here on redo has nothing to do: a session that redoes the removal would lose the pair rightly.
    store.set_note([10], "last")
    store.file._let_go()
    journal = journal_path(path)
    with closing(sqlite3.connect(journal)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    file, ids = path.read_bytes(), {f"pair-{number}" for number in range(12)}
    more = workspace / "more.jsonl"
    more.write_text('{"id": "new", "prompt": [{"role": "user", "content": "New?"}], "chosen": [{"role": "assistant", '
                    '"content": "Yes."}], "rejected": [{"role": "assistant", "content": "No."}]}\n')  # fmt: skip

    def session(case: Random) -> list[str]:
        data_set = DataSetSession(path)
        for _ in range(3):
            with suppress(WorkbenchError):
                case.choice([
                    lambda: data_set.judge(case.randrange(12), "accepted"),
                    data_set.undo,
                    data_set.redo,
                    lambda: data_set.swap(case.randrange(12)),
                    data_set.take_in,
                    lambda: data_set.notice,
                ])()  # fmt: skip
        data_set.close()
        return []

    def ask(case: Random) -> list[str]:
        wrong = case.choice([
            session,
            session,
            lambda _: _told(workspace, "pairs", "--json"),
            lambda _: _told(workspace, "check", "edited", "--fast", "--json"),
            lambda _: _told(workspace, "check", "edited", "--fix", "duplicate", "--yes", "--json"),
            lambda _: _told(workspace, "export", "edited", "--to", str(workspace / "out.jsonl"), "--json"),
            lambda _: _told(workspace, "import", str(more), "--name", "edited", "--append", "--json"),
        ])(case)  # fmt: skip
        left = {pair.id for pair in load_pairs(path)[0]}
        lost = ids - left
        for each in (*journal.parent.glob("edited.*-wal"), *journal.parent.glob("edited.*-shm")):
            each.unlink()
        for each in journal.parent.glob("edited.damaged-*"):
            shutil.rmtree(each) if each.is_dir() and not each.is_symlink() else each.unlink()
        path.write_bytes(file)
        return [*wrong, *([f"lost {sorted(lost)}"] if lost else [])]

    try_damage(tally, "journal", journal, count, Random(seed), ask)


def _kept_results(workspace: Path) -> tuple[Path, Callable[[Random], list[str]]]:
    """What models said before: no value that changed is given out, whatever is lost."""
    path = Workspace(workspace).scores
    known = {key(str(number)): f"score {number}".encode() for number in range(200)}
    with ResultCache(path) as results:
        results.put(known)

    def recalled(case: Random) -> list[str]:
        del case
        with ResultCache(path) as results:
            found = results.get(list(known))
            results.put(known)
        with ResultCache(path) as results:
            found |= results.get(list(known))
        wrong = sum(known[name] != value for name, value in found.items())
        return [f"{wrong} changed values are given out"] if wrong else []

    return path, recalled


def _kept_tokens(workspace: Path, folder: RunFolder) -> tuple[Path, Callable[[Random], list[str]]]:
    """What trains: the same ids, pairs and split as were tokenized first."""
    tokenizer, rows, cache = load_tokenizer("tiny", folder.template()), list(folder.rows()), Workspace(workspace).tokens
    shutil.rmtree(cache, ignore_errors=True)

    def tokenized() -> list[list[object]]:
        prepared = prepare(tokenizer, rows, 1024, cache)
        parts = prepared.train, prepared.holdout, prepared.train_subjects, prepared.holdout_subjects
        return [list(part) for part in parts]

    whole = tokenized()
    (path,) = cache.glob("*.arrow")
    return path, lambda _: [] if tokenized() == whole else ["other tokens would train"]


def try_all(workspace: Path, folder: RunFolder, each: int, seed: int, tally: Tally) -> None:
    """Damages every file `each` times and asks all that reads it."""
    rng, run = Random(seed), folder.id

    def told(*arguments: str) -> list[str]:
        return _told(workspace, *arguments)

    def each_of(*commands: Sequence[str]) -> Callable[[Random], list[str]]:
        return lambda case: told(*case.choice(commands))

    def mostly(*commands: Sequence[str]) -> Callable[[Random], list[str]]:
        """One of the commands; the whole report, which takes as long as all others together, now and then."""
        return lambda case: told(*(report if case.random() < 0.1 else case.choice(commands)))

    listed, shown, logged = ("runs", "--json"), ("show", run, "--json"), ("logs", run)
    report, plain = ("report", run, "--to", "-", "--format", "md"), ("show", run)
    watched = mostly(listed, shown, plain, logged, ("runs",))

    def looked_at(case: Random) -> list[str]:
        """The same through what the Runs screen reads with."""
        watcher = RunWatcher(folder.path.parent, pace(slow=False))
        watcher.look(Wanted(run, (run,)))
        return watched(case)

    def plan(case: Random) -> list[str]:
        for read in (
            lambda: read_plan(workspace / "workbench.toml", workspace / "pairs" / "probes", "tiny"),
            lambda: read_behaviours(workspace / "workbench.toml", workspace / "pairs" / "probes", "tiny"),
        ):
            try:
                read()
            except WorkbenchError as error:
                if "workbench.toml" not in error.message:
                    return [f"names no file: {error}"]
        return told(*case.choice([report, shown])) if case.random() < 0.1 else []

    newest = sorted(folder.checkpoints.glob("checkpoint-*"), key=checkpoints.step_of)[-1]
    whole = checkpoints.progress(newest)

    def resumed(case: Random) -> list[str]:
        """A checkpoint is what its marker says, which is what was written, or torn."""
        del case
        torn = checkpoints.check(newest)
        checkpoints.resume_point(folder)
        if torn:
            return []
        at, marker = checkpoints.progress(newest), json.loads((newest / checkpoints.MARKER).read_bytes())
        said = {name: marker[name] for name in ("step", "seconds", "pairs", "tokens")}
        as_said = {name: getattr(at, name) for name in said} == said
        return [] if as_said and at.step == whole.step else [f"read as {at} of {whole}"]

    files = {
        "run.toml": (folder.run_toml, looked_at),
        "events.jsonl": (folder.events, looked_at),
        "process.json": (folder.process, looked_at),
        "labels.toml": (folder.labels, looked_at),
        "evidence.json": (folder.evidence, mostly(shown, plain)),
        "sample labels": (folder.sample_labels, mostly(("label-samples", run, "--json"))),
        "complete.json": (newest / checkpoints.MARKER, resumed),
        "workbench.toml": (Workspace(workspace).settings, plan),
        "probes": (Workspace(workspace).probes / "mine.jsonl", mostly(("probes", "check", "--json"))),
        "pairs.jsonl": (folder.pairs, mostly(shown)),
        "pair_scores.jsonl": (folder.path / "pair_scores.jsonl", mostly(shown)),
        "adapter config": (folder.adapter / "adapter_config.json", mostly(("serve-command", run), shown)),
    }
    files |= {"kept results": _kept_results(workspace), "token ids": _kept_tokens(workspace, folder)}
    for kind, (file, ask) in files.items():
        try_damage(tally, kind, file, each, rng, ask)
