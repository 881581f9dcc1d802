"""The screens over HTTP, for real: a server process, a page, a terminal on its websocket."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

from tests.end_to_end.conftest import workbench, write_pairs
from tests.end_to_end.devtools import CHROMIUM, Page, browser
from workbench.tui.access import WINDOW, WRONG_KEYS

_ESCAPES = re.compile(rb"\x1b\[[0-9;?<>=]*[a-zA-Z]")


@pytest.fixture
def served(tmp_path: Path) -> Iterator[URL]:
    """The address of a server on a workspace with some pairs; it ends well with the test."""
    write_pairs(tmp_path / "pairs" / "support.jsonl")
    command = [sys.executable, "-m", "workbench", "--workspace", str(tmp_path), "serve", "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "HF_HUB_OFFLINE": "1"}) as one:
        assert one.stdout is not None
        told = b""
        while b"}" not in told:
            told += one.stdout.readline()
        document = json.loads(told)
        assert document["host"] == "127.0.0.1"
        yield URL(document["url"])
        one.send_signal(signal.SIGINT)
        assert one.wait(60) == 0
        assert one.stdout.read() == b""


async def seen(socket: aiohttp.ClientWebSocketResponse, *words: str, seconds: float = 90) -> str:
    """What the terminal is sent, escape sequences aside, until all of these words have come."""
    got = b""
    async with asyncio.timeout(seconds):
        async for message in socket:
            got += message.data if isinstance(message.data, bytes) else str(message.data).encode()
            text = _ESCAPES.sub(b"", got).decode("utf-8", "replace")
            if all(word in text for word in words):
                return text
    raise AssertionError(got)


@pytest.mark.timeout(280)
async def test_the_page_has_the_screens_and_only_for_who_has_the_key(served: URL) -> None:
    bare = served.with_query(None)
    async with aiohttp.ClientSession() as stranger:
        for path in ("/", "/ws", "/static/js/textual.js"):
            async with stranger.get(bare.with_path(path)) as answer:
                assert answer.status == 403
        async with stranger.get(bare.with_query(key="guess")) as answer:
            assert answer.status == 403
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        async with session.get(served) as answer:
            page = await answer.text()
            assert answer.status == 200
            assert answer.url == bare
        assert "Alignment Workbench" in page
        for path, status in (("/static/js/textual.js", 200), ("/static/", 404), ("/static/js/", 404)):
            async with session.get(bare.with_path(path)) as answer:
                assert answer.status == status, path
        found = set(re.findall(r"(?:https?|ws)://[^/\"' ]+", page)) - {"http://www.w3.org"}  # a namespace
        assert found == {f"ws://{bare.authority}"}
        assert "/static/css/xterm.css" in page
        async with session.get(bare.with_path("/static/js/textual.js")) as answer:
            assert answer.status == 200
        with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
            await session.ws_connect(bare.with_path("/ws"), origin="http://127.0.0.1:1")
        async with session.ws_connect(bare.with_path("/ws"), origin=str(bare.origin())) as terminal:
            await terminal.send_json(["resize", {"width": 100, "height": 30}])
            await seen(terminal, "1 Pairs", "2 Runs", "support")
            await terminal.send_json(["stdin", "2"])
            await seen(terminal, "No runs yet")


async def test_what_the_browser_keeps_is_not_the_key(served: URL) -> None:
    bare = served.with_query(None)
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        async with session.get(served, allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"]) == (302, "/")
            (cookie,) = answer.headers.getall("Set-Cookie")
        name, _, rest = cookie.partition("=")
        value, *flags = [part.strip() for part in rest.split(";")]
        assert name == f"workbench-{bare.port}"
        assert value
        assert served.query["key"] not in cookie
        assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(flags)
        async with session.get(bare) as answer:
            assert served.query["key"] not in await answer.text()
        # With the session there already, the key goes out of the address all the same.
        async with session.get(served.with_query(key="old"), allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"]) == (302, "/")
    forged = {f"workbench-{bare.port}": served.query["key"]}
    async with aiohttp.ClientSession() as session, session.get(bare, cookies=forged) as answer:
        assert answer.status == 403


async def test_no_page_frames_it_and_no_other_name_reaches_it(served: URL) -> None:
    bare = served.with_query(None)
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        async with session.get(served) as answer:
            assert answer.status == 200
        for path in ("/", "/static/js/textual.js", "/nosuch", "/download/nosuch"):
            async with session.get(bare.with_path(path)) as answer:
                assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
                assert answer.headers["X-Frame-Options"] == "DENY"
                assert answer.headers["Referrer-Policy"] == "no-referrer"
        for host, status in (
            ("rebound.example:80", 421),
            (f"evil.example:{bare.port}", 421),
            (f"127.0.0.1.evil.example:{bare.port}", 421),
            ("localhost:9999", 200),  # a forwarded port
            ("127.0.0.1", 200),
        ):
            async with session.get(bare, headers={"Host": host}) as answer:
                assert answer.status == status, host
                assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
        with pytest.raises(aiohttp.WSServerHandshakeError, match="421"):
            await session.ws_connect(bare.with_path("/ws"), headers={"Host": "rebound.example"})
    # Not even with the key: a page elsewhere could have it asked for under its own name.
    async with aiohttp.ClientSession() as stranger, stranger.get(served, headers={"Host": "rebound.example"}) as answer:
        assert answer.status == 421
        assert "Set-Cookie" not in answer.headers


async def test_wrong_keys_have_to_wait_and_who_is_in_stays_in(served: URL) -> None:
    bare = served.with_query(None)
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        async with session.get(served) as answer:
            assert answer.status == 200
        async with aiohttp.ClientSession() as stranger:
            statuses = []
            for number in range(WRONG_KEYS + 3):
                async with stranger.get(bare.with_query(key=f"guess {number}")) as answer:
                    statuses.append(answer.status)
            assert statuses == [403] * WRONG_KEYS + [429] * 3
            async with stranger.get(served) as answer:
                assert answer.status == 429
                assert 0 < int(answer.headers["Retry-After"]) <= WINDOW
            async with stranger.get(bare) as answer:
                assert answer.status == 403
        async with session.get(bare) as answer:
            assert answer.status == 200


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_a_browser_shows_the_screens_and_asks_nobody_else(served: URL, tmp_path: Path) -> None:
    with browser(tmp_path / "profile") as page:
        page("Page.navigate", url=str(served))
        deadline = time.monotonic() + 90
        while "1 Pairs" not in (text := received(page)):
            assert time.monotonic() < deadline, text
            time.sleep(0.2)
            page.evaluate("1")  # takes in what the browser tells
        drawn = "document.body.matches('.-first-byte') && document.querySelector('.xterm-screen canvas').width > 100"
        while not page.evaluate(drawn):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        # Without its style sheet the terminal would lie below the field that takes the keys.
        assert page.evaluate("document.querySelector('.xterm-screen').getBoundingClientRect().top") < 5
        hosts = {URL(each["request"]["url"]).authority for each in page.told("Network.requestWillBeSent")}
        assert hosts - {"", None} == {served.authority}
        wrong = [each["exceptionDetails"]["text"] for each in page.told("Runtime.exceptionThrown")]
        assert wrong == []


def received(page: Page) -> str:
    """What the page's terminal was sent so far, escape sequences aside."""
    frames = [each["response"] for each in page.told("Network.webSocketFrameReceived")]
    got = b"".join(base64.b64decode(frame["payloadData"]) for frame in frames if frame["opcode"] == 2)
    return _ESCAPES.sub(b"", got).decode("utf-8", "replace")


def test_other_hosts_are_refused_with_the_reason(tmp_path: Path) -> None:
    for host in ("0.0.0.0", "192.168.1.5", "::"):
        done = workbench(tmp_path, "serve", "--host", host)
        assert done.returncode == 2
        assert "Nothing is encrypted" in done.stderr
        assert "ssh -L 8000:127.0.0.1:8000" in done.stderr


def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = workbench(tmp_path, "serve", "--port", port)
    assert done.returncode == 2
    assert f"port {port}" in done.stderr
    assert "Traceback" not in done.stderr
