"""The consumer groups of stores: who is in them, how far they are, and their end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from weir.errors import Unavailable
from weir.kafka.config import client_config
from weir.settings import Settings

LOOK_SECONDS = 0.5
HANDOVER_SECONDS = 60.0
TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class Place:
    """How far a group has come in a topic, in offsets: compaction leaves gaps, so records are at most as many."""

    group: str
    topic: str
    behind: int
    whole: int
    """From the topic's first record to its end."""


async def places(settings: Settings, wanted: Iterable[tuple[str, str]]) -> list[Place]:
    """How far these groups are in these topics, each pair named with the prefix. A topic that is not there is empty.

    Raises:
        Unavailable: Kafka does not answer.
    """
    admin = AdminClient(client_config(settings))
    return await asyncio.to_thread(lambda: [_place(admin, group, topic) for group, topic in wanted])


def _place(admin: AdminClient, group: str, topic: str) -> Place:
    try:
        found = admin.list_topics(topic, timeout=TIMEOUT).topics[topic]
        if found.error is not None:
            if found.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                return Place(group, topic, 0, 0)
            raise KafkaException(found.error)
        partitions = [TopicPartition(topic, number) for number in found.partitions]
        first = {p.partition: f.result(TIMEOUT).offset
                 for p, f in admin.list_offsets(dict.fromkeys(partitions, OffsetSpec.earliest())).items()}
        last = {p.partition: f.result(TIMEOUT).offset
                for p, f in admin.list_offsets(dict.fromkeys(partitions, OffsetSpec.latest())).items()}
        asked = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group, partitions)],
                                                  request_timeout=TIMEOUT)
        committed = {p.partition: p.offset for p in asked[group].result(TIMEOUT).topic_partitions}
    except (KafkaException, TimeoutError) as e:
        raise Unavailable(f"Kafka does not say how far {group} is: {e}", retry_after=2) from e
    behind = sum(max(0, last[p] - max(committed.get(p, -1), first[p])) for p in last)
    return Place(group, topic, behind, sum(last[p] - first[p] for p in last))


async def left(settings: Settings, group: str) -> None:
    """Returns when the group has no members.

    Raises:
        Unavailable: they stay, or Kafka does not answer.
    """
    admin = AdminClient(client_config(settings))
    for _ in range(int(HANDOVER_SECONDS / LOOK_SECONDS)):
        if not await asyncio.to_thread(_members, admin, group):
            return
        await asyncio.sleep(LOOK_SECONDS)
    raise Unavailable(f"the workers of {group} go on with a store that nobody names any more: it was not dropped. "
                      "Restart them, then run the command once more.")


def _members(admin: AdminClient, group: str) -> int:
    try:
        return len(admin.describe_consumer_groups([group], request_timeout=TIMEOUT)[group].result(TIMEOUT).members)
    except KafkaException as e:
        if e.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
            return 0
        raise Unavailable(f"Kafka does not say who is in {group}: {e}", retry_after=2) from e
    except TimeoutError as e:
        raise Unavailable(f"Kafka does not say who is in {group}: {e}", retry_after=2) from e


async def forget(settings: Settings, group: str) -> None:
    """Deletes a group. One that stays is a line in `weir status`, nothing else."""
    await asyncio.to_thread(_forget, settings, group)


def _forget(settings: Settings, group: str) -> None:
    admin = AdminClient(client_config(settings))
    # A group that never read anything is not there.
    with suppress(KafkaException, TimeoutError):
        admin.delete_consumer_groups([group], request_timeout=TIMEOUT)[group].result(TIMEOUT)


async def delete_topics(settings: Settings, names: Iterable[str]) -> None:
    """Deletes topics; harmless where they do not exist.

    Raises:
        Unavailable: Kafka does not answer or refuses.
    """
    await asyncio.to_thread(_delete_topics, settings, list(names))


def _delete_topics(settings: Settings, names: list[str]) -> None:
    admin = AdminClient(client_config(settings))
    for name, future in (admin.delete_topics(names, operation_timeout=TIMEOUT) if names else {}).items():
        try:
            future.result(TIMEOUT)
        except (KafkaException, TimeoutError) as e:
            gone = isinstance(e, KafkaException) and e.args[0].code() in (
                KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC)
            if not gone:
                raise Unavailable(f"Kafka does not delete {name}: {e}", retry_after=2) from e
