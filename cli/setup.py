"""`weir setup`: what Weir needs on servers that somebody else runs."""

from __future__ import annotations

import asyncio

from infra.local.setup import set_up
from weir import settings as settings_module


def setup() -> None:
    """Create the topics and the first index version on the servers of the settings. `weir up` does it by itself."""
    settings = settings_module.load()
    asyncio.run(set_up(settings))
    print(f"The topics are there, with {settings.kafka_partitions} partitions where they are new, "
          "and so is the first index version.")
