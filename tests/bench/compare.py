"""How fast the Compare screen's questions are answered: the embedded model, base beside one adapter, a warm scorer.

Run as `python -m tests.bench.compare [--json]`. At the client: from the request until the answer is there as an object.
At the terminal: from the key until the last of what it had painted has come.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.bench.terminal import Terminal
from tests.tui.compare_data import make_run
from workbench.compare.client import ScorerClient
from workbench.compare.messages import Column, DistributionAt, Generate, NextToken, ScoreResponse, TextChunk, Turn
from workbench.evidence.probes import Probe, read_suites
from workbench.workspace import Workspace

LIMITS = {
    "a scored pair, p95": 100.0,
    "first token of a generation, p95": 150.0,
    "a key while columns speak, p95": 33.0,
}
"""Milliseconds."""

_PROBES = 24
_SUITES = Path("pairs/probes")


async def at_the_client(adapter: Path) -> dict[str, float]:
    """Milliseconds for every kind of question, each prompt asked for the first time."""
    columns = [Column(name="base"), Column(name="run", adapter=str(adapter))]
    probes = [probe for probe in read_suites(_SUITES) if len(probe.responses) > 1][:_PROBES]
    found: dict[str, float] = {}
    began = time.perf_counter()
    async with ScorerClient("tiny") as client:
        found["the model is loaded"] = _since(began)

        async def pair(probe: Probe) -> None:
            for response in list(probe.responses.values())[:2]:
                await client.ask(ScoreResponse(prompt=_turns(probe), response=response, columns=columns, top_k=0))

        async def first_token(probe: Probe) -> float:
            began, heard = time.perf_counter(), asyncio.Event()
            asked = asyncio.create_task(
                client.ask(Generate(prompt=_turns(probe), columns=columns), lambda _: heard.set())
            )
            await heard.wait()
            taken = _since(began)
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)
            return taken

        async def walk(probe: Probe) -> None:
            response = next(iter(probe.responses.values()))
            await client.ask(DistributionAt(prompt=_turns(probe), response=response, columns=columns, position=5))

        async def next_token(probe: Probe) -> None:
            await client.ask(NextToken(prompt=_turns(probe), columns=columns))

        async def newest(probe: Probe) -> None:
            """Ten questions, each of which takes the place of the one before."""
            for _ in range(9):
                older = asyncio.create_task(client.ask(NextToken(prompt=_turns(probe), columns=columns, prefix="Sure")))
                await asyncio.sleep(0)
                older.cancel()
            await client.ask(NextToken(prompt=_turns(probe), columns=columns, prefix="Sure."))

        await pair(probes[0])  # Attaches the adapter.
        for name, ask in (
            ("a scored pair", pair),
            ("a place walked to", walk),
            ("the next token", next_token),
            ("the newest of ten", newest),
        ):
            found |= await _each(name, ask, probes[1:])
        firsts = [await first_token(probe) for probe in probes[1:]]
        found |= _told("first token of a generation", firsts)
        pieces: list[TextChunk] = []
        busy = asyncio.create_task(
            client.ask(Generate(prompt=_turns(probes[0]), columns=columns, samples=64, temperature=1.0), pieces.append)
        )
        while not pieces:
            await asyncio.sleep(0.01)
        found |= await _each("a scored pair while columns speak", pair, read_suites(_SUITES)[60:80])
        busy.cancel()
        await asyncio.gather(busy, return_exceptions=True)
    return found


def at_the_terminal(workspace: Path) -> dict[str, float]:
    """Milliseconds from a key until it is painted, while the columns speak."""
    with Terminal(workspace) as terminal:
        terminal.read_until("1 Pairs")
        terminal.count(1)
        terminal.press("3")
        terminal.read_until("entropy", 60)
        terminal.count(2)
        terminal.press("n")
        times = [1000 * terminal.repainted(key, quiet=0.03) for key in "cbcb" * 5]
        terminal.quit()
    return _told("a key while columns speak", times)


async def _each(name: str, ask: Callable[[Probe], Awaitable[None]], probes: list[Probe]) -> dict[str, float]:
    times = []
    for probe in probes:
        began = time.perf_counter()
        await ask(probe)
        times.append(_since(began))
    return _told(name, times)


def _told(name: str, times: list[float]) -> dict[str, float]:
    return {f"{name}, median": statistics.median(times), f"{name}, p95": sorted(times)[int(0.95 * (len(times) - 1))]}


def _since(began: float) -> float:
    return 1000 * (time.perf_counter() - began)


def _turns(probe: Probe) -> str | list[Turn]:
    if isinstance(probe.prompt, str):
        return probe.prompt
    return [Turn(role=turn.role, content=turn.content) for turn in probe.prompt]


def main(arguments: list[str]) -> int:
    """Prints the figures beside their limits; 1 where one is over."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        os.environ.setdefault("WORKBENCH_STATE", str(root / "state"))
        for folder in ("pairs", "runs"):
            (root / folder).mkdir()
        run = make_run(root)
        workspace = Workspace.find(root)
        found = asyncio.run(at_the_client(workspace.run_folder(run) / "adapter")) | at_the_terminal(root)
    if "--json" in arguments:
        print(json.dumps(found))
    else:
        print("Compare: the embedded model, base and one adapter")
        for name_, value in found.items():
            limit = f"   limit {LIMITS[name_]:.0f}" if name_ in LIMITS else ""
            print(f"{name_:<42}{value:8.1f} ms{limit}")
    return int(any(found[name_] > limit for name_, limit in LIMITS.items()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
