"""A planner and a tool that answer at once, so that what is measured or killed is the engine and nothing else.

Both read the real topics as the real workers do: `agent-commands` ahead of the commit, `agent-effects` behind it, and
drop what they have seen.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, Producer, TopicPartition

from schemas import codec, keys, topics
from schemas.events import (
    AgentCommand,
    AgentEvent,
    Amounts,
    Approvals,
    CallModel,
    CallOutcome,
    ModelReplied,
    Person,
    PlanEnd,
    Risk,
    TaskRequested,
    ToolCall,
    ToolPolicy,
    ToolReturned,
)
from weir.clock import Clock, system_clock
from weir.kafka.config import consumer_config, producer_config
from weir.kafka.restore import ends
from weir.settings import Settings

OWNER = Person(subject="echo-owner", groups=["everyone"])
APPROVER = Person(subject="echo-approver", groups=["everyone", "approvers"])
SCHEMA = hashlib.sha256(b"{}").hexdigest()[:16]

Plan = Callable[[AgentCommand, CallModel], ModelReplied]
"""The planner's reply to a command."""


def policy(name: str, risk: Risk) -> ToolPolicy:
    return ToolPolicy(name=name, risk=risk, timeout=30.0, tries=3, backoff=1.0, schema=SCHEMA)


TOOLS = [policy("echo", Risk.READ), policy("write", Risk.WRITE), policy("act", Risk.IRREVERSIBLE)]


def requested(request: str, goal: str = "echo", *, clock: Clock = system_clock, steps: int = 1_000_000,
              expires: int = 259_200) -> AgentEvent:
    """The event that asks for a task; the same request makes the same task."""
    task = keys.task_id("echo", OWNER.subject, request)
    limits = Amounts(steps=steps, tokens=10**12, micros=10**15, seconds=604_800)
    return AgentEvent(task=task, event=f"request/{request}", at=clock(), body=TaskRequested(
        workspace="echo", person=OWNER, goal=goal, request=request, planner="rules", prompt="echo", tools=TOOLS,
        approvals=Approvals(approvers="approvers", expires=expires, by_owner=False), limits=limits))


def calls(command: AgentCommand, wanted: Iterable[ToolCall]) -> ModelReplied:
    return ModelReplied(command=command.command, attempt=command.attempt, end=PlanEnd.CALLS, text="",
                        calls=list(wanted))


def answer(command: AgentCommand, text: str = "done") -> ModelReplied:
    return ModelReplied(command=command.command, attempt=command.attempt, end=PlanEnd.ANSWER, text=text)


def waves(number: int, tool: str = "echo") -> Plan:
    """So many calls one after the other, then the answer."""
    wanted = [ToolCall(tool=tool, arguments=f'{{"wave":{wave}}}', wave=wave) for wave in range(number)]

    def plan(command: AgentCommand, body: CallModel) -> ModelReplied:
        return calls(command, wanted) if body.step == 1 else answer(command)

    return plan


class Reader(threading.Thread):
    """Gives `sink` every record of a topic, from its end or its beginning, until closed; groups have no part in it.

    Args:
        after: called when `sink` has had all that was there.
    """

    def __init__(self, settings: Settings, topic: str, sink: Callable[[Message], Any], *, committed: bool = True,
                 beginning: bool = False, after: Callable[[], Any] = lambda: None) -> None:
        super().__init__(name=f"read-{topic}", daemon=True)
        self._sink, self._after = sink, after
        config = consumer_config(settings, f"{settings.prefix}bench", fetch_wait_max_ms=200, fetch_queue_backoff_ms=5,
                                 fetch_error_backoff_ms=5, isolation_level="read_committed" if committed
                                 else "read_uncommitted")
        self._client = Consumer(config, logger=logging.getLogger("librdkafka"))
        numbers = sorted(self._client.list_topics(topic, timeout=10).topics[topic].partitions)
        start = dict.fromkeys(numbers, OFFSET_BEGINNING) if beginning else ends(settings, topic, numbers)
        self._client.assign([TopicPartition(topic, number, start[number]) for number in numbers])
        self._closing = False
        self.start()

    def run(self) -> None:
        while not self._closing:
            first = self._client.poll(0.1)
            if first is None:
                continue
            for message in (first, *self._client.consume(500, 0)):
                if message.error() is None and message.value() is not None:
                    self._sink(message)
            self._after()
        self._client.close()

    def close(self) -> None:
        self._closing = True
        self.join()


