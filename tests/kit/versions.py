"""The versions of a test's index, as an operator sees them."""

from __future__ import annotations

import asyncio
from typing import Any

from schemas import topics
from schemas.events import Audit, IndexVersion
from tests.kit.pipeline import Pipeline
from tests.kit.waiting import until
from weir.blobs import Blobs
from weir.clock import system_clock
from weir.index.progress import progress
from weir.index.versions import Versions
from weir.kafka.follow import read_all
from weir.kafka.records import Decoder
from weir.settings import Settings


def versions(made: Pipeline, by: str = "ann") -> Versions:
    return Versions(made.settings, made.es, made.milvus, system_clock, by, lambda _: None)


async def build(made: Pipeline, model: str, **more: Any) -> IndexVersion:
    """Adds a version and waits until nothing is left to do for it."""
    operator = versions(made)
    version = await operator.build(await operator.plan(model, **more))
    await built(made, version)
    return version


async def built(made: Pipeline, version: IndexVersion) -> None:
    async def complete() -> bool:
        return (await progress(made.settings, made.es, await versions(made).record(), version)).complete

    await until(complete, f"{version.name} to be built")


async def audits(settings: Settings) -> list[Audit]:
    decoder = Decoder(settings, Blobs(settings))
    raws = await asyncio.to_thread(read_all, settings, topics.AUDIT.named(settings.prefix))
    found: list[Audit | None] = [(await decoder.decode(raw)).event for raw in raws]
    return sorted((audit for audit in found if audit is not None), key=lambda a: a.at)
