"""A comparison at work without a screen, against a scripted scorer."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from workbench.behaviours.behaviour import Behaviour
from workbench.behaviours.reading import KnownBehaviours
from workbench.compare.client import ScorerClient
from workbench.compare.comparison import ProbeAsked
from workbench.compare.messages import TextChunk
from workbench.compare.scorers import Base
from workbench.compare.session import SAMPLES, ComparisonSession
from workbench.compare.tuned_runs import TunedRun
from workbench.errors import WorkbenchError
from workbench.pairs.pair import Pair

SCRIPT = Path(__file__).with_name("scripted_scorer.py")
PAIR = Pair("p", "Why?", "because it is", "no")
PROBES = [ProbeAsked(str(number), "attack", f"Attack {number}?", {"refusing": "No."}, {}) for number in (1, 2)]


def tuned(name: str, *, step: int = 16, base: Base = Base(), beta: float = 0.25) -> TunedRun:  # noqa: B008 (it is frozen)
    return TunedRun(name, name, base, "dpo", beta, "finished", step, f"runs/{name}/adapter")


class Desk:
    """A session, and all that it told."""

    def __init__(self, mode: str) -> None:
        self.runs = [tuned("newer"), tuned("older", beta=0.5)]
        self.changes = 0
        self.failures: list[tuple[Exception, str]] = []
        self.clients: dict[Base, ScorerClient] = {}
        self.mode = mode
        self.session = ComparisonSession(
            self.client,
            lambda: self.runs,
            lambda: PROBES,
            lambda model: KnownBehaviours({f"known of {model}": Behaviour(phrases=["x"])}),
            on_change=self.count,
            on_failure=self.fail,
        )

    def client(self, base: Base) -> ScorerClient:
        command = [sys.executable, str(SCRIPT), self.mode]
        return self.clients.setdefault(base, ScorerClient(base.model, base.quantization, command=command))

    def count(self) -> None:
        self.changes += 1

    def fail(self, error: Exception, doing: str) -> None:
        self.failures.append((error, doing))

    async def until(self, holds: Callable[[], object]) -> None:
        async with asyncio.timeout(20):
            while not holds():
                await asyncio.sleep(0.005)

    async def settled(self) -> None:
        await self.until(lambda: all(request.done() for request in self.session._requests.values()))

    async def close(self) -> None:
        self.session.close()
        for client in self.clients.values():
            await client.close()


@pytest_asyncio.fixture
async def desk() -> AsyncIterator[Desk]:
    desk = Desk("plays along")
    yield desk
    await desk.close()


async def test_the_newest_run_goes_beside_the_base_and_all_that_is_lacking_comes(desk: Desk) -> None:
    session = desk.session
    assert await session.open()
    await desk.settled()
    now = session.comparison
    assert [column.name for column in now.columns] == ["base", "newer"]
    assert (now.beta, session.device, session.loaded) == (0.25, "cpu", Base())
    assert [generation.text for generation in now.generations] == ["base 0.0 0", "newer 0.0 0"]
    assert [answer.label for answer in now.shown] == ["base's answer", "newer's answer"]
    assert now.unscored() == []
    assert now.rows
    assert desk.changes > 4
    assert desk.failures == []


async def test_a_pair_and_a_run_are_taken_up_and_a_run_without_an_adapter_is_told(desk: Desk) -> None:
    session = desk.session
    # As when a screen is shown and told at once what to show.
    assert await asyncio.gather(session.open(), session.open(PAIR, "older")) == [True, True]
    await desk.settled()
    assert [column.name for column in session.comparison.columns] == ["base", "older"]
    assert session.comparison.beta == 0.5
    assert [answer.label for answer in session.comparison.shown] == ["rejected", "chosen"]
    preference = session.comparison.preference
    assert preference is not None
    assert preference.base == pytest.approx(1 / (1 + 2.718281828**1.0))  # Two words more at half a nat.
    assert not await session.open(run="gone")
    assert [column.name for column in session.comparison.columns] == ["base", "older"]


async def test_a_question_is_asked_as_the_run_was_trained_and_a_pair_as_it_is(desk: Desk) -> None:
    session = desk.session
    desk.runs[1] = replace(desk.runs[1], plain=True)
    await session.open(run="newer")
    prompt = session.comparison.prompt
    assert isinstance(prompt, list)
    (turn,) = prompt
    await session.open(run="older")
    assert session.comparison.prompt == turn.content
    await session.open(run="newer")
    assert session.comparison.prompt == [turn]
    await session.open(PAIR, "newer")
    assert session.comparison.prompt == PAIR.prompt
    await session.open(run="older")
    assert session.comparison.prompt == PAIR.prompt


async def test_a_run_that_went_on_is_asked_anew(desk: Desk) -> None:
    session = desk.session
    await session.open(PAIR)
    await desk.settled()
    before = session.comparison.answers[0].scored
    desk.runs[0] = tuned("newer", step=32)
    await session.open()
    await desk.settled()
    after = session.comparison.answers[0].scored
    assert before is not None
    assert after is not None
    assert after.id > before.id


async def test_a_newer_request_of_a_kind_cancels_the_older_one(desk: Desk) -> None:
    session = desk.session
    await session.open(PAIR)
    await desk.settled()
    session.set_prompt("be silent")
    await desk.until(lambda: session.comparison.prompt == "be silent")
    held = dict(session._requests)
    await asyncio.sleep(0.05)
    session.set_prompt("Why not?")
    await desk.settled()
    assert all(held[kind].cancelled() for kind in ("next token", "generation"))
    assert session.comparison.unscored() == []
    assert desk.failures == []


async def test_a_prefix_is_forced_token_by_token_and_gone_on_from(desk: Desk) -> None:
    session = desk.session
    await session.open()
    await desk.settled()
    session.force_prefix("Well")
    await desk.settled()
    assert session.comparison.prefix_text() == "Well"
    session.force_token(session.comparison.rows[0])
    assert session.comparison.forced_prefix is not None
    assert session.comparison.forced_prefix.taken == (0,)
    await desk.settled()
    session.go_on_from_prefix()
    await desk.settled()
    assert session.comparison.forced_prefix is None
    assert [generation.text for generation in session.comparison.generations] == ["Wellbase 0.0 0", "Wellnewer 0.0 0"]
    session.drop_prefix()
    await desk.settled()


async def test_an_answer_that_samples_gave_up_is_not_shown_as_on_its_way(desk: Desk) -> None:
    session = desk.session
    await session.open()
    await desk.settled()
    session.comparison = session.comparison.with_generation_started("I")
    session.sample()
    await desk.settled()
    assert session.comparison.generations == ()
    assert len(session.comparison.samples) == 2 * SAMPLES


async def test_samples_are_counted_and_can_be_given_up(desk: Desk) -> None:
    session = desk.session
    await session.open()
    await desk.settled()
    assert not session.cancel_samples()
    session.sample()
    await desk.settled()
    assert len(session.comparison.samples) == 2 * SAMPLES
    assert {answer.shows for answer in session.comparison.samples} == {("known of tiny", "no kind")}
    assert (session.sampled_tokens, session.seed) == (0, 0)
    counted = session.comparison.samples
    session.sample()
    await desk.until(lambda: session.sampled_tokens)
    assert session.cancel_samples()
    await desk.until(lambda: not session.sampled_tokens)
    assert session.comparison.samples is counted
    assert session.seed == 1
    session.next_temperature()
    await desk.settled()
    assert (session.temperature, session.seed) == (0.7, 2)
    assert session.comparison.generations[0].text == "base 0.7 2"


async def test_columns_come_and_go(desk: Desk) -> None:
    session = desk.session
    await session.open()
    session.add_column(None, "Be kind.")
    session.add_column(desk.runs[1], None)
    await desk.settled()
    assert [column.name for column in session.comparison.columns] == ["base", "newer", "base + system", "older"]
    assert session.comparison.unscored() == []
    session.next_column(1)
    assert session.comparison.current == 1
    session.remove_column()
    session.remove_column()
    session.remove_column()
    assert [column.name for column in session.comparison.columns] == ["base"]
    # What the user took away does not come back by itself.
    assert not session.lacks_run
    await session.open()
    assert len(session.comparison.columns) == 1
    other = tuned("other", base=Base("another", "none"))
    session.add_column(other, None)
    await desk.settled()
    assert session.loaded == other.base
    assert [column.name for column in session.comparison.columns] == ["base", "other"]


async def test_probes_come_in_turn_and_one_that_is_left_is_not_in_view(desk: Desk) -> None:
    session, seen = desk.session, []
    for by in (1, 1, 1, -1):
        await session.next_probe(by, generate=False)
        seen.append((session.comparison.prompt, session.probe))
    assert [probe for _, probe in seen] == ["probe 1: 1 of 2", "probe 2: 2 of 2", "probe 1: 1 of 2", "probe 2: 2 of 2"]
    assert seen[0][0] != seen[1][0]
    await session.open(PAIR)
    assert session.probe == ""


async def test_tokens_are_walked_and_picked(desk: Desk) -> None:
    session = desk.session
    await session.open(PAIR)
    await desk.settled()
    session.pick_token(session.comparison.answers[1], 2)
    await desk.settled()
    assert (session.comparison.active, session.comparison.position) == (1, 2)
    assert session.comparison.inspected is not None
    assert session.comparison.inspected.title == "at token 3"
    session.walk(-1000)
    assert session.comparison.position == 0
    session.next_answer()
    await desk.settled()
    assert session.comparison.active in (0, 2)


async def test_an_error_is_told_once_and_again_when_it_is_met_again() -> None:
    desk = Desk("refuses")
    session = desk.session
    await session.open()
    await desk.settled()
    ((error, _),) = desk.failures
    assert isinstance(error, WorkbenchError)
    assert (session.device, session.loading_since) == ("no model", None)
    assert session.comparison.generations == ()
    session.generate()
    await desk.settled()
    assert len(desk.failures) == 2
    await desk.close()


async def test_what_nobody_foresaw_is_told_with_what_was_being_done(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = desk.session
    await session.open()
    await desk.settled()

    def broken(_: list[TextChunk]) -> None:
        raise PermissionError("not yours")

    monkeypatch.setattr(type(session.comparison), "with_generated", broken)
    session.generate()
    await desk.settled()
    ((error, doing),) = desk.failures
    assert isinstance(error, TypeError | PermissionError)
    assert doing == "generating answers"


async def test_a_closed_session_asks_nothing_more(desk: Desk) -> None:
    session = desk.session
    await session.open()
    session.close()
    changes = desk.changes
    await asyncio.sleep(0.1)
    assert desk.changes == changes
    assert desk.failures == []
