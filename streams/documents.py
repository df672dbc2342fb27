"""Documents to sections and chunks: `documents` -> `chunks.<cut>`, one worker for each cutting recipe in use.

A recipe that comes with a new index version begins at the beginning of `documents`, in a consumer group of its own.

What a record may come to:

    it can be read          DocumentCut, and a status
    it is a tombstone       DocumentDeleted, and a status
    it cannot be read       DocumentDeleted, a failed status, a dead letter: the publisher has replaced the text before,
                            so that one must go, and the reason stands where people look
    names, access or        a dead letter and nothing else: it is no version of any document, so that the one
    metadata are unusable   before stays
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from schemas import events, keys, topics
from schemas.events import (
    DocumentCut,
    DocumentDeleted,
    DocumentPublished,
    DocumentStatus,
    IndexVersion,
    Stage,
    StageState,
)
from weir import telemetry
from weir.clock import Clock
from weir.documents.names import document_names
from weir.documents.sandbox import Sandbox
from weir.documents.types import Cut, CutDocument, Limits
from weir.errors import BadDocument
from weir.index import names
from weir.index.indexes import Indexes
from weir.index.running import run_for_each
from weir.kafka.handlers import Each
from weir.kafka.process import Context, run_process
from weir.kafka.producer import Producer
from weir.kafka.records import Record
from weir.kafka.worker import Worker
from weir.settings import Settings
from weir.stores import elasticsearch
from weir.views.documents import DocumentViews

NAME = "streams.documents"
CONCURRENCY = 4
"""Documents read at a time; the sandbox has two processes."""

log = telemetry.logger(__name__)


class Documents:
    """Handles one record of `documents` for one cutting recipe.

    Args:
        answers: whether somebody is answered from what is cut here: only then it is this worker that says how far a
            document has come.
    """

    def __init__(self, settings: Settings, producer: Producer, cut: events.Cut, answers: Callable[[], bool],
                 sandbox: Sandbox, views: DocumentViews, clock: Clock) -> None:
        self._settings = settings
        self._producer = producer
        self._cut_recipe = cut
        self._answers = answers
        self._sandbox = sandbox
        self._views = views
        self._clock = clock

    async def handle(self, record: Record) -> None:
        """
        Raises:
            BadRecord, BadRequest, BadDocument: the record becomes a dead letter.
            Unavailable: a server or the sandbox does not answer.
        """
        event: DocumentPublished | None = record.event
        workspace, document = document_names(record.key, event)
        if record.attempt > 1 and await self._superseded(workspace, document, record.version):
            log.info("a newer version was published since; nothing to do", document=document, version=record.version)
            return
        started = time.perf_counter()
        try:
            await self._cut(workspace, document, record, event, started)
        except BadDocument as e:
            await self._failed(workspace, document, record.version, e, started)
            raise

    async def _cut(self, workspace: str, document: str, record: Record, event: DocumentPublished | None,
                   started: float) -> None:
        cut = self._cut_recipe
        if event is None:
            await self._delete(workspace, document, record.version)
            await self._report(workspace, document, record.version, StageState.DELETED, started)
            return
        found = await self._sandbox.cut(event.content, event.media_type, document_id=document, cut=recipe(cut),
                                        title=event.title, file_name=event.source or document)
        made = document_cut(event, found, cut.name, record)
        await self._producer.send(self._topic, record.key, made)
        await self._report(workspace, document, record.version, StageState.DONE, started, count=len(made.chunks))

    async def _failed(self, workspace: str, document: str, version: int, error: BadDocument, started: float) -> None:
        await self._delete(workspace, document, version)
        await self._report(workspace, document, version, StageState.FAILED, started, code=error.reason,
                           reason=error.message)

    async def _delete(self, workspace: str, document: str, version: int) -> None:
        gone = DocumentDeleted(workspace=workspace, document=document, version=version)
        await self._producer.send(self._topic, keys.document_key(workspace, document), gone)

    async def _report(self, workspace: str, document: str, version: int, state: StageState, started: float, *,
                      count: int = 0, code: str | None = None, reason: str | None = None) -> None:
        if not self._answers():
            return
        status = DocumentStatus(
            workspace=workspace, document=document, version=version, stage=Stage.CUT, state=state, at=self._clock(),
            millis=(time.perf_counter() - started) * 1000, count=count, code=code, reason=reason)
        await self._producer.send(
            topics.DOCUMENT_STATUS.named(self._settings.prefix), keys.status_key(workspace, document, Stage.CUT, None),
            status, partition_key=keys.document_key(workspace, document))

    async def _superseded(self, workspace: str, document: str, version: int) -> bool:
        """Whether the log holds a newer version: a replayed dead letter must not overwrite it in `chunks`."""
        view = (await self._views.check(workspace, [document])).get(document)
        return view is not None and view.version > version

    @property
    def _topic(self) -> str:
        return topics.CHUNKS.named(self._settings.prefix, cut=self._cut_recipe.name)


def document_cut(event: DocumentPublished, found: CutDocument, cut: str, record: Record) -> DocumentCut:
    """What was read of a document, as the event that says so."""
    chunks = [
        events.Chunk(
            ordinal=c.ordinal, section=c.section, text=c.text, context=c.context, start=c.start, end=c.end,
            passage=c.passage_id,
            # One window that is the chunk itself would only be embedded twice.
            windows=[] if [w.text for w in c.windows] == [c.text]
            else [events.Window(ordinal=w.ordinal, text=w.text) for w in c.windows])
        for c in found.chunks]
    sections = [events.Section(ordinal=s.ordinal, heading_path=list(s.heading_path), text=s.text)
                for s in found.sections]
    return DocumentCut(
        workspace=event.workspace, document=event.document, version=record.version, cut=cut,
        media_type=event.media_type, published_at=event.published_at or record.timestamp, title=found.title,
        source=event.source, groups=event.groups, clearance=event.clearance, metadata=event.metadata,
        sections=sections, chunks=chunks)


def recipe(cut: events.Cut) -> Cut:
    return Cut(name=cut.name, chunk_chars=cut.chunk_chars, windows=cut.windows, window_chars=cut.window_chars,
               window_stride=cut.window_stride)


async def main(context: Context) -> None:
    settings = context.settings
    indexes, es = Indexes(settings), elasticsearch(settings)
    views = DocumentViews(es, settings)
    limits = Limits(max_bytes=settings.max_document_bytes, max_chunks=settings.max_document_chunks,
                    seconds=settings.document_seconds, memory_bytes=settings.document_memory)
    await indexes.start()
    try:
        async with Sandbox(processes=settings.document_readers, limits=limits) as sandbox:

            async def work(version: IndexVersion, stop: asyncio.Event) -> None:
                documents = Documents(settings, context.producer, version.cut, lambda: indexes.cut_answers(version.cut),
                                      sandbox, views, context.clock)
                worker = Worker(settings, name=names.cutting_worker(version.cut.name),
                                topics=[topics.DOCUMENTS.named(settings.prefix)],
                                handler=Each(documents.handle, concurrency=CONCURRENCY), producer=context.producer)
                await worker.run(stop)

            await run_for_each(indexes, context.stop, lambda version: version.cut.name, work)
    finally:
        await views.close()
        await indexes.close()
        await es.close()


if __name__ == "__main__":
    run_process(NAME, main)
