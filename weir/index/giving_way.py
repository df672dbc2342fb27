"""Embedding for a version that is being built, a text at a time while people ask.

The bulk model runs at the lowest priority, but a core that computes is a core whose caches and whose sibling thread are
busy: two of two made the p95 of questions half as long again. Nobody waits for a version that is being built.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

import numpy as np

from schemas import topics
from weir import telemetry
from weir.errors import Unavailable
from weir.kafka.topic_offsets import TopicOffsets
from weir.retrieval.embed import BULK_BATCH, BULK_IN_FLIGHT, LATER, Vectors
from weir.retrieval.embedders import Embeds
from weir.settings import Settings

LOOK = 1.0
"""Seconds between two looks at the questions."""
LATELY = 5.0
"""Seconds after a question in which the next one is expected."""

log = telemetry.logger(__name__)


class Questions:
    """Whether people are asking: the ends of `questions`, looked at when somebody wants to know."""

    def __init__(self, settings: Settings, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._offsets = TopicOffsets(settings, topics.QUESTIONS.named(settings.prefix))
        self._monotonic = monotonic
        self._looking = asyncio.Lock()
        self._ends: dict[int, int] = {}
        self._looked = self._moved = -LATELY

    async def lately(self) -> bool:
        """Whether one came within the last seconds; no where Kafka does not answer."""
        async with self._looking:
            if self._monotonic() - self._looked >= LOOK:
                try:
                    ends = await asyncio.to_thread(self._offsets.ends)
                except Unavailable as e:
                    log.warning("cannot tell whether anybody asks", reason=e.message)
                    ends = self._ends
                self._looked = self._monotonic()
                if self._ends and ends != self._ends:
                    self._moved = self._looked
                self._ends = ends
        return self._monotonic() - self._moved < LATELY


class GivingWay:
    """An embedder of documents. What it embeds LATER gives way to questions; all else goes through.

    Args:
        texts: how many at a time while people ask.
        asked_lately: whether they do.
    """

    def __init__(self, model: Embeds, texts: int, asked_lately: Callable[[], Awaitable[bool]]) -> None:
        self.model, self.priority = model.model, model.priority
        self._embedder, self._texts, self._asked_lately = model, texts, asked_lately
        self._alone = asyncio.Lock()

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Vectors as `Embedder.embed` gives them. Raises as it does."""
        self._embedder.priority = self.priority
        if self.priority != LATER or not texts:
            return await self._embedder.embed(texts)
        # Texts of like length together, as the embedder would have them.
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        made: list[Vectors] = []
        at = 0
        while at < len(order):
            if await self._asked_lately():
                async with self._alone:
                    made.append(await self._embedder.embed([texts[i] for i in order[at:at + self._texts]]))
                at += self._texts
            else:
                part = order[at:at + BULK_IN_FLIGHT * BULK_BATCH]
                made.append(await self._embedder.embed([texts[i] for i in part]))
                at += len(part)
        out = np.empty((len(texts), made[0].shape[1]), np.float32)
        out[order] = np.concatenate(made)
        return out

    async def close(self) -> None:
        await self._embedder.close()
