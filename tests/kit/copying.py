"""A worker process for kill tests: each document of `documents` leaves one `document-status` with its version.

    python -m tests.kit.copying

A document whose content begins with `poison` is refused, one that begins with `slow` takes a while. Environment: the
usual `WEIR_*`; COPYING_HANDLER is `each` or `batch`.
"""

from __future__ import annotations

import asyncio
import os
import random

from schemas import keys, topics
from schemas.events import DocumentPublished, DocumentStatus, Stage, StageState
from weir.errors import BadDocument
from weir.kafka.process import Context, run_process
from weir.kafka.records import Record
from weir.kafka.worker import Batch, Each, Worker


async def main(context: Context) -> None:
    target = topics.DOCUMENT_STATUS.named(context.settings.prefix)

    async def one(record: Record) -> None:
        event = record.event
        assert isinstance(event, DocumentPublished)
        if event.content.startswith(b"poison"):
            raise BadDocument("hostile", f"{record.key} bites")
        if event.content.startswith(b"slow"):
            await asyncio.sleep(random.uniform(0.05, 0.3))
        key = keys.status_key(event.workspace, event.document, Stage.CUT, None)
        await context.producer.send(target, key, DocumentStatus(
            workspace=event.workspace, document=event.document, version=record.version, stage=Stage.CUT,
            state=StageState.DONE, at=record.timestamp, count=record.partition), partition_key=record.key)

    async def many(records: list[Record]) -> None:
        for record in records:
            if record.event.content.startswith(b"poison"):  # type: ignore[union-attr]  # the test sends no tombstones
                raise BadDocument("hostile", f"{record.key} bites")
        await asyncio.gather(*map(one, records))

    handler = Batch(many, max_records=50) if os.environ.get("COPYING_HANDLER") == "batch" else Each(one, concurrency=8)
    worker = Worker(context.settings, name="copying", topics=[topics.DOCUMENTS.named(context.settings.prefix)],
                    handler=handler, producer=context.producer)
    await worker.run(context.stop)


if __name__ == "__main__":
    run_process("copying", main)
