"""Scorers are killed, stopped and hang: who asked is told or answered rightly, and the next question is answered."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import Any

import psutil
import pytest

from tests.faults.table import FaultTable, seeded, times
from workbench.compare import client as scorer_client
from workbench.compare.client import ScorerClient
from workbench.compare.messages import Column, Generate, NextToken, ScoreResponse, ScorerRequest
from workbench.errors import WorkbenchError

BASE = [Column(name="base")]
QUESTIONS: list[ScorerRequest] = [
    NextToken(columns=BASE, prompt="What about the card?"),
    ScoreResponse(columns=BASE, prompt="What about the card?", response="Gladly. We look after the card at once."),
    Generate(columns=BASE, prompt="What about the card?", max_new_tokens=40, temperature=0.0, seed=1),
]


def pid_of(client: ScorerClient) -> int:
    assert client._process is not None
    return client._process._process.pid


def same(one: Any, other: Any) -> bool:
    return bool(one.model_copy(update={"id": 0}) == other.model_copy(update={"id": 0}))


@pytest.mark.timeout(3600)
async def test_a_scorer_killed_at_random_moments(faults: FaultTable) -> None:
    rng, pids = seeded(50), list[int]()
    async with ScorerClient("tiny") as client:
        began = time.monotonic()
        expected = [await client.ask(question) for question in QUESTIONS]  # type: ignore[call-overload]
        answering = time.monotonic() - began
    client = ScorerClient("tiny")
    for _ in range(times(50)):
        with faults.attempt("scorer killed") as attempt:
            asked = [asyncio.ensure_future(client.ask(question)) for question in QUESTIONS]  # type: ignore[call-overload]
            if rng.random() < 0.7:
                await client.start()
            await asyncio.sleep(rng.uniform(0, 1.2 * answering))
            pids.append(pid_of(client))
            os.kill(pids[-1], signal.SIGKILL)
            answers = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 60)
            for right, answer in zip(expected, answers, strict=True):
                if isinstance(answer, BaseException):
                    assert isinstance(answer, WorkbenchError), answer
                    assert "signal 9" in answer.message
                else:
                    assert same(answer, right)
            while client.running:  # The kernel has not told yet; who asks now is told to ask again.
                await asyncio.sleep(0.01)
            again = await client.ask(QUESTIONS[0])  # type: ignore[call-overload]
            attempt.kept([True], [same(again, expected[0])])
    await client.close()
    assert not [pid for pid in {*pids} if psutil.pid_exists(pid)], "a scorer is left, or a zombie of one"


async def test_a_scorer_that_is_stopped_goes_on_where_it_was(faults: FaultTable) -> None:
    async with ScorerClient("tiny") as client:
        expected = [await client.ask(question) for question in QUESTIONS]  # type: ignore[call-overload]
        for _ in range(times(5)):
            with faults.attempt("scorer stopped and continued"):
                os.kill(pid_of(client), signal.SIGSTOP)
                asked = [asyncio.ensure_future(client.ask(question)) for question in QUESTIONS]  # type: ignore[call-overload]
                await asyncio.sleep(0.5)
                assert not any(each.done() for each in asked)
                os.kill(pid_of(client), signal.SIGCONT)
                answers = await asyncio.wait_for(asyncio.gather(*asked), 60)
                for answer, right in zip(answers, expected, strict=True):
                    assert same(answer, right)


async def test_a_scorer_that_hangs_is_given_up_and_replaced(
    faults: FaultTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scorer_client, "HUNG", 0.5)
    client = ScorerClient("tiny")
    expected = await client.ask(QUESTIONS[0])  # type: ignore[call-overload]
    for _ in range(times(3)):
        with faults.attempt("scorer hangs"):
            hung = pid_of(client)
            os.kill(hung, signal.SIGSTOP)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.ask(QUESTIONS[0]), 0.2)  # type: ignore[call-overload]
            deadline = time.monotonic() + 60
            while psutil.pid_exists(hung):
                assert time.monotonic() < deadline, "the scorer that hangs is still there"
                await asyncio.sleep(0.05)
            assert same(await client.ask(QUESTIONS[0]), expected)  # type: ignore[call-overload]
    # One that answers what is given up, however late, is kept.
    kept = pid_of(client)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(client.ask(QUESTIONS[2]), 0.001)  # type: ignore[call-overload]
    await asyncio.sleep(2)
    assert same(await client.ask(QUESTIONS[0]), expected)  # type: ignore[call-overload]
    assert pid_of(client) == kept
    with faults.attempt("scorer hangs"):
        os.kill(kept, signal.SIGSTOP)
        await asyncio.wait_for(client.close(), 60)
        assert not psutil.pid_exists(kept)
