"""What must not come into a view again, though the log tells it until its retention is over: topic `erasures`."""

from __future__ import annotations

from dataclasses import replace

from schemas import keys, topics
from schemas.events import AgentEvent, AgentState, Decision, ErasedKind, Erasure, TaskResult, Usage
from weir.kafka.records import Record
from weir.kafka.table import Table
from weir.settings import Settings

SOMEBODY = "(erased)"
"""Stands for an erased person where figures go on counting."""


class Erased:
    """Follows `erasures`. `await start()` before the first record; `await close()` at the end."""

    def __init__(self, settings: Settings) -> None:
        self._table = Table(settings, topics.ERASURES.named(settings.prefix))

    async def start(self) -> None:
        """Raises: Unavailable: Kafka does not answer, or there is no such topic."""
        await self._table.start()

    async def close(self) -> None:
        await self._table.close()

    def seen(self, record: Record) -> Record | None:
        """The record as a view may show it; None where it may not."""
        event = record.event
        if isinstance(event, AgentEvent | AgentState | Decision | TaskResult):
            return None if self._erasure(ErasedKind.TASK, event.task) else record
        if isinstance(event, Usage):
            erasure = self._erasure(ErasedKind.PERSON, event.subject)
            return replace(record, event=replace(event, subject=SOMEBODY)) if erasure and event.at <= erasure.at else (
                record)
        return record

    def _erasure(self, kind: ErasedKind, name: str) -> Erasure | None:
        found = self._table.get(keys.erasure_key(kind.value, name))
        return found if isinstance(found, Erasure) else None
