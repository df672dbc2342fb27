"""For tests on a real Kafka: settings of their own, topics that are removed again, a worker that runs meanwhile."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from schemas.events import DocumentPublished
from weir.kafka import admin
from weir.kafka.config import client_config
from weir.kafka.handlers import Handler
from weir.kafka.producer import Producer
from weir.kafka.worker import Worker
from weir.settings import Settings

TOPICS = ("documents", "document-status", "dead-letters", "replays")


def own_settings(folder: Path, **changes: Any) -> Settings:
    """Settings with a prefix and a folder of their own, on the servers that the environment names."""
    return Settings(**{"prefix": f"t-{secrets.token_hex(4)}-", "home": folder, "kafka_partitions": 4, **changes})


@asynccontextmanager
async def kafka(settings: Settings, names: Iterable[str] = TOPICS) -> AsyncIterator[Producer]:
    """A producer with the topics there; topics and groups are deleted at the end."""
    await admin.ensure_topics(settings, names)
    try:
        async with Producer(settings) as producer:
            yield producer
    finally:
        await asyncio.to_thread(clean_up, settings)


def clean_up(settings: Settings) -> None:
    """Deletes every topic and group with the prefix of these settings."""
    if not settings.prefix:
        raise ValueError("only what has a prefix of its own is cleaned up")
    client = AdminClient(client_config(settings))
    topics = [t for t in client.list_topics(timeout=10).topics if t.startswith(settings.prefix)]
    groups = [g.group_id for g in client.list_consumer_groups(request_timeout=10).result().valid
              if g.group_id.startswith(settings.prefix)]
    futures = [*(client.delete_topics(topics) if topics else {}).values(),
               *(client.delete_consumer_groups(groups) if groups else {}).values()]
    for future in futures:
        try:
            future.result(10)
        except KafkaException as e:
            if e.args[0].name() not in ("NON_EMPTY_GROUP", "GROUP_ID_NOT_FOUND", "UNKNOWN_TOPIC_OR_PART"):
                raise


@asynccontextmanager
async def working(producer: Producer, handler: Handler, *, name: str = "worker", topics: Iterable[str] = ("documents",),
                  **more: Any) -> AsyncIterator[Worker]:
    """A worker that runs while the block does; what made it fail is raised at the end."""
    settings = producer.settings
    worker = Worker(settings, name=name, topics=[settings.prefix + t for t in topics], handler=handler,
                    producer=producer, **more)
    stop = asyncio.Event()
    task = asyncio.create_task(worker.run(stop))
    try:
        yield worker
    finally:
        stop.set()
        await task


def document(name: str, content: bytes = b"text", workspace: str = "w") -> DocumentPublished:
    return DocumentPublished(workspace=workspace, document=name, content=content, media_type="text/plain")


async def publish(producer: Producer, name: str, content: bytes = b"text", **more: Any) -> int:
    """Publishes a document of workspace w; its version."""
    topic = producer.settings.prefix + "documents"
    return (await producer.send(topic, f"w/{name}", document(name, content), **more)).offset
