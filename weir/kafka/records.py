"""Records as they come from Kafka (`Raw`) and as handlers see them (`Record`)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import aiohttp
from confluent_kafka import Message

from schemas import codec, topics
from schemas.events import ClaimCheck, DocumentPublished
from weir.blobs import BlobErased, Blobs
from weir.errors import BadRecord, Unavailable
from weir.settings import Settings


@dataclass(frozen=True, slots=True)
class Raw:
    """A record's bytes and where they stand."""

    topic: str
    """Name on the broker, prefix included."""
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: dict[str, bytes]
    timestamp: int
    """Milliseconds since the epoch."""

    @property
    def size(self) -> int:
        return len(self.key or b"") + len(self.value or b"")


@dataclass(frozen=True, slots=True)
class Record:
    """A record as a handler sees it."""

    topic: str
    """Name on the broker, prefix included."""
    partition: int
    offset: int
    key: str
    event: Any | None
    """One of `schemas.events.EVENTS`; None where the record is a tombstone."""
    value: bytes | None
    """The encoded event, whole even where it travelled as a claim check."""
    headers: dict[str, bytes]
    timestamp: int
    """When it was produced, in milliseconds since the epoch."""
    attempt: int = 1
    """1, or one more than the attempts of the dead letter that was replayed."""

    @property
    def version(self) -> int:
        """Version of the document, on topic `documents`: the offset of its event, also when it is replayed."""
        return self.offset


def from_message(message: Message) -> Raw:
    """What a consumer returned, without its library's types. Of headers with one name the last one counts."""
    pairs = cast("list[tuple[str, bytes | None]]", message.headers() or [])
    headers = {name: value or b"" for name, value in pairs}
    return Raw(message.topic() or "", message.partition() or 0, message.offset() or 0,
               message.key(), message.value(), headers, message.timestamp()[1])


@cache
def topic_of(name: str, prefix: str) -> topics.Topic | None:
    """The declaration of a topic by its name on the broker."""
    for topic in topics.TOPICS:
        pattern = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(topic.name))
        if re.fullmatch(re.escape(prefix) + pattern, name):
            return topic
    return None


class Decoder:
    """Turns raw records into records: decodes, resolves claim checks, fetches schemas from a registry."""

    def __init__(self, settings: Settings, blobs: Blobs) -> None:
        self._settings = settings
        self._blobs = blobs
        self._schemas: dict[int, Any] = {}

    def now(self, raw: Raw, attempt: int = 1) -> Record | None:
        """The record, or None where decoding it needs the object store or a schema registry.

        Raises:
            BadRecord: the bytes are not a record that belongs on this topic.
        """
        try:
            event = self._event(raw.topic, raw.value)
        except _SchemaUnknown:
            return None
        return None if isinstance(event, ClaimCheck) else self._record(raw, raw.value, event, attempt)

    async def decode(self, raw: Raw, attempt: int = 1) -> Record:
        """The record, whatever has to be fetched for it. One whose blob was erased reads as a tombstone.

        Raises:
            BadRecord: the bytes are not a record that belongs on this topic.
            BlobMissing: its claim check names a blob that is not there.
            Unavailable: the object store or the registry does not answer.
        """
        value = raw.value
        event = await self._fetched(raw.topic, value)
        if isinstance(event, ClaimCheck):
            try:
                value = await self._blobs.get(event.blob)
            except BlobErased:
                # As if it were a tombstone: what replaced it stands behind it on the log.
                return self._record(raw, None, None, attempt)
            event = await self._fetched(raw.topic, value)
            if isinstance(event, ClaimCheck):
                raise BadRecord(f"{_where(raw)}: its claim check names another claim check")
        return self._record(raw, value, event, attempt)

    async def _fetched(self, topic: str, value: bytes | None) -> Any:
        try:
            return self._event(topic, value)
        except _SchemaUnknown as e:
            await self._fetch_schema(e.number)
            return self._event(topic, value)

    def _event(self, topic: str, value: bytes | None) -> Any:
        if value is None:
            return None
        declared = topic_of(topic, self._settings.prefix)
        confluent = DocumentPublished if declared is topics.DOCUMENTS else None
        registry = self._schema if self._settings.schema_registry else None
        try:
            event = codec.decode(value, confluent=confluent, registry=registry)
        except codec.CodecError as e:
            raise BadRecord(f"{topic}: {e}") from e
        if declared and declared.records and type(event).__name__ not in (*declared.records, "ClaimCheck"):
            raise BadRecord(f"{topic}: a {type(event).__name__} does not belong here; this topic carries "
                            f"{' and '.join(declared.records)}")
        return event

    def _record(self, raw: Raw, value: bytes | None, event: Any, attempt: int) -> Record:
        if raw.key is None:
            raise BadRecord(f"{_where(raw)}: the record has no key; see docs/reference/publishing.md")
        try:
            key = raw.key.decode()
        except UnicodeDecodeError as e:
            raise BadRecord(f"{_where(raw)}: its key is not UTF-8: {raw.key[:80]!r}") from e
        return Record(raw.topic, raw.partition, raw.offset, key, event, value, raw.headers, raw.timestamp, attempt)

    def _schema(self, number: int) -> Any:
        try:
            return self._schemas[number]
        except KeyError:
            raise _SchemaUnknown(number) from None

    async def _fetch_schema(self, number: int) -> None:
        """Fetches a writer's schema. Source: Confluent Schema Registry API, `GET /schemas/ids/{id}`."""
        url = f"{self._settings.schema_registry.rstrip('/')}/schemas/ids/{number}"
        try:
            async with (aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session,
                        session.get(url) as response):
                if response.status == 404:
                    raise BadRecord(f"the schema registry has no schema {number}; register it and replay the record")
                response.raise_for_status()
                answer = await response.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, ValueError) as e:
            raise Unavailable(f"cannot fetch schema {number} from the schema registry: {e or type(e).__name__}") from e
        if answer.get("schemaType", "AVRO") != "AVRO":
            raise BadRecord(f"schema {number} is {answer['schemaType']}; `documents` takes Avro")
        try:
            self._schemas[number] = codec.foreign_schema(answer["schema"], DocumentPublished)
        except (codec.CodecError, KeyError) as e:
            raise BadRecord(f"schema {number} of the registry cannot be used: {e}") from e


class _SchemaUnknown(Exception):
    def __init__(self, number: int) -> None:
        self.number = number


def _where(raw: Raw) -> str:
    return f"{raw.topic}/{raw.partition}/{raw.offset}"
