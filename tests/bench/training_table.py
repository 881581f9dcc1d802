"""What the measurements of training amount to: medians, and a table with the aims."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from tests.bench import machine

AIMS = {"1.3M": 10.0, "5.9M": 6.0, "SmolLM2": 3.0, "demo": 3.0}
"""How many times as many pairs a second as stock TRL, the reference computed within the run."""
WARM_AIM = 1.25
"""How many times that, where the reference's log-probabilities are in the workspace's cache."""
SIDES = {
    "stock": "stock TRL",
    "precomputed": "stock TRL, reference precomputed",
    "cold": "workbench",
    "warm": "workbench, reference cached",
}


def pace(took: dict[str, Any]) -> float:
    """Pairs a second, the reference's pre-pass counted."""
    return float(took["pairs"] / (took["seconds"] + took["reference_seconds"]))


def summary(found: dict[str, Any]) -> dict[str, dict[str, dict[str, float]]]:
    """By case and side: medians of pairs a second, of peak memory and of seconds, and the ratio to stock TRL."""
    summed: dict[str, dict[str, dict[str, float]]] = {}
    for name, case in found["cases"].items():
        sides: dict[str, dict[str, float]] = {}
        for side in SIDES:
            took = [each for each in case["measurements"] if each["side"] == side]
            if took:
                sides[side] = {
                    "rounds": len(took),
                    "pairs_per_second": statistics.median(map(pace, took)),
                    "steps_only": statistics.median(each["pairs"] / each["seconds"] for each in took),
                    "reference_seconds": statistics.median(each["reference_seconds"] for each in took),
                    "whole_seconds": statistics.median(each["whole_seconds"] for each in took),
                    "processor_ms": statistics.median(
                        1000 * each["processor_seconds"] / each["pairs"] for each in took
                    ),
                    "load": max(each["load"] for each in took),
                    "peak_bytes": statistics.median(each["peak_bytes"] for each in took),
                }
        for values in sides.values():
            if "stock" in sides:
                values["processor_times_stock"] = sides["stock"]["processor_ms"] / values["processor_ms"]
                values["times_stock"] = values["pairs_per_second"] / sides["stock"]["pairs_per_second"]
        summed[name] = sides
    return summed


_NOTE = """\
Pairs a second count training with the reference's pre-pass. Processor time is that of all threads meanwhile: it says
more where others used the machine too. Load is the most that there was just before a measurement."""
_HEAD = (
    "",
    "pairs/s",
    "× stock",
    "processor ms a pair",
    "× stock",
    "pre-pass",
    "peak memory",
    "process",
    "rounds",
    "load",
)


def table(found: dict[str, Any]) -> str:
    """Markdown, a table a case."""
    lines = ["# Training on the CPU", "", machine.told(found["machine"]) + ".", "", _NOTE, ""]
    summed = summary(found)
    for name, case in found["cases"].items():
        tokens = case["tokens"]
        about = (
            f"{tokens['pairs']} pairs, batch {case['batch']}, max_length {case['max_length']}, {tokens['threads']} "
            f"threads. {tokens['unique']:.0f} unique tokens a pair; with padding, in random order, stock TRL computes "
            f"{tokens['padded']:.0f}: {tokens['ratio']:.2f} times as many."
        )
        lines += [f"## {name}: {case['about']}", "", about]
        lines += ["", _row(_HEAD), _row(["---"] * len(_HEAD))]
        lines += [_row(_cells(side, values)) for side, values in summed[name].items()]
        lines += ["", *_aims(name, summed[name])]
    return "\n".join(lines).rstrip()


def _cells(side: str, values: dict[str, float]) -> Sequence[str]:
    wall, computed = (f"{values.get(key, 0):.2f}" for key in ("times_stock", "processor_times_stock"))
    return (
        SIDES[side],
        f"{values['pairs_per_second']:.3g}",
        wall,
        f"{values['processor_ms']:.1f}",
        computed,
        f"{values['reference_seconds']:.1f} s",
        f"{values['peak_bytes'] / 1e6:.0f} MB",
        f"{values['whole_seconds']:.0f} s",
        f"{values['rounds']:.0f}",
        f"{values['load']:.1f}",
    )


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _aims(name: str, sides: dict[str, dict[str, float]]) -> list[str]:
    told = []
    if {"stock", "cold"} <= sides.keys():
        times = sides["cold"]["times_stock"]
        told.append(f"Aim ≥ {AIMS[name]:g} × stock: {times:.2f}, {'reached' if times >= AIMS[name] else 'missed'}.")
    if {"cold", "warm"} <= sides.keys():
        more = sides["warm"]["pairs_per_second"] / sides["cold"]["pairs_per_second"]
        told.append(f"Aim ≥ {WARM_AIM} × that when warm: {more:.2f}, {'reached' if more >= WARM_AIM else 'missed'}.")
    return [" ".join(told), ""] if told else []
