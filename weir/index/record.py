"""The one record that says what an index is, changed by one operator at a time.

Kafka has no compare-and-set, but a transactional id has one owner: whoever changes the record takes the id over, reads
what the log holds, and writes within a transaction. Who was overtaken in between cannot commit, and is told.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from confluent_kafka import KafkaError, KafkaException, Producer

from schemas import codec, topics
from schemas.events import Audit, Index
from weir.blobs import Blobs
from weir.errors import Conflict, NotFound, Unavailable
from weir.kafka.config import transactional_config
from weir.kafka.follow import read_all
from weir.kafka.records import Decoder
from weir.settings import Settings

TIMEOUT = 30.0
TRANSACTIONAL_ID = "operators.indexes"
_OVERTAKEN = frozenset({KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.PRODUCER_FENCED,
                        KafkaError.CONCURRENT_TRANSACTIONS})

Apply = Callable[[Index], Index]
"""What the record shall be, from what it is. Raises what it does not allow."""


async def change(settings: Settings, index: str, apply: Apply, audit: Audit | None = None) -> Index:
    """Changes the record of an index; returns it as every worker is about to read it.

    Args:
        audit: written with the change, both or neither; not where the change changes nothing.

    Raises:
        NotFound: there is no such index.
        Conflict: somebody else is changing it.
        Unavailable: Kafka does not answer.
        WeirError: what `apply` raises; nothing was written.
    """
    return await asyncio.to_thread(_change, settings, index, apply, audit)


async def current(settings: Settings, index: str) -> Index:
    """The record as the log has it now.

    Raises:
        NotFound: there is no such index.
        Unavailable: Kafka does not answer.
    """
    return await asyncio.to_thread(_read, settings, topics.INDEXES.named(settings.prefix), index)


def _change(settings: Settings, index: str, apply: Apply, audit: Audit | None) -> Index:
    producer = Producer(transactional_config(settings, settings.prefix + TRANSACTIONAL_ID),
                        logger=logging.getLogger("librdkafka"))
    topic = topics.INDEXES.named(settings.prefix)
    try:
        producer.init_transactions(TIMEOUT)
        now = _read(settings, topic, index)
        wanted = apply(now)
        if wanted == now:
            return now
        producer.begin_transaction()
        # The topic has one partition, so that the order of changes is the order of the log.
        producer.produce(topic, key=index.encode(), value=codec.encode(wanted))
        if audit is not None:
            producer.produce(topics.AUDIT.named(settings.prefix), key=audit.subject.encode(),
                             value=codec.encode(audit))
        producer.commit_transaction(TIMEOUT)
        return wanted
    except KafkaException as e:
        if e.args[0].code() in _OVERTAKEN:
            raise Conflict(f"somebody else is changing the index {index!r}: look at `weir index list`, then try "
                           "again.") from e
        raise Unavailable(f"cannot change the index at {settings.kafka_address}: {e.args[0].str()}",
                          retry_after=2) from e


def _read(settings: Settings, topic: str, index: str) -> Index:
    decoder = Decoder(settings, Blobs(settings))
    found: Index | None = None
    for raw in read_all(settings, topic):
        record = decoder.now(raw)
        if record is not None and record.key == index:
            found = record.event
    if found is None:
        raise NotFound(f"no index {index!r} has been declared: `weir up` declares the first one.")
    return found
