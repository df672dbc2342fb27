"""One hop through Kafka and nothing else, as a measure of what a machine makes of it."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Iterator

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from weir.errors import Unavailable
from weir.kafka.config import client_config, consumer_config, producer_config
from weir.settings import Settings

WAIT = 10.0


class Hops:
    """A producer and a consumer of one topic, with the settings of Weir's own."""

    def __init__(self, settings: Settings, topic: str) -> None:
        self._topic = topic
        self._producer = Producer(producer_config(settings))
        self._consumer = Consumer(consumer_config(settings, topic))
        self._consumer.assign([TopicPartition(topic, 0, 0)])
        self.once()

    def once(self) -> float:
        """Milliseconds from producing a small record to having read it. Blocks."""
        began = time.perf_counter()
        self._producer.produce(self._topic, b"hop" * 100)
        while (message := self._consumer.poll(0.1)) is None or message.error() is not None:
            self._producer.poll(0)
            if time.perf_counter() - began > WAIT:
                raise Unavailable(f"Kafka did not give a record back within {WAIT:g} s")
        return (time.perf_counter() - began) * 1000

    def close(self) -> None:
        self._producer.flush(WAIT)
        self._consumer.close()


@contextlib.contextmanager
def hops(settings: Settings) -> Iterator[Hops]:
    """Hops through a topic of their own, which is deleted afterwards. Blocks."""
    topic, client = f"{settings.prefix}bench-{secrets.token_hex(4)}", AdminClient(client_config(settings))
    client.create_topics([NewTopic(topic, 1)])[topic].result(WAIT)
    made = Hops(settings, topic)
    try:
        yield made
    finally:
        made.close()
        client.delete_topics([topic])[topic].result(WAIT)
