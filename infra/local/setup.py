"""What has to be there before Weir's processes start: the topics of the table and the first index. Harmless to repeat.

It runs as a short process of its own (`python -m infra.local.setup`), so that the supervisor stays small.
"""

from __future__ import annotations

import asyncio
import sys

from weir.clock import system_clock
from weir.errors import WeirError
from weir.index import indexes
from weir.kafka.admin import ensure_topics
from weir.kafka.producer import Producer
from weir.settings import Settings, load


async def set_up(settings: Settings) -> None:
    """
    Raises:
        Unavailable: Kafka or Triton does not answer.
    """
    await ensure_topics(settings)
    async with Producer(settings) as producer:
        await indexes.declare_initial(settings, producer, system_clock)


if __name__ == "__main__":
    try:
        asyncio.run(set_up(load()))
    except WeirError as error:
        sys.exit(error.message)
