"""The gateway's ear on `answers`: frames of the conversations that somebody here listens to, as they are written."""

from __future__ import annotations

from collections.abc import Callable

from gateway.tail import Tail, listener_config
from gateway.wire import Received
from schemas import codec, topics
from schemas.events import AnswerFrame
from weir import telemetry
from weir.kafka.records import Raw
from weir.settings import Settings

__all__ = ["Frames", "decoded", "listener_config"]

log = telemetry.logger(__name__)

Deliver = Callable[[list[Received]], None]


class Frames:
    """Listens to partitions of `answers`, which are never written transactionally. See `Tail`."""

    def __init__(self, settings: Settings, deliver: Deliver) -> None:
        self.topic = topics.ANSWERS.named(settings.prefix)
        self._tail = Tail(settings, [self.topic], _received, deliver, committed=False)

    async def start(self) -> None:
        """Raises: Unavailable: Kafka does not answer, or has no topic `answers`."""
        await self._tail.start()

    async def close(self) -> None:
        await self._tail.close()

    @property
    def alive(self) -> bool:
        return self._tail.alive

    @property
    def failure(self) -> str | None:
        """Why nothing may be arriving at the moment, in librdkafka's words."""
        return self._tail.failure

    def partition(self, conversation: str) -> int:
        return self._tail.part(self.topic, conversation).partition

    async def listen(self, conversation: str) -> None:
        """From its return on, every new frame of the conversation is delivered. `leave` must follow.

        Raises:
            Unavailable: Kafka does not answer.
        """
        await self._tail.listen(self.topic, conversation)

    def leave(self, conversation: str) -> None:
        self._tail.leave(self.topic, conversation)

    async def sweep(self) -> None:
        """Lets go of partitions that nobody has listened to for a while."""
        await self._tail.sweep()


def _received(raw: Raw) -> Received | None:
    frame = decoded(raw.value)
    return None if frame is None else Received(raw.partition, raw.offset, frame)


def decoded(value: bytes | None) -> AnswerFrame | None:
    try:
        event = codec.decode(value or b"")
    except codec.CodecError as e:
        log.warning("a frame cannot be decoded", reason=str(e))
        return None
    return event if isinstance(event, AnswerFrame) else None
