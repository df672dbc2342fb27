"""A planner and tools that say what a test wants, behind the real engine and on the real topics.

To the engine they are real: they read its commands as the planner and the tool workers do, and answer on
`agent-events`. What they plan, and what a call returns, is the test's choice.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from schemas import codec, keys, topics
from schemas.events import (
    AgentCommand,
    AgentEvent,
    CallModel,
    CallOutcome,
    CallTool,
    ModelReplied,
    PlanEnd,
    Risk,
    Tool,
    ToolCall,
    ToolReturned,
)
from weir.agents.arguments import schema_hash
from weir.agents.canonical import canonical
from weir.clock import system_clock
from weir.kafka.config import consumer_config
from weir.kafka.producer import Producer
from weir.settings import Settings

Plan = list[dict[str, Any]]
"""Fields of the replies to a task, one for each step."""

MAIL = {"type": "object", "additionalProperties": False, "required": ["to"], "properties": {
    "to": {"type": "array", "items": {"type": "string"}}, "subject": {"type": "string"}, "body": {"type": "string"},
    "amount": {"type": "integer"}}}
FIND = {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]}
TOOLS = {"search_documents": (Risk.READ, FIND), "send_email": (Risk.IRREVERSIBLE, MAIL),
         "send_letter": (Risk.IRREVERSIBLE, MAIL), "make_table": (Risk.WRITE, {"type": "object"})}


def call(tool: str, reason: str = "because it is needed", wave: int = 0, **arguments: Any) -> ToolCall:
    return ToolCall(tool=tool, arguments=canonical(arguments), reason=reason, wave=wave)


def calls(*wanted: ToolCall, text: str = "Let me see.", **more: Any) -> dict[str, Any]:
    return {"end": PlanEnd.CALLS, "text": text, "calls": list(wanted), **more}


def answer(text: str = "All done.") -> dict[str, Any]:
    return {"end": PlanEnd.ANSWER, "text": text}


def ask(text: str) -> dict[str, Any]:
    return {"end": PlanEnd.ASK, "text": text}


MAIL_PLAN: Plan = [
    calls(call("search_documents", "to find the contracts", query="contracts"), text="First I look for the contracts."),
    calls(call("send_email", "purchasing wants it", to=["purchasing@quillmere.example"], subject="Contracts"),
          text="Now the mail.", prompt='{"messages": ["the prompt"]}', reply='{"content": "the reply"}', tokens_in=100,
          tokens_out=20, micros=1500),
    answer("The contracts were sent."),
]


class Hands:
    """Use as `async with hands(settings, producer) as made`."""

    def __init__(self, settings: Settings, producer: Producer) -> None:
        self.settings = settings
        self._producer = producer
        self.plans: dict[str, Plan] = {}
        """By task; others get `MAIL_PLAN`."""
        self.run: Callable[[CallTool], dict[str, Any]] = lambda body: {"content": f"{body.tool} did it", "micros": 200}
        """Fields of what a call returns besides its outcome."""
        self.done: list[CallTool] = []
        """Every call that was run, in order."""
        self._seen: set[tuple[str, int]] = set()

    async def offer(self) -> None:
        """Publishes the tools."""
        for name, (risk, schema) in TOOLS.items():
            text = canonical(schema)
            tool = Tool(name=name, description=f"{name} for tests", schema=text, schema_hash=schema_hash(text),
                        risk=risk, timeout=30, tries=1, backoff=1, deduplicates=False, reconciles=False, undoable=False,
                        at=system_clock())
            await self._producer.send(topics.TOOLS.named(self.settings.prefix), keys.tool_key(name, tool.schema_hash),
                                      tool)

    async def work(self) -> None:
        names = [t.named(self.settings.prefix) for t in (topics.AGENT_COMMANDS, topics.AGENT_EFFECTS)]
        consumer = Consumer(consumer_config(self.settings, f"{self.settings.prefix}hands", fetch_wait_max_ms=10))
        consumer.assign([TopicPartition(name, p, 0) for name in names for p in range(self.settings.kafka_partitions)])
        try:
            while True:
                message = await asyncio.to_thread(consumer.poll, 0.1)
                if message is not None and message.error() is None:
                    await self._take(codec.decode(message.value() or b""))
        finally:
            consumer.close()

    async def _take(self, command: AgentCommand) -> None:
        if (command.command, command.attempt) in self._seen:
            return
        self._seen.add((command.command, command.attempt))
        ids = {"command": command.command, "attempt": command.attempt}
        body: Any
        if isinstance(command.body, CallModel):
            plan = self.plans.get(command.task, MAIL_PLAN)
            body = ModelReplied(**ids, **plan[min(command.body.step, len(plan)) - 1], seconds=0.01)
        else:
            self.done.append(command.body)
            body = ToolReturned(**ids, **{"outcome": CallOutcome.SUCCEEDED, "seconds": 0.05, **self.run(command.body)})
        await self._producer.send(topics.AGENT_EVENTS.named(self.settings.prefix), command.task, AgentEvent(
            task=command.task, event=secrets.token_hex(16), at=system_clock(), body=body))


@asynccontextmanager
async def hands(settings: Settings, producer: Producer) -> AsyncIterator[Hands]:
    """Offers its tools and works until the block ends."""
    made = Hands(settings, producer)
    await made.offer()
    working = asyncio.create_task(made.work())
    try:
        yield made
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
