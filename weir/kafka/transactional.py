"""The loop of a process that keeps state in a compacted topic: consume, work, produce and commit as one.

    input --poll--> work --produce--> outputs, state  }  one open transaction an interval,
                              +------ input offsets   }  committed as one

What it promises: what `work` produced, the state it wrote and the offsets it came to are committed together or not at
all. A member that was replaced cannot commit, and who replaces it sees all that was committed before. After an error
nothing that is in memory is believed: it is read back from the state topic.
"""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from weir import telemetry
from weir.errors import Unavailable
from weir.kafka import restore
from weir.kafka.leftovers import end_leftovers
from weir.settings import Settings

log = telemetry.logger(__name__)

READ_AHEAD = 500
"""Records taken from the library at a time."""
IDLE_SECONDS = 0.2
HURRY_SECONDS = 0.05
"""Least time between two commits that somebody waits for: under load a batch in five would hold something urgent, and a
commit costs as much as forty records."""
WORKING = 8.0
"""Times as long as the last commit took is what is left for work before the next that somebody waits for: a commit of
hundreds of snapshots would else be followed by another at once, with the snapshots of the same tasks."""
FEW = 14
"""A transaction of so few records is committed at once all the same: nobody else is there to be slowed down. A task of
ten steps fits, so that a lone one does not wait at its end."""
TIMEOUT = 30.0
HARMLESS = {KafkaError._PARTITION_EOF, KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT, KafkaError._TIMED_OUT}


class Work(Protocol):
    """What the loop runs; every call comes on the loop's thread."""

    def load(self, messages: Sequence[Message]) -> None:
        """Takes in records of the state topic, of partitions that are being restored."""

    def loaded(self, partition: int, committed: int | None) -> int | None:
        """Ends a partition's restore.

        Args:
            committed: the group's offset; None where there is none.

        Returns:
            The input offset to go on from; None for the very beginning.
        """

    def handle(self, messages: Sequence[Message]) -> bool:
        """Works on records of the input; True where somebody waits for the commit. What follows from them may be held
        back until `release` or `finish`."""

    def release(self) -> None:
        """Produces what `handle` holds back."""

    def finish(self) -> dict[int, int]:
        """Produces what belongs at a transaction's end; the next input offset of each partition that moved."""

    def forget(self) -> None:
        """Throws everything in memory away."""

    def wake_at(self) -> float | None:
        """When `wake` wants to be called, in seconds of `time.monotonic`."""

    def wake(self) -> None:
        """Does what is due by the clock, outside of transactions."""


class Aborted(Exception):
    """The open transaction cannot be committed; what it was about is in the log and comes again."""


