"""What no browser sends: bytes that are no text, in every place, to the real server. It answers and logs nothing."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from yarl import URL

from tests.end_to_end.conftest import write_pairs
from workbench.tui.access import WRONG_KEYS

_UPGRADE = [
    b"Upgrade: websocket",
    b"Connection: Upgrade",
    b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Key: " + base64.b64encode(bytes(16)),
]


@dataclass
class Served:
    """A server, its address with the key, what it logs, and the cookie of a browser that brought the key."""

    process: subprocess.Popen[bytes]
    url: URL
    log: Path
    cookie: bytes = b""

    def ask(self, request: bytes, *, silence: float = 20) -> bytes:
        """All that is answered until the server closes, or says nothing for so many seconds."""
        assert self.url.host is not None
        assert self.url.port is not None
        answer = b""
        with socket.create_connection((self.url.host, self.url.port), silence) as connection:
            try:
                connection.sendall(request)
                while got := connection.recv(65536):
                    answer += got
            except (TimeoutError, ConnectionError):
                pass
        return answer

    def get(self, path: bytes, *headers: bytes, known: bool = True, host: bytes = b"127.0.0.1") -> bytes:
        """The answer to GET, from a browser that brought the key, or another."""
        cookie = [b"Cookie: " + self.cookie] * known
        lines = [b"GET " + path + b" HTTP/1.1", b"Host: " + host, *cookie, *headers, b"Connection: close", b"", b""]
        return self.ask(b"\r\n".join(lines))

    def page(self, *frames: bytes) -> bytes:
        """All that a page is sent that says this and goes."""
        lines = [b"GET /ws HTTP/1.1", b"Host: 127.0.0.1", b"Cookie: " + self.cookie, *_UPGRADE, b"", b""]
        return self.ask(b"\r\n".join(lines) + b"".join(frames), silence=60)


def status(answer: bytes) -> int:
    """The status of an answer; 0 where there is none."""
    first = answer.split(b"\r\n", 1)[0].split()
    return int(first[1]) if len(first) > 1 else 0


def frame(payload: bytes, opcode: int = 1) -> bytes:
    """A whole frame of a websocket, as a browser masks it: with a mask of zeros, which leaves the payload as it is."""
    size = len(payload)
    if size < 126:
        length = bytes([0x80 | size])
    elif size < 65536:
        length = b"\xfe" + struct.pack(">H", size)
    else:
        length = b"\xff" + struct.pack(">Q", size)
    return bytes([0x80 | opcode]) + length + bytes(4) + payload


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    root = tmp_path_factory.mktemp("served")
    write_pairs(root / "pairs" / "support.jsonl")
    log = root / "log"
    command = [sys.executable, "-m", "workbench", "--workspace", str(root), "serve", "--port", "0", "--json"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    with (
        log.open("wb") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, env=environment) as one,
    ):
        assert one.stdout is not None
        told = b""
        while b"}" not in told:
            told += one.stdout.readline()
        server = Served(one, URL(json.loads(told)["url"]), log)
        answer = server.get(f"/?key={server.url.query['key']}".encode(), known=False)
        server.cookie = answer.split(b"Set-Cookie: ")[1].split(b";")[0]
        yield server
        one.send_signal(signal.SIGINT)
        assert one.wait(60) == 0
    assert log.read_bytes() == b""


def _refused(served: Served, answer: bytes) -> None:
    assert 400 <= status(answer) < 500, answer[:300]
    assert served.log.read_bytes() == b""


WILD = [b"\xff", b"\xed\xb2\x80", "é".encode(), b"a" * 5000, b"\\377", b'"\\377"']


@pytest.mark.parametrize("wild", WILD, ids=range(len(WILD)))
def test_a_cookie_or_a_key_that_is_no_text_lets_nobody_in(served: Served, wild: bytes) -> None:
    name = served.cookie.split(b"=")[0]
    for cookie in (b"Cookie: " + name + b"=" + wild, b"Cookie: " + b"; ".join([name + b"=" + wild[:9]] * 200)):
        _refused(served, served.get(b"/", cookie, known=False))
    _refused(served, served.get(b"/", b"Cookie: " + name + b"=\0", known=False))


def test_many_wrong_cookies_of_the_name_beside_the_right_one(served: Served) -> None:
    name = served.cookie.split(b"=")[0]
    answer = served.get(b"/", b"Cookie: " + b"; ".join([name + b"=\xff", b"other=\xff", served.cookie]), known=False)
    assert status(answer) < 500
    assert status(served.get(b"/", b"Cookie: other=\xff; " + served.cookie, known=False)) == 200


HEADERS = [
    b"Expect: \xff",
    b"Expect: 100-continu",
    b"Origin: \xff",
    b"If-Modified-Since: Mon, 01 Jan 99999999999 00:00:00 GMT",
    b"Range: bytes=\xff-",
    b"X: \0",
]


@pytest.mark.parametrize("header", HEADERS)
def test_headers_that_nobody_can_read(served: Served, header: bytes) -> None:
    _refused(served, served.get(b"/static/js/textual.js", header))


@pytest.mark.parametrize(
    "host",
    [
        b"\xff",
        b"\xff@127.0.0.1",
        b"user:\xff@localhost",
        b'127.0.0.1/"><script>',
        b"127.0.0.1/; script-src *",
        b"127.0.0.1?x",
        b"127.0.0.1:80 80",
        b"127.0.0.1:999999",
    ],
)
def test_nothing_else_in_the_host_gets_into_the_page(served: Served, host: bytes) -> None:
    answer = served.get(b"/", host=host)
    assert status(answer) in (400, 421)
    _refused(served, answer)


@pytest.mark.parametrize(
    "path",
    [
        b"/?key=\xff",
        b"/static/" + b"a" * 5000,
        b"/static/%00",
        b"/static/%ff",
        b"/static/..%2f..%2f..%2fetc/passwd",
        b"/download/%00%ff%ed%b2%80",
        b"/ws",
    ],
)
def test_paths_of_nothing(served: Served, path: bytes) -> None:
    _refused(served, served.get(path))


@pytest.mark.parametrize("wrong", [b"Sec-WebSocket-Version: \xff", b"Sec-WebSocket-Key: \xff", b"Sec-WebSocket-Key: a"])
def test_no_websocket_where_none_is_asked_for_properly(served: Served, wrong: bytes) -> None:
    name = wrong.split(b":")[0]
    _refused(served, served.get(b"/ws", wrong, *[each for each in _UPGRADE if not each.startswith(name)]))


@pytest.mark.parametrize(
    "said",
    [
        b"{}",
        pytest.param(b"[" * 100_000, id="deep"),
        *(
            pytest.param(said, marks=pytest.mark.slow, id=str(number))
            for number, said in enumerate(
                [
                    b"[]",
                    b"null",
                    b'["stdin"]',
                    b'["stdin", 5]',
                    b'["resize", {}]',
                    b'["resize", {"width": 1e999, "height": "x"}]',
                    b"[" + b"9" * 5000 + b"]",
                    b'["eval", "x"]',
                ]
            )
        ),
    ],
)
def test_a_page_that_says_nonsense_is_closed(served: Served, said: bytes) -> None:
    answer = served.page(frame(said))
    assert status(answer) == 101
    assert b"\x88\x02\x03\xf0" in answer  # closed, 1008
    assert served.log.read_bytes() == b""


def test_frames_that_are_none(served: Served) -> None:
    for frames in (frame(b"\xff"), frame(b"x", 7), b"\x81\x01x", b"\x81\xff" + b"\xff" * 8):
        assert status(served.page(frames)) in (0, 101)
        assert served.log.read_bytes() == b""


_byte = st.binary(max_size=40).map(lambda some: some.replace(b"\n", b""))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=_byte,
    name=st.one_of(st.sampled_from([b"Cookie", b"Origin", b"Expect", b"Range", b"Host"]), _byte),
    value=_byte,
)
def test_no_bytes_break_it(served: Served, path: bytes, name: bytes, value: bytes) -> None:
    for known in (True, False):
        answer = served.get(b"/" + path.replace(b" ", b""), name + b": " + value, known=known)
        assert status(answer) < 500, answer[:300]
    assert served.log.read_bytes() == b""


def test_keys_that_are_no_text_are_wrong_ones(served: Served) -> None:
    """The last test of this file: keys are not looked at for a while after it."""
    answers = [status(served.get(b"/?key=%ff%ed%b2%80" + b"x" * n, known=False)) for n in range(WRONG_KEYS + 1)]
    assert set(answers) <= {403, 429}
    assert answers[-1] == 429


def test_screens_end_with_a_server_that_is_killed(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs" / "support.jsonl")
    command = [sys.executable, "-m", "workbench", "--workspace", str(tmp_path), "serve", "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "HF_HUB_OFFLINE": "1"}) as one:
        assert one.stdout is not None
        told = b""
        while b"}" not in told:
            told += one.stdout.readline()
        server = Served(one, URL(json.loads(told)["url"]), tmp_path / "log")
        answer = server.get(f"/?key={server.url.query['key']}".encode(), known=False)
        server.cookie = answer.split(b"Set-Cookie: ")[1].split(b";")[0]
        lines = [b"GET /ws HTTP/1.1", b"Host: 127.0.0.1", b"Cookie: " + server.cookie, *_UPGRADE, b"", b""]
        assert server.url.port is not None
        with socket.create_connection(("127.0.0.1", server.url.port), 120) as page:
            page.sendall(b"\r\n".join(lines))
            got = b""
            while b"support" not in got:
                got += page.recv(65536)
            screens = psutil.Process(one.pid).children(recursive=True)
            assert screens
            one.kill()
            one.wait()
            _, left = psutil.wait_procs(screens, 60)
        for each in left:
            each.kill()
        assert left == []
