"""The frame of every process: settings, telemetry, a producer, signals, exit code.

    async def main(context: Context) -> None:
        worker = Worker(context.settings, name="streams.documents", ...)
        await worker.run(context.stop)

    if __name__ == "__main__":
        run_process("streams.documents", main)
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import uvloop

from weir import settings as environment
from weir import telemetry
from weir.clock import Clock, system_clock
from weir.errors import SettingsError, WeirError
from weir.kafka.producer import Producer
from weir.settings import Settings

log = telemetry.logger(__name__)

EXIT_FAILED = 1
EXIT_SETTINGS = 2
"""The supervisor does not restart on this one: somebody must change a setting."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a process is given."""

    settings: Settings
    producer: Producer
    stop: asyncio.Event
    """Set when the process shall end: hand over and return."""
    clock: Clock


Main = Callable[[Context], Awaitable[None]]


def run_process(name: str, main: Main) -> None:
    """Runs `main` until it returns, and exits: 0 after SIGTERM or SIGINT, 2 for wrong settings, 1 for all else."""
    try:
        settings = environment.load()
        provider = telemetry.start(settings, settings.process or name)
    except (SettingsError, OSError) as e:
        print(f"{name}: {e}", file=sys.stderr)
        sys.exit(EXIT_SETTINGS)
    # A child process that starts while gRPC does closes the poller under it, which aborts this process.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")
    # A busy loop gives the Kafka threads their turn sooner (5 ms by default).
    sys.setswitchinterval(0.001)
    log.info("starting", name=name)
    code = uvloop.run(_run(settings, main))
    provider.shutdown()
    log.info("ended", name=name, code=code)
    sys.stdout.flush()
    sys.exit(code)


async def _run(settings: Settings, main: Main) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        async with Producer(settings) as producer:
            work = asyncio.ensure_future(main(Context(settings, producer, stop, system_clock)))
            await asyncio.wait([work, producer.failed], return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                stop.set()
            await work
            if producer.failed.done():
                producer.failed.result()
    except SettingsError as e:
        log.error("wrong settings", reason=e.message)
        return EXIT_SETTINGS
    except WeirError as e:
        log.error("cannot go on", code=e.code, reason=e.message)
        return EXIT_FAILED
    except Exception:
        log.exception("ended by an error nobody expected")
        return EXIT_FAILED
    if not stop.is_set():
        log.error("the process ended by itself")
        return EXIT_FAILED
    return 0
