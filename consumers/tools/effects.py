"""Calls that write: from `agent-effects`, through `effect-log`, to `agent-events`.

    agent-effects --> Intent + input offset --commit--> effect --> Outcome --commit--> ToolReturned --> reported

What it promises: nothing is begun before its Intent is committed together with the input offset, so a record is taken
once; nothing is told before its Outcome is committed; a worker that was replaced commits neither. What a dead or frozen
worker left as an Intent is settled by its successor (calls.py), and never simply done again.

The consumer and the transactions live on a thread; effects and reports on the event loop (hands.py).
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from queue import Empty, SimpleQueue
from typing import Any

from confluent_kafka import OFFSET_INVALID, Consumer, KafkaError, KafkaException, Message, TopicPartition

from consumers.tools import effect_log
from consumers.tools.calls import Calls, Ready
from consumers.tools.effect_log import TIMEOUT, EffectLog, Entry, Point, Restored
from consumers.tools.hands import Ended, Hands, Held, Late, Told
from schemas import topics
from schemas.events import AgentCommand, CallTool, Effect
from weir import telemetry
from weir.agents.arguments import MAX_ARGUMENTS
from weir.clock import Clock
from weir.errors import BadRecord, Unavailable
from weir.kafka.config import stateful_config
from weir.kafka.dead_letters import Graveyard
from weir.kafka.handlers import GiveUp
from weir.kafka.pausing import Pausing
from weir.kafka.producer import Producer
from weir.kafka.records import Decoder, from_message
from weir.kafka.transactional import HARMLESS, generation, insist
from weir.settings import Settings

logger = telemetry.logger(__name__)

NAME = "consumers.tools.effects"
BUSY_SECONDS, IDLE_SECONDS = 0.005, 0.1
"""How long a poll waits for new records while effects run, whose ends cannot wake it, and while none does."""
TOLD_SECONDS = 1.0
"""How long the mark that a task was told may wait for another transaction to ride along with: a task may be told
twice."""
STUCK_SECONDS = 45.0
"""How long a commit may take before the process ends. When the broker goes away in the middle of
`send_offsets_to_transaction`, the library's call may never return, whatever its time-out says (librdkafka 2.16.1)."""
CRASH_SECONDS = 2.0
"""How long a thread that cannot go on may take to notice."""
REMEMBERED = 1_000_000
"""Calls that are known to have been done."""


