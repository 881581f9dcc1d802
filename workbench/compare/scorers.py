"""Which base model is compared, and the one scorer process that is warm for it."""

from __future__ import annotations

import asyncio
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

from workbench.trust import Trust

if TYPE_CHECKING:
    from workbench.compare.client import ScorerClient
    from workbench.config import Quantization


@dataclass(frozen=True, slots=True)
class Base:
    """A base model, how its weights are held, and how turns are written: what one scorer process serves."""

    model: str = "tiny"
    quantization: Quantization = "nf4"
    chat_template: str = ""
    """A template in the place of the model's own, as a run chose it; empty for that."""
    trust_remote_code: bool = False
    """Whether Python that comes with the model may run."""
    allow_pickle: bool = False
    """Whether its weights may be a pickle."""

    @property
    def trust(self) -> Trust:
        """What the model's files may do here."""
        return Trust(self.trust_remote_code, self.allow_pickle)


class Scorers:
    """Owns the scorer process: one for one base model at a time, warm until another base is asked for or the app ends.

    A box has room for one model: who asked the scorer of the base before is told that it was closed.
    """

    def __init__(self) -> None:
        self._client: ScorerClient | None = None
        self._closing: set[asyncio.Task[None]] = set()

    def of(self, base: Base) -> ScorerClient:
        """The scorer of a base; its process starts with the first request."""
        from workbench.compare.client import ScorerClient  # Not before the first comparison: it takes time to import.

        client = self._client
        if client is None or client.serves != astuple(base):
            if client is not None:
                task = asyncio.create_task(client.close())
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)
            client = self._client = ScorerClient(*astuple(base))
        return client

    async def close(self) -> None:
        """Ends the process: it never outlives the app."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()
        await asyncio.gather(*self._closing)
