"""The gateway process: people <-> events. `python -m gateway`"""

from __future__ import annotations

from aiohttp import web

from gateway.app import application, services
from weir import telemetry
from weir.errors import SettingsError
from weir.kafka.process import Context, run_process
from weir.settings import Port

log = telemetry.logger(__name__)

GRACE = 5.0
"""Seconds that requests under way get at the end."""


async def main(context: Context) -> None:
    settings = context.settings
    async with services(settings, context.producer, context.clock) as built:
        runner = web.AppRunner(application(built), access_log=None, shutdown_timeout=GRACE)
        await runner.setup()
        port = settings.port(Port.GATEWAY)
        try:
            await web.TCPSite(runner, settings.host, port, backlog=1024).start()
        except OSError as e:
            await runner.cleanup()
            raise SettingsError(f"cannot listen on {settings.host}:{port}: {e.strerror or e}; another process has it, "
                                "or set WEIR_PORT_BASE") from e
        log.info("listening", url=settings.gateway_url)
        await context.stop.wait()
        await built.sessions.close()
        await runner.cleanup()


if __name__ == "__main__":
    run_process("gateway", main)
