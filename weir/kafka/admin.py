"""Topics as the table declares them, and how far every group is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from schemas.topics import CHUNKS, EMBEDDINGS, TOPICS, Topic
from weir.errors import Unavailable
from weir.kafka.config import client_config, consumer_config
from weir.settings import Settings

TIMEOUT = 30.0
COUNTED = 1_000
"""Offsets between a group and the end up to which records are counted one by one."""
COUNT_SECONDS = 5.0


async def ensure_topics(settings: Settings, names: Iterable[str] | None = None) -> list[str]:
    """Creates the topics of the table that are missing and corrects settings that differ. Harmless when repeated.

    Args:
        names: of the table, without prefix; all but those of index versions when None.

    Returns:
        The topics that were created, as named on the broker.

    Raises:
        Unavailable: Kafka does not answer or refuses.
    """
    wanted = set(names) if names is not None else {t.name for t in TOPICS if "{" not in t.name}
    if unknown := wanted - {t.name for t in TOPICS}:
        raise ValueError(f"no such topics in schemas/topics.py: {sorted(unknown)}")
    return await asyncio.to_thread(_ensure, settings, {t.named(settings.prefix): t for t in TOPICS if t.name in wanted})


async def ensure_index_topics(settings: Settings, *, cut: str, version: str) -> list[str]:
    """The same for the topics of one cutting recipe and one index version."""
    return await asyncio.to_thread(_ensure, settings, {
        CHUNKS.named(settings.prefix, cut=cut): CHUNKS, EMBEDDINGS.named(settings.prefix, version=version): EMBEDDINGS})


def _ensure(settings: Settings, wanted: dict[str, Topic]) -> list[str]:
    admin = AdminClient(client_config(settings))
    try:
        there = admin.list_topics(timeout=TIMEOUT).topics
        missing = [NewTopic(name, topic.partitions or settings.kafka_partitions, settings.kafka_replication,
                            config=topic_config(settings, topic))
                   for name, topic in wanted.items() if name not in there]
        created = []
        for name, future in (admin.create_topics(missing, operation_timeout=TIMEOUT) if missing else {}).items():
            try:
                future.result(TIMEOUT)
                created.append(name)
            except KafkaException as e:
                if e.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise
        _until_visible(admin, wanted)
        _correct(admin, settings, {name: topic for name, topic in wanted.items() if name in there})
    except (KafkaException, TimeoutError) as e:
        raise Unavailable(f"cannot create the topics at {settings.kafka_address}: {e}") from e
    return created


def _until_visible(admin: AdminClient, names: Iterable[str]) -> None:
    """A broker answers that a topic exists before all of it knows."""
    until = time.monotonic() + TIMEOUT
    while missing := sorted(set(names) - set(admin.list_topics(timeout=TIMEOUT).topics)):
        if time.monotonic() > until:
            raise TimeoutError(f"{missing} were created and cannot be seen")
        time.sleep(0.05)


def _correct(admin: AdminClient, settings: Settings, topics: dict[str, Topic]) -> None:
    if not topics:
        return
    resources = {ConfigResource(ResourceType.TOPIC, name): topic for name, topic in topics.items()}
    changes = []
    for resource, future in admin.describe_configs(list(resources)).items():
        actual = future.result(TIMEOUT)
        wanted = topic_config(settings, topics[resource.name])
        entries = [ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
                   for name, value in wanted.items() if actual[name].value != value]
        if entries:
            changes.append(ConfigResource(ResourceType.TOPIC, resource.name, incremental_configs=entries))
    for future in (admin.incremental_alter_configs(changes) if changes else {}).values():
        future.result(TIMEOUT)


def topic_config(settings: Settings, topic: Topic) -> dict[str, str]:
    """A topic's settings on the broker."""
    safe = {"min.insync.replicas": "2"} if settings.kafka_replication >= 3 else {}
    return {**topic.config, **safe}


async def lag(settings: Settings, only: str | None = None) -> dict[str, dict[str, int]]:
    """Records between each group's place and the end, by group and topic, of the groups with our prefix.

    Of a short way the records are counted, since the markers of transactions stand between them; of a long one it is
    the difference of the offsets.

    Args:
        only: the one group to ask about, where it is there.

    Raises:
        Unavailable: Kafka does not answer.
    """
    return await asyncio.to_thread(_lag, settings, only)


async def committed(settings: Settings, group: str) -> dict[tuple[str, int], dict[str, int]]:
    """How far the groups whose names begin so have come: offset by group, by topic and partition.

    Args:
        group: the beginning of their names, without our prefix.

    Raises:
        Unavailable: Kafka does not answer.
    """
    return await asyncio.to_thread(_committed, settings, settings.prefix + group)


