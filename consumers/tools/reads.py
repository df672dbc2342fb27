"""Calls that only read: `agent-commands`, ahead of the commit, to `agent-events`.

A command that is seen before its transaction ends may come again with the next one, under the same id: what was seen
is dropped. Doing it twice would cost time and change nothing.
"""

from __future__ import annotations

from collections import OrderedDict

from consumers.tools.calls import Calls, failed
from consumers.tools.effect_log import returned_event
from schemas import topics
from schemas.events import AgentCommand, CallTool, Risk, ToolReturned
from weir import telemetry
from weir.clock import Clock
from weir.kafka.producer import Producer
from weir.kafka.records import Record

log = telemetry.logger(__name__)

REMEMBERED = 100_000
"""Commands that are known to have been seen."""


class Reads:
    """Handles one record of `agent-commands`."""

    def __init__(self, calls: Calls, producer: Producer, clock: Clock) -> None:
        self._calls, self._producer, self._clock = calls, producer, clock
        self._events = topics.AGENT_EVENTS.named(producer.settings.prefix)
        self._seen: OrderedDict[tuple[str, int], None] = OrderedDict()

    async def handle(self, record: Record) -> None:
        """
        Raises:
            Unavailable: Kafka did not take what came of it; the call is run again.
        """
        command = record.event
        if not isinstance(command, AgentCommand) or not isinstance(command.body, CallTool):
            return
        once = command.command, command.attempt
        if once in self._seen:
            return
        self._seen[once] = None
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        try:
            with telemetry.bound(task=command.task, tool=command.body.tool):
                outcome = await self._outcome(command, command.body)
            event = returned_event(command, outcome, self._clock())
            await self._producer.send(self._events, command.task, event)
        except BaseException:
            self._seen.pop(once, None)
            raise

    async def _outcome(self, command: AgentCommand, body: CallTool) -> ToolReturned:
        if body.risk is not Risk.READ:
            return failed(command, f"{body.tool} writes, and came where only what reads is run.")
        ready = self._calls.check(command)
        return ready if isinstance(ready, ToolReturned) else await self._calls.read(ready)