class Effects:
    """The worker of calls that write.

    Args:
        events: also the way to dead letters and blobs.
        timer: seconds that only grow, also while the process is frozen.
        point: called at each named point, on the thread or on the event loop.
    """

    def __init__(self, settings: Settings, calls: Calls, events: Producer, clock: Clock, *,
                 log: EffectLog | None = None, timer: Callable[[], float] = time.monotonic,
                 point: Point = lambda _: None) -> None:
        self._settings, self._calls, self._clock, self._timer, self._point = settings, calls, clock, timer, point
        self._topic = topics.AGENT_EFFECTS.named(settings.prefix)
        self._group = settings.prefix + NAME
        self._worker = f"{self._group}-{settings.instance}"
        self._log = log or EffectLog(settings, self._worker, timer, point)
        self._graveyard = Graveyard(events, self._group)
        self._decoder = Decoder(settings, events.blobs)
        self._steps: SimpleQueue[Ended | Late | Told] = SimpleQueue()
        self._hands = Hands(calls, events, self._steps, clock, timer, point, self._crashed)
        self._next: dict[int, int] = {}
        """Offset of the next record of each partition that is ours."""
        self._held: dict[str, Held] = {}
        self._done: dict[str, int] = {}
        """Attempts that are known to have been done, by key."""
        self._told: list[Held] = []
        self._told_since = 0.0
        self._forgotten: list[Entry] = []
        self._metadata: bytes | None = None
        self._committing = 0.0
        """Since when a commit is under way, by the timer; 0 while none is."""
        self._stop = threading.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Works until `stop` is set, then hands over.

        Raises:
            WeirError: the process cannot go on; a fresh one can.
        """
        self._loop = asyncio.get_running_loop()
        self._crash: asyncio.Future[None] = self._loop.create_future()
        thread = threading.Thread(target=self._run, name="effects", daemon=True)
        thread.start()
        stopped: asyncio.Future[Any] = asyncio.ensure_future(stop.wait())
        watching = asyncio.create_task(self._watch())
        try:
            await asyncio.wait([stopped, self._crash], return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
            self._stop.set()
            while thread.is_alive() and not self._crash.done():
                await asyncio.to_thread(thread.join, 0.1)
            await asyncio.to_thread(thread.join, CRASH_SECONDS)
            watching.cancel()
        if self._crash.done():
            self._crash.result()

    def _crashed(self, error: BaseException) -> None:
        if not self._crash.done():
            self._crash.set_exception(error)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            since = self._committing
            if since and self._timer() - since > STUCK_SECONDS:
                self._crashed(Unavailable(f"a commit of {NAME} does not end; restart the process"))

    # -- on the thread --------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            # Aborts what a predecessor of this name left open, and shuts it out.
            self._log.open(self._topic, self._group)
            self._consumer = Consumer(stateful_config(self._settings, self._group, self._worker),
                                      logger=logging.getLogger("librdkafka"))
            self._pausing = Pausing(self._consumer)
            self._consumer.subscribe([self._topic], on_assign=self._on_assign, on_revoke=self._on_revoke,
                                     on_lost=self._on_lost)
            while not self._stop.is_set() and not self._crash.done():
                self._turn()
            if not self._crash.done():
                self._leave()
                self._consumer.close()
        except KafkaException as e:
            self._tell_loop(self._crashed, Unavailable(f"{NAME} cannot go on: {e.args[0].str()}; restart the process"))
        except BaseException as e:
            self._tell_loop(self._crashed, e)

    def _turn(self) -> None:
        room = self._settings.tool_concurrency - len(self._held)
        self._throttle(room)
        message = self._consumer.poll(self._patience())
        # consume() with a time-out waits for all it was asked for; with none it takes what is there.
        more = self._consumer.consume(room - 1, 0) if message is not None and room > 1 else []
        # Only now: the second call may have handed partitions over, and what the first returned is read again then.
        arrived, moved = self._take([message, *more] if message is not None else [])
        self._commit(arrived, moved, self._stepped())

    def _patience(self) -> float:
        return BUSY_SECONDS if self._held else IDLE_SECONDS

    def _throttle(self, room: int) -> None:
        """Reads on while there is room: an Intent whose effect waits would be taken for one that may have been done."""
        (self._pausing.pause if room <= 0 else self._pausing.resume)()

    def _take(self, messages: Sequence[Message]) -> tuple[list[Held], set[int]]:
        """Calls among the records that are to be run, and the partitions of which something was taken."""
        arrived: list[Held] = []
        moved: set[int] = set()
        for message in messages:
            if (error := message.error()) is not None:
                self._event(error)
                continue
            number, offset = message.partition() or 0, message.offset() or 0
            if number not in self._next or offset < self._next[number]:
                continue
            self._pausing.flows((self._topic, number))
            self._next[number] = offset + 1
            moved.add(number)
            if (held := self._new(message)) is not None:
                self._held[held.effect.key] = held
                arrived.append(held)
        return arrived, moved

    def _new(self, message: Message) -> Held | None:
        """The call of a record; None where there is nothing to do."""
        raw = from_message(message)
        try:
            record = self._decoder.now(raw) or self._wait(self._decoder.decode(raw))
            command = record.event
            if not isinstance(command, AgentCommand) or not isinstance(command.body, CallTool):
                raise BadRecord(f"{raw.topic}/{raw.partition}/{raw.offset} is no call of a tool")
        except BadRecord as e:
            logger.error("an effect cannot be read", offset=raw.offset, partition=raw.partition, reason=e.message)
            self._wait(self._graveyard.bury(raw, GiveUp(e.code, f"{e.message}. A replay does not run it: cancel the "
                                                        "task."), attempts=1))
            return None
        key, attempt = command.body.key, command.attempt
        before = self._held.get(key)
        if attempt <= max(self._done.get(key, 0), before.effect.command.attempt if before else 0):
            return None
        ready = self._calls.check(command)
        effect = effect_log.intent(command, self._worker, self._clock())
        if isinstance(ready, Ready):
            return Held(raw.partition, effect, ready)
        if len(command.body.arguments) > MAX_ARGUMENTS:
            effect = replace(effect, command=replace(command, body=replace(command.body, arguments="{}")))
        return Held(raw.partition, effect_log.ended(effect, ready, self._worker, self._clock()))

    def _stepped(self) -> list[Ended | Late]:
        """What has ended or was held up since the last look; who was told is noted."""
        found: list[Ended | Late] = []
        while True:
            try:
                step = self._steps.get_nowait()
            except Empty:
                return found
            if self._held.get(step.held.effect.key) is not step.held:
                continue
            if not isinstance(step, Told):
                found.append(step)
            else:
                del self._held[step.held.effect.key]
                self._done[step.held.effect.key] = step.held.effect.command.attempt
                if len(self._done) > REMEMBERED:
                    self._done.pop(next(iter(self._done)))
                self._told_since = self._told_since if self._told else self._timer()
                self._told.append(step.held)

    # -- transactions ---------------------------------------------------------------------------------------------

    def _commit(self, arrived: Sequence[Held], moved: set[int], steps: Sequence[Ended | Late], *, now: bool = False
                ) -> None:
        """Intents of what has come, Outcomes of what has ended, marks of who was told; then goes on with all of it."""
        ended = [step for step in steps if isinstance(step, Ended)]
        late = [step.held for step in steps if isinstance(step, Late)]
        overdue = bool(self._told) and (now or self._timer() - self._told_since > TOLD_SECONDS)
        if not (arrived or moved or steps or overdue):
            return
        if arrived:
            self._point("before intent")
        at = self._clock()
        for step in ended:
            step.held.effect = effect_log.ended(step.held.effect, step.outcome, self._worker, at)
        entries = [self._entry(held) for held in arrived] + [self._entry(step.held) for step in ended]
        newer = {entry.key for entry in entries}
        entries += [effect_log.entry(held.partition, replace(held.effect, reported=True)) for held in self._told
                    if held.effect.key not in self._held and held.effect.key not in newer
                    and held.partition in self._next]
        entries += self._forgotten
        self._told, self._forgotten = [], []
        if self._metadata is None:
            raise Unavailable(f"{NAME} has no partitions to commit for; restart the process")
        # Of those that are late too: that their offsets are taken shows that the partitions are still ours.
        partitions = sorted(moved | {entry.partition for entry in entries} | {held.partition for held in late})
        offsets = [TopicPartition(self._topic, number, self._next[number]) for number in partitions]
        self._committing = self._timer()
        ours = self._log.commit(entries, offsets, self._metadata)
        self._committing = 0.0
        for held in (*arrived, *late):
            if held.effect.outcome is None:
                self._tell_loop(self._hands.begin, held, ours)
            else:
                self._tell_loop(self._hands.tell, held)
        for step in ended:
            self._tell_loop(self._hands.tell, step.held)

    def _entry(self, held: Held) -> Entry:
        return effect_log.entry(held.partition, held.effect)

    # -- the group ------------------------------------------------------------------------------------------------

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Takes partitions over.

        1. The group's offsets, asked for read_committed: the broker makes us wait for those that a predecessor has sent
           and not yet committed.
        2. The end of the log, pending transactions included.
        3. The log up to that end, read_committed. In another order an Intent is missed: its owner may be frozen between
           sending its offsets and ending its transaction.
        """
        numbers = sorted(p.partition for p in partitions)
        stable = insist(lambda: self._consumer.committed(partitions, timeout=TIMEOUT), TIMEOUT) if numbers else []
        logs = self._log.read(numbers) if numbers else {}
        places = [TopicPartition(self._topic, p.partition, self._start(p, logs[p.partition])) for p in stable]
        self._next = {place.partition: place.offset for place in places}
        consumer.assign(places)
        self._metadata = self._current_metadata() if numbers else None
        for number, found in sorted(logs.items()):
            self._forgotten += [effect_log.tombstone(number, key) for key in found.forgotten(self._clock())]
            for effect in found.open.values():
                self._resume(number, effect)
        logger.info("assigned", worker=NAME, partitions=numbers, open=len(self._held))

    def _start(self, committed: TopicPartition, found: Restored) -> int:
        """Where to go on in a partition."""
        first, _ = insist(lambda: self._consumer.get_watermark_offsets(committed, TIMEOUT), TIMEOUT)
        if committed.offset >= first:
            return int(committed.offset)
        if committed.offset >= 0:
            logger.error("effects have expired before anybody ran them: their tasks wait for ever; cancel them",
                      partition=committed.partition, first=committed.offset, last=first - 1)
        assert committed.offset >= 0 or committed.offset == OFFSET_INVALID
        # From the beginning, without an offset of the group's: what the log knows is not done again.
        self._done.update({key: attempt for key, (_, attempt) in found.done.items()})
        return int(first)

    def _resume(self, number: int, effect: Effect) -> None:
        held = self._held[effect.key] = Held(number, effect)
        self._tell_loop(self._hands.recover if effect.outcome is None else self._hands.tell, held)

    def _current_metadata(self) -> bytes:
        metadata: bytes = self._consumer.consumer_group_metadata()
        if (number := generation(metadata)) < 0:
            raise Unavailable(f"{NAME} is in no generation of its group ({number}): the broker would not check its "
                              "offsets; restart the process")
        return metadata

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._leave()
        self._pausing.leave((self._topic, p.partition) for p in partitions)
        consumer.unassign()

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        raise Unavailable(f"{NAME} has lost its partitions to another worker; restart the process")

    def _leave(self) -> None:
        """What runs may end within the time for it; what does not is settled by whoever has the partition next."""
        until = self._timer() + self._settings.drain_timeout
        while self._held and self._timer() < until and not self._crash.done():
            self._commit([], set(), self._stepped())
            time.sleep(BUSY_SECONDS)
        if self._metadata is not None:
            self._commit([], set(), self._stepped(), now=True)
        for held in self._held.values():
            logger.warning("leaving an effect behind", task=held.effect.command.task, key=held.effect.key)
            held.dropped = True
            self._tell_loop(self._hands.drop, held)
        self._held, self._done, self._next, self._metadata = {}, {}, {}, None
        self._told, self._forgotten = [], []

    def _event(self, error: KafkaError) -> None:
        if error.fatal() or error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
            raise Unavailable(f"{self._topic}: {error.str()}; restart the process")
        if error.code() not in HARMLESS:
            logger.warning("kafka consumer", worker=NAME, code=error.name(), reason=error.str())

    # -- to the event loop ----------------------------------------------------------------------------------------

    def _tell_loop(self, call: Callable[..., Any], *arguments: Any) -> None:
        self._loop.call_soon_threadsafe(call, *arguments)

    def _wait(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(TIMEOUT)
