"""What the kernel's counters and its log say of a process that was killed, and what they do not say."""

from pathlib import Path

import pytest

from workbench.memory_kills import control_groups, count_kills, evidence

KILLED = "6,900,{microseconds},-;Memory cgroup out of memory: Killed process 4711 (python) total-vm:8kB, anon-rss:4kB\n"


def machine(root: Path, version: int, kills: int) -> dict[str, float]:
    """Counts of a machine whose group /box, that of this process, has seen so many."""
    own, vmstat = root / "cgroup", root / "vmstat"
    group = root / "groups" / ("box" if version == 2 else "memory/box")
    group.mkdir(parents=True, exist_ok=True)
    own.write_text("0::/box\n" if version == 2 else "4:memory:/box\n1:cpu:/\n0::/\n")
    name = "memory.events" if version == 2 else "memory.oom_control"
    (group / name).write_text(f"oom 9\noom_kill {kills}\noom_kill_disable 0\n")
    vmstat.write_text(f"nr_free_pages 5\noom_kill {kills + 100}\n")
    return count_kills(root / "groups", own, vmstat)


@pytest.mark.parametrize("version", [1, 2])
def test_the_counters_are_those_of_the_own_group_and_the_machine(tmp_path: Path, version: int) -> None:
    before, after = (machine(tmp_path, version, kills) for kills in (2, 5))
    assert (before["group"], before["machine"], after["group"], after["machine"]) == (2, 102, 5, 105)
    assert before["clock"] <= after["clock"]
    nothing = tmp_path / "no log"
    assert "in its control group the kernel killed 3 times" in evidence(4711, before, after, nothing)
    assert evidence(4711, before, before, nothing) == ""


def test_what_is_not_told_is_no_evidence(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    counts = count_kills(missing, missing, missing)
    assert set(counts) == {"clock"}
    assert evidence(4711, counts, counts, missing) == ""
    assert evidence(4711, {}, counts, missing) == ""
    assert list(control_groups(missing, missing)) == []


def test_the_log_names_the_process(tmp_path: Path) -> None:
    log = tmp_path / "kmsg"
    log.write_text("5,0,0,-;Linux\n" + KILLED.format(microseconds=90_000_000))
    assert "the kernel's log says" in evidence(4711, {"clock": 60.0}, {"clock": 100.0}, log)
    assert evidence(4712, {"clock": 60.0}, {"clock": 100.0}, log) == ""
    # An earlier process had the same number.
    assert evidence(4711, {"clock": 95.0}, {"clock": 100.0}, log) == ""
    log.write_bytes(b"\xff\xfe not a record\n;\n")
    assert evidence(4711, {"clock": 60.0}, {"clock": 100.0}, log) == ""


def test_this_machine_is_read_without_an_error() -> None:
    before = count_kills()
    assert evidence(1, before, count_kills()) == ""
