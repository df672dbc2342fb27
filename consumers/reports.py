"""What the sinks say about documents on `document-status`."""

from __future__ import annotations

import asyncio

from consumers.replacing import Replaced, Report
from schemas import keys, topics
from schemas.events import DocumentStatus, Stage, StageState
from weir.clock import Clock
from weir.kafka.producer import Producer


def report_to(producer: Producer, stage: Stage, index_version: str, clock: Clock) -> Report:
    """Publishes a status for each document that was replaced, and waits until Kafka has them."""
    topic = topics.DOCUMENT_STATUS.named(producer.settings.prefix)

    async def report(replaced: list[Replaced]) -> None:
        now = clock()
        await asyncio.gather(*(producer.send(
            topic, keys.status_key(*r.name, stage, index_version),
            DocumentStatus(workspace=r.name[0], document=r.name[1], version=r.version, stage=stage,
                           state=StageState.DELETED if r.deleted else StageState.DONE, at=now,
                           index_version=index_version, millis=r.millis, count=r.count),
            partition_key=keys.document_key(*r.name)) for r in replaced))

    return report
