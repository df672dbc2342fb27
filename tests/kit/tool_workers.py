"""Tool workers as processes of their own, which may kill or freeze themselves at a named point, once.

    TOOL_RECORDER   a file: the world outside; it gets a line, the idempotency key, for every effect and merges nothing
    TOOL_LOOKS      the same for what only reads; the recorder where it is not set
    TOOL_KIND       plain, reconciles (looks its key up in the file) or deduplicates (says that the outside would)
    TOOL_POINT      where to stop: before intent, before commit, after intent, before effect, after effect,
                    after outcome, after report
    TOOL_ACTION     kill or freeze
    TOOL_FLAG       a file; it is made when the worker stops
    TOOL_VARIANT    a broken worker, see `VARIANTS`: it exists to show that the tests notice
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from confluent_kafka import TopicPartition

from consumers.tools.calls import Calls
from consumers.tools.effect_log import EffectLog, Entry
from consumers.tools.effects import NAME, Effects
from consumers.tools.reads import Reads
from consumers.tools.side_by_side import both
from consumers.tools.tool import Call, Returned, Tool, ToolFailed, arguments
from schemas import codec, keys, topics
from schemas.events import AgentCommand, CallTool, EffectStatus, Person, Risk
from weir.agents.canonical import canonical
from weir.kafka.handlers import Each
from weir.kafka.process import Context, run_process
from weir.kafka.worker import Worker

TOPICS = ("agent-events", "agent-commands", "agent-effects", "effect-log", "tools", "dead-letters", "replays")
OWNER = Person(subject="ada", groups=["everyone"])


class Act(Tool):
    """Writes a line into the recorder; `fails` and `seconds` say how it goes."""

    name = "act"
    description = "Acts."
    schema = arguments(["what"], what={"type": "string"}, seconds={"type": "number", "default": 0},
                       fails={"enum": ["", "failed", "retriable", "broken"], "default": ""})
    risk = Risk.WRITE
    timeout = 20.0

    def __init__(self, recorder: Path, kind: str) -> None:
        self._recorder = recorder
        self.reconciles, self.deduplicates = kind == "reconciles", kind == "deduplicates"

    async def run(self, call: Call) -> Returned:
        await asyncio.sleep(call.arguments["seconds"])
        if (fails := call.arguments["fails"]) in ("failed", "retriable"):
            raise ToolFailed("the outside refuses", retriable=fails == "retriable")
        record(self._recorder, call.key)
        if fails == "broken":
            raise OSError("the line is cut")
        return Returned(f"did {call.arguments['what']}")

    async def reconcile(self, call: Call) -> Returned | None:
        return Returned(f"did {call.arguments['what']}") if call.key in recorded(self._recorder) else None


class Sign(Act):
    """As `Act`, and nobody can take it back."""

    name = "sign"
    description = "Signs."
    risk = Risk.IRREVERSIBLE


class Look(Tool):
    """Reads; it also leaves a line, so that a test sees how often it ran."""

    name = "look"
    description = "Looks."
    schema = arguments(["what"], what={"type": "string"}, seconds={"type": "number", "default": 0})

    def __init__(self, recorder: Path) -> None:
        self._recorder = recorder

    async def run(self, call: Call) -> Returned:
        await asyncio.sleep(call.arguments["seconds"])
        record(self._recorder, call.key)
        return Returned(call.arguments["what"])


def record(recorder: Path, key: str) -> None:
    file = os.open(recorder, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{key}\n".encode())
    os.close(file)


def recorded(recorder: Path) -> list[str]:
    """The keys of all effects, in their order."""
    return recorder.read_text().split() if recorder.exists() else []


def command(task: str, what: str, tool: Tool, *, attempt: int = 1, body: str = "", schema: str = "",
            risk: Risk | None = None, **more: object) -> AgentCommand:
    """The call of a tool, as the engine would write it."""
    text = body or canonical({"what": what, **more})
    return AgentCommand(
        task=task, command=keys.command_id(task, 1, 0), attempt=attempt, at=1, body=CallTool(
            workspace="w", person=OWNER, step=1, index=0, tool=tool.name, risk=risk or tool.risk, arguments=text,
            schema=schema or tool.schema_hash, timeout=tool.timeout,
            key=keys.idempotency_key(task, 1, 0, 0, tool.name, text)))


class NoIntent(EffectLog):
    """Acts first and writes down afterwards: the offset is committed with the Outcome, the Intent never."""

    def commit(self, entries: Sequence[Entry], offsets: list[TopicPartition], group: bytes) -> float:
        kept = [entry for entry in entries
                if entry.value is None or codec.decode(entry.value).status is not EffectStatus.INTENT]
        return super().commit(kept, offsets, group) if kept else time.monotonic()


VARIANTS = {"": EffectLog, "no-intent": NoIntent}


def _stop_at(point: str) -> None:
    flag = Path(os.environ.get("TOOL_FLAG", "/nonexistent"))
    if os.environ.get("TOOL_POINT") != point or flag.exists():
        return
    flag.touch()
    os.kill(os.getpid(), signal.SIGKILL if os.environ["TOOL_ACTION"] == "kill" else signal.SIGSTOP)
    # Another thread may take the signal, and this one would go on for a moment.
    time.sleep(0.5)


async def main(context: Context) -> None:
    settings, recorder = context.settings, Path(os.environ["TOOL_RECORDER"])
    kind = os.environ.get("TOOL_KIND", "plain")
    looks = Path(os.environ.get("TOOL_LOOKS", recorder))
    tools: dict[str, Tool] = {"act": Act(recorder, kind), "sign": Sign(recorder, kind), "look": Look(looks)}
    calls = Calls(tools, context.producer.blobs, time.monotonic)
    log = VARIANTS[os.environ.get("TOOL_VARIANT", "")](settings, f"{settings.prefix}{NAME}-{settings.instance}",
                                                       time.monotonic, _stop_at)
    reads = Worker(
        settings, name="consumers.tools", topics=[topics.AGENT_COMMANDS.named(settings.prefix)],
        producer=context.producer, ahead=True,
        handler=Each(Reads(calls, context.producer, context.clock).handle, concurrency=8, ordered=False))
    effects = Effects(settings, calls, context.producer, context.clock, log=log, point=_stop_at)
    await both(context.stop, reads, effects)


if __name__ == "__main__":
    run_process("consumers.tools", main)
