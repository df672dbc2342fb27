"""The records of `effect-log`, and what they say when they are read back.

    Intent ----> Outcome ----> Outcome, reported       one key a call, the latest record counts

Only whoever owns the partition can write: every record is committed together with the partition's input offset, which
the broker refuses from a worker that was replaced (effects.py).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition

from schemas import codec, topics
from schemas.events import AgentCommand, AgentEvent, CallOutcome, CallTool, Effect, EffectStatus, ToolReturned
from weir import telemetry
from weir.errors import Unavailable
from weir.kafka import restore
from weir.kafka.config import transactional_config
from weir.kafka.leftovers import end_leftovers
from weir.kafka.transactional import insist
from weir.settings import Settings

log = telemetry.logger(__name__)

TIMEOUT = 30.0
AGAIN_SECONDS = 20.0
"""How long a transaction that failed for no fault of ours is tried again."""
REPLACED = {KafkaError.ILLEGAL_GENERATION, KafkaError.UNKNOWN_MEMBER_ID, KafkaError.FENCED_INSTANCE_ID,
            KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.PRODUCER_FENCED, KafkaError._FENCED}
"""Errors that mean that another worker has taken over."""

Point = Callable[[str], Any]
"""Told the name of each point that a worker passes; tests hold or kill it there."""

FORGET_MS = 70 * 24 * 3600 * 1000
"""Reported outcomes older than this get a tombstone: no task is that old, nor is a record of `agent-effects`."""
REPORTED = "reported"
"""Header of a record that needs nobody's attention any more: its attempt, so that reading the log back need not decode
it."""

STATUS = {CallOutcome.SUCCEEDED: EffectStatus.SUCCEEDED, CallOutcome.FAILED: EffectStatus.FAILED,
          CallOutcome.UNKNOWN: EffectStatus.UNKNOWN}


def intent(command: AgentCommand, worker: str, at: int) -> Effect:
    body = command.body
    assert isinstance(body, CallTool)
    return Effect(key=body.key, command=command, status=EffectStatus.INTENT, worker=worker, at=at)


def ended(effect: Effect, outcome: ToolReturned, worker: str, at: int) -> Effect:
    return replace(effect, status=STATUS[outcome.outcome], outcome=outcome, worker=worker, at=at)


def returned_event(command: AgentCommand, outcome: ToolReturned, at: int) -> AgentEvent:
    """The event that tells the task; telling it twice makes the same event."""
    return AgentEvent(task=command.task, event=f"{command.command}/{command.attempt}", at=at, body=outcome)


@dataclass(slots=True)
class Restored:
    """What a partition of the log holds."""

    open: dict[str, Effect] = field(default_factory=dict)
    """Intents without an Outcome, and Outcomes that the task may not know, by key."""
    done: dict[str, tuple[int, int]] = field(default_factory=dict)
    """When each reported outcome was written, in milliseconds since the epoch, and of which attempt; by key."""

    def take(self, message: Message) -> None:
        """
        Raises:
            Unavailable: the record cannot be read; a newer version of Weir may have written it.
        """
        key, value = (message.key() or b"").decode(), message.value()
        self.open.pop(key, None)
        self.done.pop(key, None)
        if value is None:
            return
        headers = dict(cast("list[tuple[str, bytes]]", message.headers() or []))
        if REPORTED in headers:
            self.done[key] = message.timestamp()[1], int(headers[REPORTED])
            return
        try:
            effect = codec.decode(value)
        except codec.CodecError as e:
            raise Unavailable(f"{message.topic()}/{message.partition()}/{message.offset()} cannot be read: {e}. No "
                              "effect is run while nobody knows what was done.") from e
        assert isinstance(effect, Effect)
        self.open[key] = effect

    def forgotten(self, now: int) -> list[str]:
        """Keys that nobody needs any more."""
        return [key for key, (at, _) in self.done.items() if now - at > FORGET_MS]


@dataclass(frozen=True, slots=True)
class Entry:
    """A record to write."""

    partition: int
    key: str
    value: bytes | None
    headers: dict[str, bytes]


def entry(partition: int, effect: Effect) -> Entry:
    headers = {REPORTED: b"%d" % effect.command.attempt} if effect.reported else {}
    return Entry(partition, effect.key, codec.encode(effect), headers)


def tombstone(partition: int, key: str) -> Entry:
    return Entry(partition, key, None, {})


class EffectLog:
    """Reads and writes the log for one worker.

    Args:
        worker: also the transactional id: opening it again shuts out whoever had it before.
    """

    def __init__(self, settings: Settings, worker: str, timer: Callable[[], float], point: Point) -> None:
        self._settings, self._worker, self._timer, self._point = settings, worker, timer, point
        self._topic = topics.EFFECT_LOG.named(settings.prefix)

    def open(self, effects: str, group: str) -> None:
        """
        Args:
            effects: the topic whose partitions the log's belong to.
            group: that reads it.

        Raises:
            Unavailable: the topics are not what they must be, or Kafka does not answer.
        """
        self._producer = Producer(transactional_config(self._settings, self._worker),
                                  logger=logging.getLogger("librdkafka"))
        found = self._producer.list_topics(timeout=TIMEOUT).topics
        counts = {name: len(found[name].partitions) if name in found else 0 for name in (effects, self._topic)}
        if len(set(counts.values())) != 1 or not all(counts.values()):
            raise Unavailable(f"these topics must exist and have equally many partitions: {counts}; `weir up` creates "
                              "them, docs/how-to/more-partitions.md says how to change them")
        insist(lambda: self._producer.init_transactions(TIMEOUT), TIMEOUT)
        end_leftovers(self._settings, self._producer, [self._topic], group, effects)

    def read(self, partitions: Sequence[int]) -> dict[int, Restored]:
        """What the partitions hold, up to their present end; pending transactions are waited for. Blocks."""
        found = {number: Restored() for number in partitions}

        def take(messages: Sequence[Message]) -> None:
            for message in messages:
                found[message.partition() or 0].take(message)

        restore.read_to(self._settings, self._topic, restore.ends(self._settings, self._topic, partitions), take)
        return found

    def commit(self, entries: Sequence[Entry], offsets: list[TopicPartition], group: bytes) -> float:
        """Writes entries and input offsets as one, as often as it takes and exactly once. Blocks.

        1. The entries.
        2. Flush: an offset must not be in the log before what is committed with it.
        3. Offsets, with the generation in which the partitions were assigned: only here a replaced worker is refused.
        4. Commit.

        Args:
            group: the group's metadata, taken after the assignment.

        Returns:
            A moment, by the timer, at which this worker had the partitions.

        Raises:
            Unavailable: the worker was replaced, or Kafka does not take it.
        """
        until = self._timer() + AGAIN_SECONDS
        while True:
            try:
                self._producer.begin_transaction()
                for entry in entries:
                    self._producer.produce(self._topic, entry.value, entry.key.encode(), entry.partition,
                                           headers=list(entry.headers.items()))
                self._producer.flush(TIMEOUT)
                ours = self._timer()
                insist(lambda: self._producer.send_offsets_to_transaction(offsets, group, TIMEOUT), AGAIN_SECONDS)
                self._point("before commit")
                insist(lambda: self._producer.commit_transaction(TIMEOUT), AGAIN_SECONDS)
                return ours
            except KafkaException as e:
                error = e.args[0]
                if error.fatal() or error.code() in REPLACED or self._timer() > until:
                    raise Unavailable(f"an Intent or an Outcome was refused: {error.str()}; restart the process") from e
                log.warning("committing effects again", reason=error.str())
                insist(lambda: self._producer.abort_transaction(TIMEOUT), AGAIN_SECONDS)