def _committed(settings: Settings, beginning: str) -> dict[tuple[str, int], dict[str, int]]:
    admin = AdminClient(client_config(settings))
    found: dict[tuple[str, int], dict[str, int]] = {}
    try:
        for group in admin.list_consumer_groups(request_timeout=TIMEOUT).result(TIMEOUT).valid:
            if group.group_id.startswith(beginning):
                for place, offset in _places(admin, group.group_id).items():
                    found.setdefault(place, {})[group.group_id] = offset or 0
    except (KafkaException, TimeoutError) as e:
        raise Unavailable(f"cannot ask {settings.kafka_address} for the groups: {e}") from e
    return found


def _lag(settings: Settings, only: str | None) -> dict[str, dict[str, int]]:
    admin = AdminClient(client_config(settings))
    try:
        groups = [g.group_id for g in admin.list_consumer_groups(request_timeout=TIMEOUT).result(TIMEOUT).valid
                  if g.group_id.startswith(settings.prefix) and only in (None, g.group_id)]
        places = {group: _places(admin, group) for group in groups}
        every = {TopicPartition(t, p) for at in places.values() for t, p in at}
        first = _ends(admin, every, OffsetSpec.earliest())
        last = _ends(admin, every, OffsetSpec.latest())
    except (KafkaException, TimeoutError) as e:
        raise Unavailable(f"cannot ask {settings.kafka_address} for the groups: {e}") from e
    starts = {group: {place: max(offset or 0, first.get(place, 0)) for place, offset in at.items()}
              for group, at in places.items()}
    near: dict[tuple[str, int], int] = {}
    for at in starts.values():
        for place, start in at.items():
            if 0 < last.get(place, 0) - start <= COUNTED:
                near[place] = min(start, near.get(place, start))
    offsets = _offsets(settings, near)
    found: dict[str, dict[str, int]] = {}
    for group, at in starts.items():
        behind = found.setdefault(group, {})
        for place, start in at.items():
            left = max(0, last.get(place, start) - start)
            if 0 < left <= COUNTED and place in offsets:
                left = sum(offset >= start for offset in offsets[place])
            behind[place[0]] = behind.get(place[0], 0) + left
    return found


def _offsets(settings: Settings, near: dict[tuple[str, int], int]) -> dict[tuple[str, int], list[int]]:
    """Offsets of the committed records from a place on; a partition that could not be read in time is left out."""
    found: dict[tuple[str, int], list[int]] = {place: [] for place in near}
    if not near:
        return {}
    reader = Consumer(consumer_config(settings, f"{settings.prefix}lag", enable_partition_eof=True,
                                      fetch_wait_max_ms=10))
    try:
        reader.assign([TopicPartition(*place, offset) for place, offset in near.items()])
        left, until = set(near), time.monotonic() + COUNT_SECONDS
        while left and time.monotonic() < until:
            for message in reader.consume(COUNTED, 0.05):
                place, error = (message.topic() or "", message.partition() or 0), message.error()
                if error is None:
                    found[place].append(message.offset() or 0)
                elif error.code() == KafkaError._PARTITION_EOF:
                    left.discard(place)
    finally:
        reader.close()
    return {place: offsets for place, offsets in found.items() if place not in left}


def _places(admin: AdminClient, group: str) -> dict[tuple[str, int], int | None]:
    """A group's committed offsets; None for a partition that a member has and nothing was committed of."""
    places: dict[tuple[str, int], int | None] = {}
    described = admin.describe_consumer_groups([group], request_timeout=TIMEOUT)[group].result(TIMEOUT)
    for member in described.members:
        for p in member.assignment.topic_partitions:
            places[p.topic, p.partition] = None
    asked = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)], request_timeout=TIMEOUT)
    for p in asked[group].result(TIMEOUT).topic_partitions:
        if p.offset >= 0:
            places[p.topic, p.partition] = p.offset
    return places


def _ends(admin: AdminClient, partitions: set[TopicPartition], spec: OffsetSpec) -> dict[tuple[str, int], int]:
    if not partitions:
        return {}
    futures = admin.list_offsets(dict.fromkeys(partitions, spec), request_timeout=TIMEOUT)
    found = {}
    for place, future in futures.items():
        try:
            found[place.topic, place.partition] = future.result(TIMEOUT).offset
        except KafkaException as e:
            # A group may still remember a topic that was deleted.
            if e.args[0].code() not in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC):
                raise
    return found
