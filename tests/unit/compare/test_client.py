"""The client against a child that speaks the protocol and can be made to misbehave (see scripted_scorer.py)."""

import asyncio
import contextvars
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from workbench.compare.client import ScorerClient
from workbench.compare.messages import Column, Generate, TextChunk
from workbench.errors import WorkbenchError

SCRIPT = Path(__file__).with_name("scripted_scorer.py")


def saying(prompt: str) -> Generate:
    return Generate(prompt=prompt, columns=[Column(name="base")])


def scripted(mode: str = "well") -> ScorerClient:
    return ScorerClient("m", command=[sys.executable, str(SCRIPT), mode])


@pytest_asyncio.fixture
async def client() -> AsyncIterator[ScorerClient]:
    async with scripted() as started:
        yield started


async def test_a_generation_streams_its_pieces_and_ends_with_the_whole(client: ScorerClient) -> None:
    pieces: list[TextChunk] = []
    whole = await client.ask(saying("hello"), pieces.append)
    assert "".join(piece.text for piece in pieces) == whole.columns[0].text == "0 1 2 "


async def test_what_comes_is_heard_in_the_context_of_who_asked(client: ScorerClient) -> None:
    """Textual's timers and widgets find their app in a context variable."""
    told = contextvars.ContextVar[str]("told")
    heard: list[str | None] = []
    for app in ("one app", "another"):
        told.set(app)
        await client.ask(saying("hello"), lambda _: heard.append(told.get(None)))
    assert heard == ["one app"] * 3 + ["another"] * 3


async def test_answers_find_those_who_asked(client: ScorerClient) -> None:
    slow, quick = await asyncio.gather(client.ask(saying("be slow")), client.ask(saying("quick")))
    assert quick.id == slow.id + 1


async def test_a_refusal_is_raised_in_its_three_parts(client: ScorerClient) -> None:
    with pytest.raises(WorkbenchError) as raised:
        await client.ask(saying("refuse"))
    assert (raised.value.title, raised.value.message, raised.value.hint) == ("No adapter there", "It is not.", "Wait.")


async def test_floods_on_stderr_and_noise_on_stdout_stall_nothing(client: ScorerClient) -> None:
    whole = await asyncio.wait_for(client.ask(saying("chatter")), 20)
    assert whole.columns[0].tokens == 3


async def test_an_answer_of_a_megabyte_arrives(client: ScorerClient) -> None:
    whole = await client.ask(saying("long"))
    assert whole.columns[0].text == "é" * 500_000


async def test_cancelling_the_task_cancels_the_request(client: ScorerClient) -> None:
    task = asyncio.create_task(client.ask(saying("be silent")))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    # The child answers in order: once this is answered it has heard of the cancelled one, and says so when it dies.
    await client.ask(saying("hello"))
    with pytest.raises(WorkbenchError, match="cancelled 1"):
        await client.ask(saying("die"))


async def test_a_death_is_told_with_the_last_words_and_the_next_request_starts_anew(client: ScorerClient) -> None:
    waiting = asyncio.create_task(client.ask(saying("be silent")))
    await asyncio.sleep(0.05)
    with pytest.raises(WorkbenchError) as raised:
        await client.ask(saying("die"))
    assert raised.value.title == "The scorer died"
    assert "exit status 9.\nlast words" in raised.value.message
    with pytest.raises(WorkbenchError):
        await waiting
    assert not client.running
    assert (await client.ask(saying("hello"))).columns[0].tokens == 3


async def test_a_model_that_cannot_be_loaded_is_told_as_the_scorer_tells_it() -> None:
    with pytest.raises(WorkbenchError, match="No such model"):
        async with scripted("refuses"):
            pass


async def test_a_scorer_that_dies_at_once_is_told_with_its_words() -> None:
    client = scripted("dies at once")
    with pytest.raises(WorkbenchError, match="no such library"):
        await client.ask(saying("hello"))
    with pytest.raises(WorkbenchError, match="no such library"):
        await client.start()
    await client.close()


async def test_a_command_that_is_not_there_is_told() -> None:
    with pytest.raises(WorkbenchError, match="did not start"):
        await ScorerClient("m", command=["/no/such/program"]).start()


async def test_what_a_callback_raises_ends_its_request_only(client: ScorerClient) -> None:
    def fail(_: TextChunk) -> None:
        raise KeyError("bad callback")

    with pytest.raises(KeyError, match="bad callback"):
        await client.ask(saying("hello"), fail)
    assert (await client.ask(saying("hello"))).columns[0].tokens == 3


async def test_closing_ends_the_process_and_answers_who_waits() -> None:
    client = scripted()
    await client.start()
    (process,) = [child for child in psutil.Process().children() if str(SCRIPT) in child.cmdline()]
    waiting = asyncio.create_task(client.ask(saying("be silent")))
    await asyncio.sleep(0.1)
    await client.close()
    with pytest.raises(WorkbenchError, match="was closed"):
        await waiting
    assert not process.is_running()
    await client.close()