class Loop:
    """Runs `work` on the group's share of `topic`. `run` blocks: give it a thread.

    Args:
        consumer: made with `stateful_config`, of the group `group`.
        producer: made with `transactional_config`, one transactional id an instance.
        topic, state: names on the broker, of equally many partitions.
        touches: all topics that the transactions write, `state` among them.
        interval: seconds that a transaction stays open; 0 commits after each batch.
        committed: gets the seconds that a commit took.
        restored: gets the seconds that a restore took.
    """

    def __init__(self, settings: Settings, consumer: Consumer, producer: Producer, work: Work, *, topic: str,
                 state: str, group: str, touches: Sequence[str], interval: float,
                 committed: Callable[[float], Any] = lambda _: None,
                 restored: Callable[[float], Any] = lambda _: None) -> None:
        self._settings = settings
        self._consumer = consumer
        self._producer = producer
        self._work = work
        self._topic, self._state, self._group, self._touches = topic, state, group, touches
        self._interval = interval
        self._committed, self._restored = committed, restored
        self._next: dict[int, int | None] = {}
        """Offset of the next record of each partition that is ours; None where nothing was ever read of it."""
        self._fresh: set[int] = set()
        """Partitions of which nothing has come since they were assigned."""
        self._metadata: bytes | None = None
        self._open = False
        self._records = 0
        """In the open transaction."""
        self._deadline = 0.0
        self._last_commit = self._commit_seconds = 0.0
        self.busy_since = 0.0
        """Since when a transaction is being ended, by `time.monotonic`; 0 while none is. Another thread may look."""

    def run(self, stop: threading.Event) -> None:
        """Works until `stop` is set, then commits and goes.

        Raises:
            WeirError: the process cannot go on; a fresh one can.
        """
        try:
            self._same_partitions()
            # Aborts what a predecessor of this name left open, and shuts it out.
            insist(lambda: self._producer.init_transactions(TIMEOUT), TIMEOUT)
            end_leftovers(self._settings, self._producer, self._touches, self._group, self._topic)
            self._consumer.subscribe([self._topic], on_assign=self._on_assign, on_revoke=self._on_revoke,
                                     on_lost=self._on_lost)
            while not stop.is_set():
                self._turn()
            self._commit_or_abort()
        except KafkaException as e:
            raise Unavailable(f"the loop of {self._topic} cannot go on: {e.args[0].str()}; restart it") from e
        finally:
            # Closing hands over what is left, which fails once more where the producer has failed.
            self._open = False
            self._consumer.close()

    def _turn(self) -> None:
        try:
            message = self._consumer.poll(self._patience())
            # One after the other: the second call may hand partitions over, and what the first returned must have been
            # worked on by then. consume() with a time-out waits for all it is asked for; with none it takes what is
            # there.
            if message is not None:
                self._take([message])
                self._take(self._consumer.consume(READ_AHEAD, 0))
                self._release()
            if self._open and time.monotonic() >= self._deadline:
                self._commit()
            self._work.wake()
        except Aborted as e:
            log.warning("restoring after an abort", topic=self._topic, reason=str(e))
            self._abort()
            end_leftovers(self._settings, self._producer, self._touches, self._group, self._topic)
            places = self._restore(sorted(self._next))
            self._consumer.assign(places)

    def _patience(self) -> float:
        """Seconds that a poll may wait."""
        now, until = time.monotonic(), []
        if self._open:
            until.append(self._deadline)
        if (wake := self._work.wake_at()) is not None:
            until.append(wake)
        return max(0.0, min([IDLE_SECONDS, *(at - now for at in until)]))

    def _take(self, messages: Sequence[Message]) -> None:
        ours = [message for message in messages if self._expected(message)]
        if not ours:
            return
        if not self._open:
            self._producer.begin_transaction()
            self._open, self._records = True, 0
            self._deadline = time.monotonic() + self._interval
        try:
            urgent = self._work.handle(ours)
        except KafkaException as e:
            raise _abortable(e) from e
        self._records += len(ours)
        if urgent:
            soon = 0.0 if self._records <= FEW else self._last_commit + max(HURRY_SECONDS,
                                                                            WORKING * self._commit_seconds)
            self._deadline = min(self._deadline, max(time.monotonic(), soon))

    def _release(self) -> None:
        try:
            self._work.release()
        except KafkaException as e:
            raise _abortable(e) from e
        # Delivery reports: without their being taken the producer's queue fills.
        self._producer.poll(0)

    def _expected(self, message: Message) -> bool:
        if (error := message.error()) is not None:
            self._event(error)
            return False
        number, offset = message.partition() or 0, message.offset() or 0
        if number not in self._next:
            return False
        expected = self._next[number]
        if expected is not None and offset != expected:
            if offset < expected:
                return False
            # The first one after an assignment is where the log really goes on.
            if number not in self._fresh:
                raise Aborted(f"{self._topic}/{number} goes on at {offset} instead of {expected}")
            log.warning("offsets are missing", topic=self._topic, partition=number, expected=expected, found=offset)
        self._fresh.discard(number)
        self._next[number] = offset + 1
        return True

    def _event(self, error: KafkaError) -> None:
        if error.fatal() or error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
            raise Unavailable(f"{self._topic}: {error.str()}; this position cannot be read")
        if error.code() not in HARMLESS:
            log.warning("kafka consumer", topic=self._topic, code=error.name(), reason=error.str())

    # -- transactions ---------------------------------------------------------------------------------------------

    def _commit(self) -> None:
        """Ends the open transaction.

        1. The last of what belongs to it: snapshots, and the offset that they stand for.
        2. Flush: what is committed with an offset must be in the log before the offset is, since from then on a
           successor waits for this transaction and for nothing else.
        3. Offsets, with the generation that these partitions were assigned in: only here a replaced member is refused.
        4. Commit.
        """
        began = self.busy_since = time.monotonic()
        try:
            moved = self._work.finish()
            if left := self._producer.flush(TIMEOUT):
                raise Aborted(f"{left} records did not arrive")
            if self._metadata is None:
                raise Aborted("its partitions have gone")
            offsets = [TopicPartition(self._topic, number, offset) for number, offset in moved.items()]
            metadata = self._metadata
            insist(lambda: self._producer.send_offsets_to_transaction(offsets, metadata, TIMEOUT), TIMEOUT)
            insist(lambda: self._producer.commit_transaction(TIMEOUT), TIMEOUT)
        except KafkaException as e:
            raise _abortable(e) from e
        finally:
            self.busy_since = 0.0
        self._open = False
        self._last_commit = time.monotonic()
        self._commit_seconds = self._last_commit - began
        self._committed(self._commit_seconds)

    def _commit_or_abort(self) -> None:
        """Before partitions leave: what cannot be committed comes again to whoever has them next."""
        if not self._open:
            return
        try:
            self._commit()
        except Aborted as e:
            log.warning("aborted before a hand-over", topic=self._topic, reason=str(e))
            self._abort()

    def _abort(self) -> None:
        self._work.forget()
        if self._open:
            self._open = False
            self.busy_since = time.monotonic()
            try:
                insist(lambda: self._producer.abort_transaction(TIMEOUT), TIMEOUT)
            except KafkaException as e:
                raise Unavailable(f"a transaction can be neither committed nor aborted: {e.args[0].str()}; restart the "
                                  "process") from e
            finally:
                self.busy_since = 0.0

    # -- the group ------------------------------------------------------------------------------------------------

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        numbers = sorted(p.partition for p in partitions)
        places = self._restore(numbers)
        consumer.assign(places)
        self._metadata = self._current_metadata() if numbers else None

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        log.info("handing over", topic=self._topic, partitions=len(partitions))
        self._commit_or_abort()
        self._leave(consumer)

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        log.warning("partitions were lost", topic=self._topic, partitions=len(partitions))
        self._abort()
        self._leave(consumer)

    def _leave(self, consumer: Consumer) -> None:
        """The `range` assignor takes all partitions away before it gives any."""
        self._next.clear()
        self._metadata = None
        self._work.forget()
        consumer.unassign()

    def _current_metadata(self) -> bytes:
        """The group's metadata, taken after the assignment."""
        metadata: bytes = self._consumer.consumer_group_metadata()
        if (number := generation(metadata)) < 0:
            raise Unavailable(f"the consumer of {self._topic} is in no generation of its group ({number}): the broker "
                              "would not check its offsets; restart the process")
        return metadata

    def _restore(self, numbers: list[int]) -> list[TopicPartition]:
        """Brings partitions back into memory; where to go on in them.

        1. The group's offsets. They are asked for read_committed, so that the broker makes us wait for those that a
           predecessor has sent and not yet committed.
        2. The end of the state, pending transactions included.
        3. The state up to that end, read_committed: what is pending is waited for.

        In another order a step is lost: an owner that is frozen between sending its offsets and ending its transaction
        may end it between our reading the state and our asking for the offsets.
        """
        began = time.monotonic()
        self._work.forget()
        self._next = {}
        if not numbers:
            return []
        stable = self._stable_offsets(numbers)
        up_to = restore.ends(self._settings, self._state, numbers)
        read = restore.read_to(self._settings, self._state, up_to, self._work.load, progress=self._progress)
        places = []
        for number in numbers:
            offset = self._work.loaded(number, stable[number])
            self._next[number] = offset
            places.append(TopicPartition(self._topic, number, OFFSET_BEGINNING if offset is None else offset))
        self._fresh = set(numbers)
        seconds = time.monotonic() - began
        self._restored(seconds)
        log.info("restored", topic=self._state, partitions=numbers, records=read, seconds=round(seconds, 3))
        return places

    def _stable_offsets(self, numbers: list[int]) -> dict[int, int | None]:
        asked = [TopicPartition(self._topic, number) for number in numbers]
        found = insist(lambda: self._consumer.committed(asked, timeout=TIMEOUT), TIMEOUT)
        return {place.partition: place.offset if place.offset >= 0 else None for place in found}

    def _progress(self, done: int, total: int) -> None:
        log.info("restoring", topic=self._state, done=done, total=total)

    def _same_partitions(self) -> None:
        counts = {name: len(restore.partitions(self._settings, name)) for name in (self._topic, self._state)}
        if len(set(counts.values())) != 1:
            raise Unavailable(f"topics that must have equally many partitions have {counts}; see "
                              "docs/how-to/more-partitions.md")


def generation(metadata: bytes) -> int:
    """The generation that a group's metadata stands for; -1 outside of any.

    Source: librdkafka 2.16, `rd_kafka_consumer_group_metadata_write`.

    Raises:
        Unavailable: the library writes it in another form than it did.
    """
    if not metadata.startswith(b"CGMDv2:") or len(metadata) < 11:
        raise Unavailable(f"the Kafka library gives group metadata in an unknown form: {metadata[:16]!r}")
    return int(struct.unpack_from("=i", metadata, 7)[0])


def insist(call: Callable[[], Any], seconds: float) -> Any:
    """Calls until it goes well or fails for good.

    Raises:
        KafkaException: it failed for good, or for that long.
    """
    until = time.monotonic() + seconds
    while True:
        try:
            return call()
        except KafkaException as e:
            if not e.args[0].retriable() or time.monotonic() > until:
                raise


def _abortable(error: KafkaException) -> Exception:
    """An error of a transaction as the loop reacts to it: exit when it is fatal, else abort and restore."""
    reason = error.args[0]
    if reason.fatal():
        return Unavailable(f"the engine's producer cannot go on: {reason.str()}; restart the process")
    return Aborted(reason.str())
