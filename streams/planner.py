"""The agents' planner: `agent-commands` (CallModel) -> what the task does next -> `agent-events`.

    1  a command comes, ahead of the engine's commit; one that was seen before is dropped
    2  the events that make up its prompt are read from `agent-events`, by the places that the command carries
    3  rules or a language model say what is next; arguments are checked against the tools' schemas
    4  `ModelReplied`, or `ModelFailed` with the reason; only when Kafka has it the command is finished with

A planner that dies before 4 leaves the command uncommitted: another one plans the step again. Should both arrive, the
task takes the first and never sees the second.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from schemas import keys, topics
from schemas.events import (
    AgentCommand,
    AgentEvent,
    CallModel,
    ModelFailed,
    ModelReplied,
    TaskRequested,
    Tool,
)
from schemas.events import Place as Pointer
from weir import telemetry
from weir.agents.planning.configured import planner_from
from weir.agents.planning.plan import Planner, Situation
from weir.agents.planning.validation import validated
from weir.clock import Clock
from weir.errors import WeirError
from weir.kafka.handlers import Each
from weir.kafka.places import Places
from weir.kafka.process import Context, run_process
from weir.kafka.producer import Producer
from weir.kafka.records import Record
from weir.kafka.table import Table
from weir.kafka.worker import Worker

NAME = "streams.planner"
REMEMBERED = 100_000
"""Attempts that are known to have been planned."""

log = telemetry.logger(__name__)


class Plans:
    """Handles one record of `agent-commands`.

    Args:
        planners: by the name that a task pins.
        tools: the topic of that name.
        places: reads `agent-events`.
        seconds: a clock that only runs forward, in seconds.
    """

    def __init__(self, producer: Producer, planners: Callable[[str], Planner], tools: Table, places: Places,
                 clock: Clock, seconds: Callable[[], float]) -> None:
        self._producer, self._planners, self._tools, self._places = producer, planners, tools, places
        self._clock, self._seconds = clock, seconds
        self._events = topics.AGENT_EVENTS.named(producer.settings.prefix)
        self._seen: OrderedDict[tuple[str, int], None] = OrderedDict()

    async def handle(self, record: Record) -> None:
        """
        Raises:
            Unavailable: Kafka does not give the transcript or did not take the reply; the step is planned again.
        """
        command = record.event
        if not isinstance(command, AgentCommand) or not isinstance(command.body, CallModel):
            return
        once = command.command, command.attempt
        if once in self._seen:
            return
        self._seen[once] = None
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        try:
            with telemetry.bound(task=command.task, step=command.body.step):
                body = await self._reply(command, command.body)
            await self._producer.send(self._events, command.task, AgentEvent(
                task=command.task, event=f"{command.command}/{command.attempt}", at=self._clock(), body=body))
        except BaseException:
            self._seen.pop(once, None)
            raise

    async def _reply(self, command: AgentCommand, call: CallModel) -> ModelReplied | ModelFailed:
        first, *events = await self._places.events([_place(p) for p in (call.first, *call.history)])
        request = first.body if isinstance(first, AgentEvent) else None
        if not isinstance(request, TaskRequested):
            return self._failed(command, "transcript_gone", "the task's first record is not on the log any more; "
                                "ask for the task again", retriable=False)
        began = self._seconds()
        try:
            situation = Situation(request=request, events=[e for e in events if isinstance(e, AgentEvent)],
                                  tools=self._offered(request), left=call.left)
            plan = validated(await self._planners(request.planner).plan(situation), situation.tools)
        except WeirError as e:
            log.warning("cannot plan", code=e.code, reason=e.message)
            return self._failed(command, e.code, e.message, retriable=e.retriable)
        except Exception as e:
            log.exception("planning failed in a way that nobody expected")
            return self._failed(command, "internal", f"{type(e).__name__}: the log of {NAME} says more",
                                retriable=True)
        return ModelReplied(
            command=command.command, attempt=command.attempt, end=plan.end, text=plan.text, calls=list(plan.calls),
            prompt=plan.prompt, reply=plan.reply, tokens_in=plan.tokens_in, tokens_out=plan.tokens_out,
            micros=plan.micros, seconds=round(self._seconds() - began, 6))

    def _offered(self, request: TaskRequested) -> dict[str, Tool]:
        found = {p.name: self._tools.get(keys.tool_key(p.name, p.schema)) for p in request.tools}
        return {name: tool for name, tool in found.items() if isinstance(tool, Tool)}

    def _failed(self, command: AgentCommand, code: str, message: str, *, retriable: bool) -> ModelFailed:
        return ModelFailed(command=command.command, attempt=command.attempt, code=code, message=message,
                           retriable=retriable)


def _place(pointer: Pointer) -> tuple[int, int]:
    return pointer.partition, pointer.offset


async def main(context: Context) -> None:
    settings, producer = context.settings, context.producer
    planners = planner_from(settings)
    tools = Table(settings, topics.TOOLS.named(settings.prefix))
    places = Places(settings, topics.AGENT_EVENTS.named(settings.prefix), producer.blobs)
    await tools.start()
    try:
        plans = Plans(producer, planners, tools, places, context.clock, time.monotonic)
        worker = Worker(settings, name=NAME, topics=[topics.AGENT_COMMANDS.named(settings.prefix)], producer=producer,
                        ahead=True, handler=Each(plans.handle, concurrency=settings.planner_concurrency, ordered=False))
        await worker.run(context.stop)
    finally:
        await places.close()
        await tools.close()
        await planners.close()


if __name__ == "__main__":
    run_process(NAME, main)
