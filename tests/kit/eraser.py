"""An eraser that is killed at a step: `python -m tests.kit.eraser DOCUMENT STEP`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from weir.clock import system_clock
from weir.erasing.erase import Eraser
from weir.erasing.target import Target
from weir.index.indexes import Indexes
from weir.kafka.producer import Producer
from weir.settings import Settings, load
from weir.stores import elasticsearch, milvus
from weir.views.documents import DocumentViews

STEPS = ("delete", "turns", "dead letters", "blobs", "segments open", "receipt")


@asynccontextmanager
async def eraser(settings: Settings, point: Callable[[str], None] = lambda _: None) -> AsyncIterator[Eraser]:
    """An eraser with clients of its own."""
    es, client, indexes = elasticsearch(settings), milvus(settings), Indexes(settings)
    await indexes.start()
    try:
        async with Producer(settings) as producer, DocumentViews(es, settings) as views:
            yield Eraser(settings, producer, es, client, indexes, views, system_clock, point=point, patience=90)
    finally:
        await indexes.close()
        await client.close()
        await es.close()


async def main(document: str, step: str) -> None:
    def point(name: str) -> None:
        if name == step:
            os.kill(os.getpid(), signal.SIGKILL)

    async with eraser(load(), point) as made:
        await made.erase(Target("document", document), "operator")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
