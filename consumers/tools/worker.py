"""The hands of agent tasks: runs the calls of tools.

    agent-commands --ahead of the commit--> reads.py ---------------------------------------> agent-events
    agent-effects --committed--> effects.py --> effect-log: Intent --> effect --> Outcome --> agent-events
"""

from __future__ import annotations

import time

from consumers.tools.calls import Calls
from consumers.tools.catalogue import Catalogue, built_in
from consumers.tools.effects import Effects
from consumers.tools.mcp_tools import McpServers
from consumers.tools.reads import Reads
from consumers.tools.side_by_side import both
from schemas import topics
from weir.kafka.handlers import Each
from weir.kafka.process import Context, run_process
from weir.kafka.worker import Worker

NAME = "consumers.tools"


async def main(context: Context) -> None:
    settings, producer = context.settings, context.producer
    servers = McpServers(settings.mcp_servers, producer.blobs)
    async with built_in(settings, producer.blobs, context.clock) as tools, servers:
        catalogue = Catalogue(settings, producer, servers)
        servers.on_change = lambda: catalogue.offer([*tools, *servers.tools])
        await servers.on_change()
        calls = Calls(catalogue.tools, producer.blobs, time.monotonic)
        reads = Worker(
            settings, name=NAME, topics=[topics.AGENT_COMMANDS.named(settings.prefix)], producer=producer, ahead=True,
            handler=Each(Reads(calls, producer, context.clock).handle, concurrency=settings.tool_concurrency,
                         ordered=False))
        effects = Effects(settings, calls, producer, context.clock)
        await both(context.stop, reads, effects)


if __name__ == "__main__":
    run_process(NAME, main)