class Echo:
    """The planner and the tool worker.

    Args:
        plan: what the planner replies.
        committed: reads `agent-commands` read_committed, as the baseline does.
        called: told of each tool call when its record is read.
        outcome: how a call ends.
        delay: seconds that a call takes.
    """

    def __init__(self, settings: Settings, plan: Plan, *, committed: bool = False,
                 called: Callable[[AgentCommand, float], Any] = lambda command, at: None,
                 outcome: Callable[[AgentCommand], CallOutcome] = lambda command: CallOutcome.SUCCEEDED,
                 delay: float = 0.0, clock: Clock = system_clock) -> None:
        self._events = topics.AGENT_EVENTS.named(settings.prefix)
        self._plan, self._called, self._outcome, self._clock = plan, called, outcome, clock
        self._delay = delay
        self._seen: set[tuple[str, int]] = set()
        self._replies: list[AgentEvent] = []
        self.repeated = 0
        """Commands that came again."""
        self._lock = threading.RLock()
        # A broker that is killed may be away for longer than the 15 s that Weir's producers give it. A real worker
        # hears of that and begins anew; here nobody would.
        self._producer = Producer(producer_config(settings, delivery_timeout_ms=120_000),
                                  logger=logging.getLogger("librdkafka"))
        self._readers = [
            Reader(settings, topics.AGENT_COMMANDS.named(settings.prefix), self._command, committed=committed,
                   after=self._tell),
            Reader(settings, topics.AGENT_EFFECTS.named(settings.prefix), self._command, after=self._tell)]

    def send(self, *events: AgentEvent) -> None:
        """Puts events on the log."""
        records = [(codec.encode(event), event.task.encode()) for event in events]
        with self._lock:
            for value, key in records:
                self._produce(value, key)
            self._producer.poll(0)

    def _produce(self, value: bytes, key: bytes) -> None:
        def arrived(error: KafkaError | None, message: Message) -> None:
            # As a real worker: what the broker did not take while it was away is sent again. Without a poll: inside the
            # callback of another one it aborts the process.
            if error is not None:
                self._produce(value, key)

        self._producer.produce(self._events, value, key, on_delivery=arrived)

    def poll(self) -> None:
        """Learns what became of what was sent, where nothing is being sent."""
        with self._lock:
            self._producer.poll(0)

    def _command(self, message: Message) -> None:
        command: AgentCommand = codec.decode(message.value() or b"")
        now = time.perf_counter()
        seen = command.command, command.attempt
        if seen in self._seen:
            self.repeated += 1
            return
        self._seen.add(seen)
        body = command.body
        if isinstance(body, CallModel):
            reply: Any = self._plan(command, body)
        else:
            self._called(command, now)
            reply = ToolReturned(command=command.command, attempt=command.attempt, outcome=self._outcome(command),
                                 content=body.arguments)
        event = AgentEvent(task=command.task, event=f"{command.command}/{command.attempt}", at=self._clock(),
                           body=reply)
        if self._delay:
            threading.Timer(self._delay, self.send, [event]).start()
        else:
            with self._lock:
                self._replies.append(event)

    def _tell(self) -> None:
        """All replies at once: one by one they would travel in as many requests."""
        with self._lock:
            replies, self._replies = self._replies, []
        self.send(*replies)

    def close(self) -> None:
        for reader in self._readers:
            reader.close()
        self._producer.flush(10)
