"""A draft session with a scorer that answers when the test says so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from workbench.behaviours.behaviour import english
from workbench.behaviours.reading import KnownBehaviours
from workbench.compare.drafting import DraftSession
from workbench.compare.messages import (
    BehavioursTold,
    Column,
    Generate,
    Generated,
    Generation,
    TellBehaviours,
    TextChunk,
)
from workbench.compare.ranking import DRAFTS
from workbench.compare.scorers import Base
from workbench.compare.tuned_runs import Drafter
from workbench.errors import WorkbenchError
from workbench.pairs.pair import Message, Pair

PAIR = Pair("p1", (Message("user", "Why?"),), (Message("assistant", "So."),), (Message("assistant", "No."),))


class Client:
    """A scorer: `go` lets it answer."""

    def __init__(self) -> None:
        self.running, self.go = True, asyncio.Event()
        self.requests: list[Generate] = []
        self.error: WorkbenchError | None = None

    async def start(self) -> None:
        if self.error is not None:
            raise self.error

    async def ask(self, request: Any, on_part: Callable[[TextChunk], None] = lambda _: None) -> Any:
        if isinstance(request, TellBehaviours):
            assert "refusing" in request.known.by_name
            return BehavioursTold(id=1, shows=[(f"says {answer.text}",) for answer in request.answers])
        self.requests.append(request)
        on_part(TextChunk(id=1, column=0, sample=0, text="Be"))
        await self.go.wait()
        texts = ["Because.", "Because.", "Never."][: request.samples]
        return Generated(
            id=1, columns=[Generation(name="tiny", text=text, tokens=2, ended=text != "Never.") for text in texts]
        )


@pytest.fixture
def client() -> Client:
    return Client()


@pytest.fixture
def changes() -> list[int]:
    return []


@pytest.fixture
def session(client: Client, changes: list[int]) -> DraftSession:
    drafter = Drafter(Base(), Column(name="tiny"), "")
    scorer_for: Any = lambda _: client  # noqa: E731
    known = KnownBehaviours(english())
    return DraftSession(
        PAIR, [drafter], scorer_for, lambda _: known, on_change=lambda: changes.append(1), gather_seconds=0.0
    )


async def test_drafts_come_in_and_are_counted(session: DraftSession, client: Client, changes: list[int]) -> None:
    asked = asyncio.create_task(session.draft())
    await asyncio.sleep(0.01)
    assert session.waiting
    assert session.coming == ["Be", *[""] * (DRAFTS - 1)]
    assert session.tokens == 1
    seen = len(changes)
    client.go.set()
    await asked
    assert len(changes) > seen
    assert not session.waiting
    assert session.came == "3 drafts, 2 new; ▲ 1 cut at a limit"
    drafts = session.ranking.candidates[2:]
    assert [(draft.text, draft.count) for draft in drafts] == [("Because.", 2), ("Never.", 1)]
    assert [each.shows for each in session.ranking.candidates] == [
        ("says So.",), ("says No.",), ("says Because.",), ("says Never.",),
    ]  # fmt: skip
    session.want("says Never.")
    assert (session.showing("says Never."), session.ranking.best_draft("rejected").number) == (1, 3)


async def test_of_two_requests_the_newer_one_counts(session: DraftSession, client: Client) -> None:
    older = asyncio.create_task(session.draft())
    await asyncio.sleep(0.01)
    session.next_temperature()
    session.next_temperature()
    newer = asyncio.create_task(session.draft())
    older.cancel()
    await asyncio.sleep(0.01)
    assert session.waiting, "the older one's end is not the newer one's"
    client.go.set()
    await newer
    assert [request.samples for request in client.requests] == [DRAFTS, 1]
    assert session.came == "1 draft, 1 new"


async def test_a_cancelled_request_and_a_failing_one_say_so(session: DraftSession, client: Client) -> None:
    asked = asyncio.create_task(session.draft())
    await asyncio.sleep(0.01)
    asked.cancel()
    await asyncio.wait([asked])
    assert (session.waiting, session.came) == (False, "cancelled")
    client.error = WorkbenchError("No such model", "")
    with pytest.raises(WorkbenchError):
        await session.draft()
    assert session.came == "no drafts: No such model"


def test_what_was_ranked_is_known(session: DraftSession, changes: list[int]) -> None:
    assert not session.touched
    session.rank(1, 1)
    assert session.ranking.order == (1, 0)
    assert session.touched
    session.rank(1)
    assert not session.touched
    session.switch_making()
    assert session.ranking.making == "each"
    assert len(changes) == 3
