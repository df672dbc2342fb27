"""Reading whole topics without a group: once to the end, or on and on."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from weir.errors import Unavailable
from weir.kafka.config import consumer_config
from weir.kafka.records import Raw, from_message
from weir.settings import Settings

START_SECONDS = 30.0
"""How long the brokers may take to name a topic's partitions."""


def open_all(settings: Settings, topic: str, since: int | None = None) -> tuple[Consumer, int]:
    """A consumer at the beginning of every partition of a topic, and how many these are. Blocks.

    Args:
        since: begin at the first record of that time, in milliseconds since the epoch.

    Raises:
        Unavailable: Kafka does not answer, or there is no such topic.
    """
    config = consumer_config(settings, f"{settings.prefix}{settings.process or 'reader'}", enable_partition_eof=True,
                             fetch_wait_max_ms=500)
    client = Consumer(config, logger=logging.getLogger("librdkafka"))
    until = time.monotonic() + START_SECONDS
    while True:
        try:
            found = client.list_topics(topic, timeout=5).topics[topic]
            if found.error is None and found.partitions:
                places = _places(client, topic, list(found.partitions), since)
                break
            reason = f"Kafka has no topic {topic}; `weir up` creates it"
        except KafkaException as e:
            reason = f"Kafka does not answer at {settings.kafka_address}: {e.args[0].str()}"
        if time.monotonic() > until:
            client.close()
            raise Unavailable(reason)
        time.sleep(0.2)
    client.assign(places)
    return client, len(found.partitions)


def _places(client: Consumer, topic: str, partitions: list[int], since: int | None) -> list[TopicPartition]:
    """The first records of a time; the ends of partitions that have none so new, as they were before that was asked."""
    if since is None:
        return [TopicPartition(topic, number, OFFSET_BEGINNING) for number in partitions]
    ends = {n: client.get_watermark_offsets(TopicPartition(topic, n), START_SECONDS)[1] for n in partitions}
    found = client.offsets_for_times([TopicPartition(topic, n, max(0, since)) for n in partitions],
                                     timeout=START_SECONDS)
    for place in found:
        if place.error is not None:
            raise KafkaException(place.error)
    return [TopicPartition(topic, p.partition, p.offset if p.offset >= 0 else ends[p.partition]) for p in found]


def read_all(settings: Settings, topic: str, since: int | None = None) -> list[Raw]:
    """Every record that is in a topic now, each partition's in order. Blocks.

    Args:
        since: where not from the beginning: from that time on, in milliseconds since the epoch.

    Raises:
        Unavailable: Kafka does not answer, or there is no such topic.
    """
    found: list[Raw] = []
    follower = Follower(settings, topic, found.extend, lambda: follower.stop(), since)
    follower.run()
    return found


def sample(settings: Settings, topic: str, most: int) -> list[Raw]:
    """About `most` records of a topic, from the beginning of each partition. Blocks.

    Raises:
        Unavailable: Kafka does not answer, or there is no such topic.
    """
    client, partitions = open_all(settings, topic)
    found: list[Raw] = []
    taken: dict[int, int] = {}
    each, ended = -(-most // partitions), set[int]()
    until = time.monotonic() + START_SECONDS
    try:
        while len(ended) < partitions and time.monotonic() < until:
            message = client.poll(0.2)
            if message is None:
                continue
            number = message.partition() or 0
            if message.error() is None and number not in ended:
                found.append(from_message(message))
                taken[number] = taken.get(number, 0) + 1
            if taken.get(number, 0) >= each or _at_end(message):
                ended.add(number)
    finally:
        client.close()
    return found


def _at_end(message: Message) -> bool:
    error = message.error()
    return error is not None and error.code() == KafkaError._PARTITION_EOF


class Follower:
    """Reads a topic from its beginning and goes on. `run` blocks until `stop`: give it a thread.

    Args:
        records: gets what was read, in order of each partition.
        caught_up: called once, when every partition was read to its end.
        since: where not from the beginning: from that time on, in milliseconds since the epoch.
    """

    def __init__(self, settings: Settings, topic: str, records: Callable[[list[Raw]], Any],
                 caught_up: Callable[[], Any], since: int | None = None) -> None:
        self._settings = settings
        self._topic = topic
        self._records = records
        self._caught_up = caught_up
        self._since = since
        self._stop = threading.Event()

    def stop(self) -> None:
        self._stop.set()

    @property
    def stopped(self) -> bool:
        return self._stop.is_set()

    def run(self) -> None:
        """Reads until `stop`.

        Raises:
            Unavailable: the topic cannot be read at all; an outage later is waited for.
        """
        client, partitions = open_all(self._settings, self._topic, self._since)
        ended: set[int] = set()
        behind = True
        try:
            while not self._stop.is_set():
                message = client.poll(0.2)
                if message is None:
                    continue
                raws = []
                for m in (message, *client.consume(500, 0)):
                    if (error := m.error()) is None:
                        raws.append(from_message(m))
                    elif error.code() == KafkaError._PARTITION_EOF:
                        ended.add(m.partition() or 0)
                    elif error.fatal() or error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
                        raise Unavailable(f"cannot read {self._topic}: {error.str()}")
                if raws:
                    self._records(raws)
                if behind and len(ended) == partitions:
                    behind = False
                    self._caught_up()
        finally:
            client.close()
