"""What the doctor makes of environments, sizes and versions; and of libraries that crash."""

import pwd
import socket
import sys
import tempfile
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from workbench import doctor
from workbench.runs import machine
from workbench.workspace import Workspace


@pytest.mark.parametrize(
    ("environment", "level", "said"),
    [
        ({"TERM": "xterm-256color", "COLORTERM": "truecolor"}, "ok", "16 million colours"),
        ({"TERM": "tmux-256color", "COLORTERM": "truecolor", "TMUX": "/x"}, "ok", "in tmux"),
        ({"TERM": "xterm-256color", "COLORTERM": "truecolor", "TMUX": "/x"}, "warning", "in tmux, but TERM is xterm"),
        ({"TERM": "screen", "TMUX": "/x"}, "warning", "16 colours"),
        ({"TERM": "xterm-256color"}, "warning", "256 colours"),
        ({"TERM": "dumb"}, "missing", "TERM is dumb"),
        ({}, "missing", "TERM is not set"),
    ],
)
def test_colours(environment, level, said):
    found = doctor.colours(environment)
    assert (found.level, said in found.message) == (level, True), found
    assert bool(found.hint) == (level != "ok")


def test_size_and_characters():
    assert doctor.room((80, 24)).level == "ok"
    assert doctor.room((79, 24)).level == doctor.room((80, 23)).level == "warning"
    assert doctor.characters("UTF-8").level == doctor.characters("utf8").level == "ok"
    assert doctor.characters("ANSI_X3.4-1968").level == "missing"


def installed(versions):
    def version(name):
        if name not in versions:
            raise PackageNotFoundError(name)
        return versions[name]

    return version


def test_packages_that_are_absent_or_too_old_are_missing():
    asked = [Requirement(each) for each in ("torch>=2.13,<3", "trl>=1.16,<1.17", "peft>=0.21")]
    whole = {"torch": "2.13.0+cpu", "trl": "1.16.0", "peft": "0.21.2"}
    assert doctor.needed(asked, installed(whole)).level == "ok"
    found = doctor.needed(asked, installed({"torch": "2.12.0", "trl": "1.17.0"}))
    assert found.level == "missing"
    for said in ("torch 2.12.0 is not", "trl 1.17.0 is not", "peft is not installed"):
        assert said in found.message


def test_other_versions_than_those_tested_are_a_warning():
    lines = ["# pins", "torch==2.13.0", "textual-serve==1.1.3", "unrelated==1"]
    names = ["torch", "textual_serve"]
    assert doctor.pinned(lines, names, installed({"torch": "2.13.0+cu130", "unrelated": "2"})).level == "ok"
    found = doctor.pinned(lines, names, installed({"torch": "2.14.0", "textual-serve": "1.1.3"}))
    assert (found.level, found.message) == ("warning", "torch 2.14.0, tested with 2.13.0")


def test_this_machine_has_what_it_needs_or_no_test_could_run():
    assert all(each.level != "missing" for each in doctor.packages())


def test_libraries_that_crash_are_told_with_their_last_words():
    script = """
import os
from workbench.child import serve
def work(request, parent):
    print("noise")
    parent.part({"name": "torch", "level": "ok", "message": "2", "hint": ""})
    %s
serve(work)
"""
    died = list(doctor.libraries((sys.executable, "-c", script % "os.kill(os.getpid(), 11)")))
    assert [(each.name, each.level) for each in died] == [("torch", "ok"), ("4-bit", "missing")]
    assert "signal 11" in died[1].message
    failed = list(doctor.libraries((sys.executable, "-c", script % 'raise ImportError("libcudart.so is gone")')))
    assert "libcudart.so is gone" in failed[1].message
    assert failed[1].hint


def test_disk_and_memory(tmp_path, monkeypatch):
    def look(free, disk):
        monkeypatch.setattr(machine, "memory", lambda: machine.Memory(64 * 10**9, free))
        monkeypatch.setattr(machine, "disk_free", lambda _: disk)
        return {each.name: each for each in doctor.machine(Workspace(tmp_path))}

    roomy = look(32 * 10**9, 10**12)
    assert (roomy["memory"].level, roomy["disk"].level) == ("ok", "ok")
    tight = look(10**9, 10**9)
    assert (tight["memory"].level, tight["disk"].level) == ("warning", "warning")
    assert look(10**9, 10**7)["disk"].level == "missing"


def test_the_hub_is_reached_or_not(tmp_path, monkeypatch):
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        assert doctor._reached(address, offline=False).level == "ok"
        assert doctor._reached(address, offline=True).level == "warning"
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:secret@127.0.0.1:{server.getsockname()[1]}")
        through = doctor._reached("https://hub.invalid", offline=False)
        assert (through.level, "secret" in through.message) == ("ok", False)
    assert doctor._reached(address, offline=False).level == "warning"
    (tmp_path / "models--org--name").mkdir()
    assert "1 in" in doctor._cached(tmp_path).message
    assert "org/name" in doctor._cached(tmp_path).message


@pytest.fixture
def open_folder():
    """A folder that everybody can get to, unlike those of pytest."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


def test_who_else_can_read_the_workspace(open_folder):
    root = open_folder / "work"
    root.mkdir()
    other = pwd.struct_passwd(("ann", "x", 1234, 1234, "", "/home/ann", "/bin/bash"))
    service = pwd.struct_passwd(("www", "x", 33, 33, "", "/", "/usr/sbin/nologin"))

    def found(mode, *accounts):
        root.chmod(mode)
        return doctor.privacy(Workspace(root), lambda: accounts)

    assert found(0o755, other).level == "warning"
    assert "ann" in found(0o755, other).message
    assert "can read" in found(0o755, other).message
    assert "umask 077" in found(0o755, other).hint
    assert "can change" in found(0o777, other).message
    assert found(0o777, service).level == "warning"  # a service could be made to write there
    assert found(0o755, service).level == "ok"
    assert found(0o700, other).level == "ok"
    open_folder.chmod(0o700)
    assert found(0o777, other).level == "ok"  # nobody gets there
