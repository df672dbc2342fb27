"""Where a topic ends and how far a group has come in it, for those who ask again and again."""

from __future__ import annotations

import time
from collections.abc import Callable

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from weir.errors import Unavailable
from weir.kafka.config import client_config
from weir.settings import Settings

TIMEOUT = 5.0
"""Seconds that Kafka gets to answer."""
PARTITIONS_SECONDS = 30.0
"""How long the number of partitions is believed."""


class TopicOffsets:
    """Asks about one topic. Every call blocks; one at a time.

    A client that has seen its broker die and come back may wait for the group's coordinator for ever, with a time-out
    each time (seen with librdkafka 2.16); a fresh one finds it at once. So one that got no answer is not asked again.
    """

    def __init__(self, settings: Settings, topic: str, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._topic = topic
        self._monotonic = monotonic
        self._client: AdminClient | None = None
        self._partitions: list[int] = []
        self._until = 0.0

    def ends(self) -> dict[int, int]:
        """Partition to the offset of its next record.

        Raises:
            Unavailable: Kafka does not answer, or the topic is not there.
        """
        return self._asked(self._ends)

    def committed(self, group: str) -> dict[int, int]:
        """Partition to the offset that the group has committed; one that it has not is left out.

        Raises:
            Unavailable: Kafka does not answer, or the topic is not there.
        """
        return self._asked(lambda client: self._committed(client, group))

    def _asked(self, ask: Callable[[AdminClient], dict[int, int]]) -> dict[int, int]:
        client = self._client or AdminClient(client_config(self._settings))
        self._client = None
        try:
            found = ask(client)
        except (KafkaException, TimeoutError) as e:
            raise Unavailable(f"Kafka does not answer: {e}", retry_after=2) from e
        self._client = client
        return found

    def _ends(self, client: AdminClient) -> dict[int, int]:
        wanted = {place: OffsetSpec.latest() for place in self._places(client)}
        found = client.list_offsets(wanted, request_timeout=TIMEOUT)
        return {place.partition: future.result(TIMEOUT).offset for place, future in found.items()}

    def _committed(self, client: AdminClient, group: str) -> dict[int, int]:
        asked = ConsumerGroupTopicPartitions(group, self._places(client))
        places = client.list_consumer_group_offsets([asked], request_timeout=TIMEOUT)[group].result(TIMEOUT)
        return {place.partition: place.offset for place in places.topic_partitions if place.offset >= 0}

    def _places(self, client: AdminClient) -> list[TopicPartition]:
        if not self._partitions or self._monotonic() >= self._until:
            found = client.list_topics(self._topic, timeout=TIMEOUT).topics[self._topic]
            if found.error is not None or not found.partitions:
                said = found.error.str() if found.error is not None else "it has no partitions yet"
                raise Unavailable(f"the topic {self._topic} cannot be read: {said}", retry_after=2)
            self._partitions, self._until = list(found.partitions), self._monotonic() + PARTITIONS_SECONDS
        return [TopicPartition(self._topic, number) for number in self._partitions]
