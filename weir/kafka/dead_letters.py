"""Records that a worker gave up, and their way back.

    worker --bury--> dead-letters --list, show--> a person --replay--> replays --> the worker: settled, or buried again

A letter's key is its origin, `group/topic/partition/offset`, so that burying it twice makes one letter. A replay that
goes well leaves a tombstone under that key.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import cast

from schemas import topics
from schemas.events import DeadLetter
from weir import telemetry
from weir.blobs import Blobs
from weir.errors import InputError, NotFound, Unavailable
from weir.kafka.follow import read_all
from weir.kafka.handlers import GiveUp
from weir.kafka.producer import Producer
from weir.kafka.records import Decoder, Raw
from weir.settings import Settings

log = telemetry.logger(__name__)


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter and what became of it."""

    key: str
    """`group/topic/partition/offset`."""
    letter: DeadLetter
    replayed_at: int | None
    """When a replay was last asked for, in milliseconds since the epoch; None where nobody did since it was buried."""
    settled: bool
    """True once a replay went well."""


class Graveyard:
    """Where the workers of one group put what they give up."""

    def __init__(self, producer: Producer, group: str) -> None:
        self.group = group
        self._producer = producer
        self._topic = topics.DEAD_LETTERS.named(producer.settings.prefix)

    async def bury(self, raw: Raw, given_up: GiveUp, *, attempts: int) -> None:
        """Writes the dead letter of a record.

        Raises:
            Unavailable: Kafka did not take it; the record must not be committed.
        """
        await self._producer.send(self._topic, letter_key(self.group, raw), DeadLetter(
            topic=raw.topic, partition=raw.partition, offset=raw.offset, key=raw.key, value=raw.value,
            headers=raw.headers, group=self.group, code=given_up.code, reason=given_up.reason, attempts=attempts,
            at=self._producer.clock()))

    async def settle(self, raw: Raw) -> None:
        """Marks the letter of a replayed record as settled.

        Raises:
            Unavailable: Kafka did not take it.
        """
        await self._producer.send(self._topic, letter_key(self.group, raw), None)


def letter_key(group: str, raw: Raw) -> str:
    return f"{group}/{raw.topic}/{raw.partition}/{raw.offset}"


def origin(letter: DeadLetter) -> Raw:
    """The record that a letter is about, as it was read the first time; its time is that of the letter."""
    return Raw(letter.topic, letter.partition, letter.offset, letter.key, letter.value, letter.headers, letter.at)


async def letters(settings: Settings, *, group: str | None = None, settled: bool = False) -> list[Letter]:
    """The dead letters, oldest first: one entry an origin, in its latest state.

    Args:
        group: only those of this consumer group (prefix included).
        settled: whether those whose replay went well are listed too.

    Raises:
        Unavailable: Kafka does not answer.
    """
    decoder = Decoder(settings, Blobs(settings))
    buried, replayed = await asyncio.gather(
        asyncio.to_thread(read_all, settings, topics.DEAD_LETTERS.named(settings.prefix)),
        asyncio.to_thread(read_all, settings, topics.REPLAYS.named(settings.prefix)))
    asked = {raw.key: raw.timestamp for raw in replayed}
    latest: dict[bytes, Raw] = {}
    ended: set[bytes] = set()
    for raw in buried:
        key = raw.key or b""
        if raw.value is None:
            ended.add(key)
        else:
            latest[key] = raw
            ended.discard(key)
    found = []
    for key, raw in latest.items():
        if (key in ended and not settled) or (group and not key.startswith(group.encode() + b"/")):
            continue
        try:
            event = (await decoder.decode(raw)).event
        except (InputError, Unavailable) as e:
            log.warning("cannot read a dead letter", key=key.decode(errors="replace"), reason=e.message)
            continue
        again = asked.get(key, 0)
        found.append(Letter(key.decode(errors="replace"), cast("DeadLetter", event),
                            again if again >= raw.timestamp else None, key in ended))
    return sorted(found, key=lambda x: x.letter.at)


async def letter(settings: Settings, key: str) -> Letter:
    """One dead letter by its key, settled or not.

    Raises:
        NotFound: there is none; it may be older than the topic's retention.
        Unavailable: Kafka does not answer.
    """
    for found in await letters(settings, settled=True):
        if found.key == key:
            return found
    raise NotFound(f"there is no dead letter {key}; `weir dead-letters list` shows those there are")


async def replay(producer: Producer, found: Letter) -> None:
    """Gives a letter's record to its group once more, with its old topic, partition and offset.

    Raises:
        Unavailable: Kafka did not take it.
    """
    topic = topics.REPLAYS.named(producer.settings.prefix)
    number = found.letter.partition % await asyncio.to_thread(producer.partitions, topic)
    await producer.send(topic, found.key, found.letter, partition=number)
