"""One call from its command to what becomes of it.

    1  check     is the tool offered, with the schema and the risk that the task knows; do the arguments fit
    2  run       within its time
    3  of a call that writes and did not come back: was it done?
           reconcile says so                      -> succeeded
           the service does a call only once      -> failed, and may be tried again with the same key
           else                                   -> unknown: a person decides
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from consumers.tools.artefacts import stored
from consumers.tools.tool import CONTENT_BYTES, Call, Returned, Tool, ToolFailed
from schemas.events import AgentCommand, Artefact, CallOutcome, CallTool, Risk, ToolReturned
from weir import telemetry
from weir.agents.arguments import checked
from weir.blobs import Blobs
from weir.errors import BadRequest, WeirError

log = telemetry.logger(__name__)

RISKS = (Risk.READ, Risk.WRITE, Risk.IRREVERSIBLE)
"""From the least on."""
RECONCILE_AFTER = (0.0, 0.5, 1.5)
"""Seconds before each look for a call that may have been done: a mailbox takes a moment to show a mail."""
RECONCILE_SECONDS = 30.0
UNKNOWN = "This may have been done, and nobody can tell: "


@dataclass(frozen=True, slots=True)
class Ready:
    """A call that was checked."""

    command: AgentCommand
    tool: Tool
    call: Call


class Calls:
    """Runs calls of the tools that are offered.

    Args:
        tools: by name; may change while this runs.
        timer: seconds that only grow.
    """

    def __init__(self, tools: Mapping[str, Tool], blobs: Blobs, timer: Callable[[], float]) -> None:
        self._tools, self._blobs, self._timer = tools, blobs, timer

    def check(self, command: AgentCommand) -> Ready | ToolReturned:
        """The call, or its end where it must not be run: then nothing was done."""
        body = command.body
        assert isinstance(body, CallTool)
        tool = self._tools.get(body.tool)
        if tool is None:
            return failed(command, f"no worker offers the tool {body.tool!r} any more.")
        if tool.schema_hash != body.schema:
            return failed(command, f"the arguments of {body.tool} have changed since the task began: begin a new task.")
        if RISKS.index(tool.risk) > RISKS.index(body.risk):
            return failed(command, f"{body.tool} is {tool.risk} now and was {body.risk} when the task began: begin a "
                          "new task.")
        try:
            values = checked(tool.schema_text, body.arguments)
        except BadRequest as e:
            return failed(command, e.message)
        timeout = min(body.timeout, tool.timeout) if body.timeout > 0 else tool.timeout
        return Ready(command, tool, Call(body.key, command.task, body.workspace, body.person, values, timeout))

    async def read(self, ready: Ready) -> ToolReturned:
        """Runs a call that only reads."""
        since = self._timer()
        try:
            return await self._run(ready, since)
        except TimeoutError:
            error: ToolReturned = failed(ready.command, f"{ready.tool.name} took longer than {ready.call.timeout:g} s.",
                                         retriable=True)
        except WeirError as e:
            error = failed(ready.command, e.message, retriable=e.retriable)
        except Exception as e:
            log.exception("a tool failed in a way that nobody expected", tool=ready.tool.name, task=ready.call.task)
            error = failed(ready.command, f"{ready.tool.name} failed ({type(e).__name__}): see the log of the tools "
                           "worker.")
        return replace(error, seconds=self._timer() - since)

    async def write(self, ready: Ready) -> ToolReturned:
        """Runs a call whose Intent is committed."""
        if ready.tool.risk is Risk.READ:
            return await self.read(ready)
        since = self._timer()
        try:
            return await self._run(ready, since)
        except ToolFailed as e:
            error = failed(ready.command, e.message, retriable=e.retriable)
        except TimeoutError:
            error = await self._doubt(ready, f"{ready.tool.name} took longer than {ready.call.timeout:g} s.")
        except WeirError as e:
            error = await self._doubt(ready, e.message)
        except Exception as e:
            log.exception("a tool failed in a way that nobody expected", tool=ready.tool.name, task=ready.call.task)
            error = await self._doubt(ready, f"{ready.tool.name} failed ({type(e).__name__}): see the log of the tools "
                                      "worker.")
        return replace(error, seconds=self._timer() - since)

    async def recover(self, command: AgentCommand) -> ToolReturned:
        """What becomes of a call whose worker left an Intent and no Outcome."""
        ready = self.check(command)
        if isinstance(ready, ToolReturned):
            return unknown(command, f"its worker ended before it said how it went, and {ready.error}")
        if ready.tool.risk is Risk.READ:
            return await self.read(ready)
        if (done := await self._reconciled(ready)) is not None:
            return done
        if ready.tool.deduplicates:
            return await self.write(ready)
        return unknown(command, "its worker ended before it said how it went.")

    async def _run(self, ready: Ready, since: float) -> ToolReturned:
        with telemetry.span(f"tool {ready.tool.name}"):
            async with asyncio.timeout(ready.call.timeout):
                returned = await ready.tool.run(ready.call)
        return await self._succeeded(ready, returned, self._timer() - since)

    async def _doubt(self, ready: Ready, reason: str) -> ToolReturned:
        if (done := await self._reconciled(ready)) is not None:
            return done
        if ready.tool.deduplicates:
            return failed(ready.command, reason, retriable=True)
        return unknown(ready.command, reason)

    async def _reconciled(self, ready: Ready) -> ToolReturned | None:
        """The call's end where one can see that it was done. Anything else proves nothing."""
        if not ready.tool.reconciles:
            return None
        for seconds in RECONCILE_AFTER:
            await asyncio.sleep(seconds)
            try:
                async with asyncio.timeout(RECONCILE_SECONDS):
                    returned = await ready.tool.reconcile(ready.call)
            except Exception as e:
                log.warning("cannot find out whether a call was done", tool=ready.tool.name, key=ready.call.key,
                            reason=str(e) or type(e).__name__)
                continue
            if returned is not None:
                return await self._succeeded(ready, returned, 0.0)
        return None

    async def _succeeded(self, ready: Ready, returned: Returned, seconds: float) -> ToolReturned:
        content, more = await self._capped(ready, returned.content)
        return ToolReturned(
            command=ready.command.command, attempt=ready.command.attempt, outcome=CallOutcome.SUCCEEDED,
            content=content, artefacts=[*returned.artefacts, *more], undo=returned.undo, micros=returned.micros,
            seconds=seconds)

    async def _capped(self, ready: Ready, content: str) -> tuple[str, list[Artefact]]:
        """Content that the planner gets, and what is too long for it as an artefact."""
        data = content.encode(errors="replace")
        if len(data) <= CONTENT_BYTES:
            return data.decode(), []
        kind = ("json", "application/json") if content[:1] in "[{" else ("txt", "text/plain")
        name = f"{ready.tool.name}.{kind[0]}"
        note, more = "", []
        try:
            more = [await stored(self._blobs, name, kind[1], data)]
            note = f"\n[The rest is in the artefact {name}: {len(data):,} bytes together.]"
        except WeirError as e:
            # The call was done all the same, and must not look as if it was not.
            log.warning("cannot keep the whole of what a tool returned", tool=ready.tool.name, reason=e.message)
            note = f"\n[The rest of {len(data):,} bytes could not be kept.]"
        return data[:CONTENT_BYTES - 200].decode(errors="ignore") + note, more


def failed(command: AgentCommand, error: str, *, retriable: bool = False) -> ToolReturned:
    """The end of a call that was certainly not done."""
    return ToolReturned(command=command.command, attempt=command.attempt, outcome=CallOutcome.FAILED, error=error,
                        retriable=retriable)


def unknown(command: AgentCommand, reason: str) -> ToolReturned:
    return ToolReturned(command=command.command, attempt=command.attempt, outcome=CallOutcome.UNKNOWN,
                        error=UNKNOWN + reason)
