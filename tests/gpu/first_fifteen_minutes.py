"""The steps of `first_fifteen_minutes.sh`, one after another, each in a process group of its own with a limit in time.

Writes FOLDER/first_fifteen_minutes.json after every step, so that what is known survives a machine that is taken away,
and the logs of the steps beside it. A step that fails keeps no other from being taken.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.bench import gpu, machine
from tests.bench.training import HH

NAME = "first_fifteen_minutes"
_TESTS = ("tests/gpu", "-q", "-p", "no:cacheprovider", "-o", "junit_logging=system-out")
_SIDES = {"peak": 60, "workbench": 150, "stock": 180, "kl": 90, "score": 90, "profile": 120}
"""What `tests.bench.gpu` measures, in the order of what it is worth, and the seconds that each may take."""
_SMALLER, _ALL_AGAIN = "stock, fewer at once", "all layers again"


@dataclass(frozen=True, slots=True)
class Step:
    """A command, the seconds that it may take, and how its result is read from a file that it leaves in the folder.

    `needs_card`: on a CPU its tests are skipped. `instead_of`: taken only where that step had too little memory.
    """

    name: str
    command: tuple[str, ...]
    limit: float
    report: str
    read: Callable[[Path], Any]
    needs_card: bool = False
    instead_of: str = ""


@dataclass(frozen=True, slots=True)
class Taken:
    """How a step ended: "done", "failed", "out of time", "left out" where no time was left for it, "skipped" where it
    needs a card and there is none, or "tried": it ran to its end on the CPU, which proves nothing about a card."""

    name: str
    ended: str
    seconds: float = 0.0
    limit: float = 0.0
    result: Any = None
    log: str = ""


def steps(folder: Path, *, dry: bool, rows: Path) -> Iterator[Step]:
    """In the order of what is worth most, should the machine be taken away."""
    python = sys.executable
    yield Step("doctor", (python, "-m", "workbench", "doctor", "--json"), 120, "doctor.out", _json)
    yield _tests(folder, "tests", "not estimate", 150)
    plan = gpu.DRY if dry else gpu.PLAN
    options = ["--to", str(folder), "--again", *(["--dry-run"] if dry else ["--rows", str(rows)])]
    for side, limit in _SIDES.items():
        # Of each side the first, which have equal pairs a step; and where that does not fit, the smallest.
        first, *others = (ask for ask in plan if ask.side == side)
        command = (python, "-m", "tests.bench.gpu", *options, "--only")
        yield Step(side, (*command, first.name), limit, "gpu.json", partial(_measured, first.name))
        equal = [ask for ask in others if ask.pairs == first.pairs]
        if side == "stock" and equal:
            smallest = min(equal, key=lambda ask: ask.part).name
            read = partial(_measured, smallest)
            yield Step(_SMALLER, (*command, smallest), limit, "gpu.json", read, instead_of=side)
        if side == "stock":
            # Beside stock TRL's memory belongs what a step takes that computes as much again.
            least = next(ask for ask in plan if ask.checkpointing == "all").name
            yield Step(_ALL_AGAIN, (*command, least), 100, "gpu.json", partial(_measured, least))
    yield _tests(folder, "estimates", "estimate and nf4 and 4-512", 150)


def _tests(folder: Path, name: str, chosen: str, limit: float) -> Step:
    report = f"{name}.xml"
    command = (sys.executable, "-m", "pytest", *_TESTS, "-k", chosen, f"--junitxml={folder / report}")
    return Step(name, command, limit, report, _counted, needs_card=True)


def run(step: Step, folder: Path, left: float, *, dry: bool) -> Taken:
    """The step, which ends with all that it started when its limit is over, or the `left` seconds of all steps."""
    if left <= 0:
        return Taken(step.name, "left out", limit=step.limit)
    limit, began = min(step.limit, left), time.monotonic()
    report, log = folder / step.report, folder / f"{step.name}.log"
    report.unlink(missing_ok=True)  # that of a run before
    with log.open("wb") as errors, (folder / f"{step.name}.out").open("wb") as printed:
        process = subprocess.Popen(step.command, stdout=printed, stderr=errors, start_new_session=True)
        late = False
        try:
            process.wait(limit)
        except subprocess.TimeoutExpired:
            late = True
        finally:
            # Its children too, where it left any.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    try:
        result = step.read(report)
    except (OSError, ValueError, KeyError, ElementTree.ParseError):
        result = None
    failed = process.returncode != 0 or result is None
    ended = "out of time" if late else "failed" if failed else _ended(step, result, dry=dry)
    seconds = round(time.monotonic() - began, 1)
    said = "" if ended not in ("failed", "out of time") else _tail(log) or _tail(folder / f"{step.name}.out")
    return Taken(step.name, ended, seconds, limit, result, said)


def _ended(step: Step, result: Any, *, dry: bool) -> str:
    if step.needs_card and result["skipped"] == result["tests"]:
        return "skipped"
    return "tried" if dry else "done"


def _tail(path: Path) -> str:
    return path.read_text("utf-8", "replace")[-3000:]


def _json(report: Path) -> Any:
    return json.loads(report.read_text("utf-8"))


def _counted(report: Path) -> dict[str, Any]:
    """How the tests of a JUnit file ended, and what those say that measure something."""
    suite = ElementTree.parse(report).getroot().find("testsuite")
    if suite is None:
        raise ValueError("no tests")
    counts: dict[str, Any] = {key: int(suite.get(key, 0)) for key in ("tests", "failures", "errors", "skipped")}
    printed = (each.text or "" for each in suite.iter("system-out"))
    counts["said"] = [line for text in printed for line in text.splitlines() if "estimated" in line]
    return counts


def _measured(name: str, report: Path) -> Any:
    took = _json(report)["measurements"][name]
    if "failed" in took:
        raise ValueError(took["failed"])
    return took


def compared(taken: Sequence[Taken]) -> dict[str, float]:
    """What the steps say together; of a step that did not end well, nothing."""
    took: Mapping[str, Any] = {each.name: each.result for each in taken if each.ended == "done"}
    ours, stock, found = took.get("workbench"), took.get(_SMALLER) or took.get("stock"), dict[str, float]()
    least = took.get(_ALL_AGAIN)
    if ours and "seconds" in ours:
        found["pairs_a_second"] = gpu.pace(ours)
        found["estimate_of_peak"] = ours["estimated_bytes"] / ours["peak_bytes"]
        if "peak" in took:
            found["share_of_matrix_peak"] = gpu.share_of_peak(ours, took["peak"])
        if stock and "seconds" in stock:
            found["times_stock"] = gpu.pace(ours) / gpu.pace(stock)
            found["of_its_memory"] = ours["peak_bytes"] / stock["peak_bytes"]
            if least and "seconds" in least:
                found["of_its_memory_where_all_is_computed_again"] = least["peak_bytes"] / stock["peak_bytes"]
    return found


def summary(taken: Sequence[Taken], *, dry: bool) -> str:
    """A line a step, and what they say together."""
    lines = ["Tried on the CPU: nothing here is measured on a card."] if dry else []
    lines += [f"{each.name:<12}{each.ended:<12}{each.seconds:6.1f} s of {each.limit:.0f}" for each in taken]
    return "\n".join([*lines, *(f"{name}: {value:.3g}" for name, value in compared(taken).items())])


def main(given: Sequence[str]) -> int:
    """Takes the steps and says how each ended; 1 where one did not end well."""
    parser = argparse.ArgumentParser(prog=f"tests/gpu/{NAME}.sh", description=__doc__)
    parser.add_argument("--dry-run", action="store_true", help="on the CPU, with tiny models")
    parser.add_argument("--rows", type=Path, default=HH, help="hh-rlhf pairs to train on")
    parser.add_argument("--minutes", type=float, default=15.0, help="for all steps together")
    parser.add_argument("--spent", type=float, default=0.0, help="seconds of them that are gone")
    parser.add_argument("--to", type=Path, default=machine.RESULTS / NAME, help="the folder of the results")
    parser.add_argument("--only", default="", help="steps, separated by commas")
    asked = parser.parse_args(given)
    until = time.monotonic() + 60 * asked.minutes - asked.spent
    folder, dry = asked.to.absolute(), asked.dry_run
    planned = list(steps(folder, dry=dry, rows=asked.rows.absolute()))
    chosen = asked.only.split(",") if asked.only else [step.name for step in planned]
    if unknown := set(chosen) - {step.name for step in planned}:
        parser.error(f"no steps: {', '.join(sorted(unknown))}; there are {', '.join(step.name for step in planned)}")
    if not dry and not gpu.has_cuda():
        parser.error("there is no CUDA device here; --dry-run tries the script on the CPU")
    if not dry and _SIDES.keys() & set(chosen) and not asked.rows.is_file():
        parser.error(f"there is no {asked.rows}; name the hh rows with --rows FILE, or steps without them with --only")
    # Whoever ends this ends the step that is being taken.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    folder.mkdir(parents=True, exist_ok=True)
    taken: list[Taken] = []
    for step in planned:
        before = next((each.result for each in taken if each.name == step.instead_of), None)
        if step.name not in chosen or (step.instead_of and not (before and before.get("out_of_memory"))):
            continue
        print(f"{step.name} …", file=sys.stderr, flush=True)
        taken.append(run(step, folder, until - time.monotonic(), dry=dry))
        found = {
            "dry_run": dry,
            "seconds": round(60 * asked.minutes - (until - time.monotonic()), 1),
            "machine": machine.machine(),
            "compared": compared(taken),
            "steps": [asdict(each) for each in taken],
        }
        machine.save(NAME, found, summary(taken, dry=dry), folder)
    print(json.dumps(found, indent=1))
    print(summary(taken, dry=dry), file=sys.stderr)
    well = ("tried", "skipped") if dry else ("done",)
    return int(any(each.ended not in well for each in taken))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
