"""Ending transactions that the coordinator believes to have ended.

A broker that is killed and comes back may note a transaction as aborted without its marker reaching every partition.
Readers of committed records then wait there for ever: no time-out applies any more. Seen with Kafka 4.3.1 on one node
under load. The next marker of the same producer id, whatever it is about, ends such a leftover; a commit would even
commit it. So whoever owns the transactional id touches each partition that it writes once, and aborts.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition

from weir.errors import Unavailable
from weir.kafka.config import consumer_config
from weir.settings import Settings

TOUCH = b"!touch"
TIMEOUT = 30.0


def end_leftovers(settings: Settings, producer: Producer, topics: Iterable[str], group: str, group_topic: str) -> None:
    """Writes a transaction over all partitions of the topics and the group's offsets, and aborts it. Blocks.

    Readers of committed records never see it; others see tombstones of a key that nothing has.

    Args:
        producer: after `init_transactions`, with no transaction open.
        group: whose offsets this producer commits, by its name on the broker.
        group_topic: a topic that it reads.

    Raises:
        KafkaException: Kafka did not take it.
        Unavailable: not all of it arrived in time.
    """
    left = 0

    def arrived(error: KafkaError | None, _: Message) -> None:
        nonlocal left
        left -= error is None

    producer.begin_transaction()
    try:
        for topic in topics:
            for number in producer.list_topics(topic, timeout=TIMEOUT).topics[topic].partitions:
                left += 1
                producer.produce(topic, None, TOUCH, number, on_delivery=arrived)
        until = time.monotonic() + TIMEOUT
        while left:
            producer.poll(0.1)
            if time.monotonic() > until:
                raise Unavailable(f"{left} records did not arrive; see `weir status`")
        # In no generation, which the broker does not check: these offsets are never committed.
        stranger = Consumer(consumer_config(settings, group))
        metadata = stranger.consumer_group_metadata()
        stranger.close()
        producer.send_offsets_to_transaction([TopicPartition(group_topic, 0, 0)], metadata, TIMEOUT)
    finally:
        producer.abort_transaction(TIMEOUT)
