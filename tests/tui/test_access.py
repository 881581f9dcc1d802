"""Whom `workbench serve` lets in."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.tui.access import WINDOW, WRONG_KEYS, Access, is_loopback, new_key

KEY = "the key"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_the_session_is_a_secret_of_its_own_and_another_for_each_server() -> None:
    one, other = Access(KEY, "127.0.0.1"), Access(KEY, "127.0.0.1")
    assert len({one.session, other.session, one.key, new_key(), new_key()}) == 5
    assert one.knows_session(one.session)
    for cookie in ("", KEY, other.session, one.session[:-1], "\udc80", "é"):
        assert not one.knows_session(cookie.encode("utf-8", "replace").decode())


@pytest.mark.parametrize(
    ("host", "exposed", "known", "refused"),
    [
        (
            "127.0.0.1",
            False,
            ["127.0.0.1:8000", "localhost", "LOCALHOST:9", "localhost.", "[::1]:8000", "127.9.9.9"],
            [
                "evil.com",
                "evil.com:8000",
                "127.0.0.1.evil.com",
                "localhost.evil.com",
                "192.168.1.5",
                "",
                "[",
                "a@b:c:d",
            ],
        ),
        ("box", False, ["box:8000", "BOX", "localhost"], ["evil.com", "192.168.1.5", "box.evil.com"]),
        (
            "0.0.0.0",
            True,
            ["192.168.1.5:8000", "[fe80::1]:8000", socket.gethostname(), f"{socket.gethostname()}.local:8000"],
            ["evil.com", "rebind.evil.com:8000", "192.168.1.5.nip.io", ""],
        ),
    ],
)
def test_hosts(host: str, exposed: bool, known: list[str], refused: list[str]) -> None:
    access = Access(KEY, host, exposed)
    assert [each for each in known if not access.knows_host(each)] == []
    assert [each for each in refused if access.knows_host(each)] == []


@given(st.text())
def test_no_header_breaks_it(header: str) -> None:
    Access(KEY, "127.0.0.1").knows_host(header)
    is_loopback(header)


def test_after_too_many_wrong_keys_none_is_looked_at_for_a_while() -> None:
    clock = Clock()
    access = Access(KEY, "0.0.0.0", exposed=True, clock=clock)
    for number in range(WRONG_KEYS):
        assert access.seconds_to_wait("10.0.0.1") == 0
        assert not access.try_key(f"wrong {number}", "10.0.0.1")
    assert 0 < access.seconds_to_wait("10.0.0.1") <= WINDOW
    assert not access.try_key(KEY, "10.0.0.1")
    assert access.try_key(KEY, "10.0.0.2")  # somebody else
    assert access.knows_session(access.session)  # who is in stays in
    clock.now += WINDOW
    assert access.try_key(KEY, "10.0.0.1")


def test_right_keys_are_not_counted() -> None:
    access = Access(KEY, "127.0.0.1")
    assert all(access.try_key(KEY, "127.0.0.1") for _ in range(3 * WRONG_KEYS))


def test_addresses_that_anybody_can_change_count_as_one() -> None:
    access = Access(KEY, "127.0.0.1")
    for peers in ([f"127.0.0.{number}" for number in range(1, 40)], [f"2001:db8::{number}" for number in range(1, 40)]):
        for peer in peers:
            access.try_key("wrong", peer)
        assert access.seconds_to_wait(peers[-1])


def test_memory_is_bounded_and_further_addresses_are_counted_together() -> None:
    access = Access(KEY, "0.0.0.0", exposed=True, clock=Clock())
    for number in range(5000):
        access.try_key("wrong", f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert access.peers <= 1025
    assert access.seconds_to_wait("10.99.99.99")
