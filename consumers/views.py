"""The log as read models in Elasticsearch: documents with their access, their statuses, turns, tasks, proposals,
usage, evaluations.

Each view is filled by a group of its own, so that a flood of statuses never holds access rights up. Writes carry the
version of what they say; an older one changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from elasticsearch import AsyncElasticsearch

from schemas import keys, topics
from schemas.events import AgentEvent, AgentState, Decision, DocumentStatus, Evaluation, TaskResult, Turn, Usage
from weir import telemetry
from weir.documents.names import document_names
from weir.errors import InputError, Unavailable
from weir.kafka.handlers import Batch
from weir.kafka.process import Context, run_process
from weir.kafka.producer import Producer
from weir.kafka.records import Record
from weir.kafka.worker import Worker
from weir.settings import Settings
from weir.stores import elasticsearch
from weir.views import decisions, documents, elastic, evaluations, status, tasks, turns, usage
from weir.views.erased import Erased
from weir.views.progress import Progress
from weir.views.store import ViewStore, current, open_view

NAME = "consumers.views"
MAX_RECORDS = 500
LOOK_SECONDS = 2.0
"""How often the process looks whether a view was rebuilt."""

log = telemetry.logger(__name__)

Row = tuple[str, int | None, dict[str, Any]]
"""Id, version (None where any write is as good as another) and body of what a record says."""


@dataclass(frozen=True, slots=True)
class View:
    name: str
    topic: topics.Topic
    alias: Callable[[Settings], str]
    properties: Mapping[str, Any]
    rows: Callable[[Record], Iterable[Row]]
    progress: bool = False
    """Whether readers must be able to tell that it is behind."""

    def group(self, store: ViewStore) -> str:
        return f"{NAME}.{self.name}@{store.label}"


def document_rows(record: Record) -> Iterable[Row]:
    try:
        workspace, document = document_names(record.key, record.event)
    except InputError as e:
        # `streams.documents` makes the dead letter; here it only must not become a document.
        log.info("not a version of any document", key=record.key, reason=e.message)
        return
    view = documents.document_view(workspace, document, record.version, record.event)
    yield documents.document_id(workspace, document), record.version, asdict(view)


def status_rows(record: Record) -> Iterable[Row]:
    event: DocumentStatus | None = record.event
    if event is not None:
        yield status.status_id(event), event.version, status.status_document(event)


def turn_rows(record: Record) -> Iterable[Row]:
    event: Turn | None = record.event
    turn = record.key.rpartition(keys.SEPARATOR)[2]
    # By its offset, since a turn is written again where something in it was erased.
    yield turn, record.offset, turns.erased_document(turn) if event is None else turns.turn_document(event)


def task_rows(record: Record) -> Iterable[Row]:
    event: AgentState | None = record.event
    if not record.key.startswith("!"):  # the engine's own marks
        yield record.key, record.offset, tasks.state_document(record.key, event)


def result_rows(record: Record) -> Iterable[Row]:
    event: TaskResult | None = record.event
    if event is not None:
        yield event.task, record.offset, tasks.result_document(event)


def event_rows(record: Record) -> Iterable[Row]:
    event: AgentEvent | None = record.event
    if event is not None:
        happened = tasks.Happened(record.partition, record.offset, event)
        yield tasks.event_id(event.task, record.offset), None, tasks.event_document(happened)


def decision_rows(record: Record) -> Iterable[Row]:
    event: Decision | None = record.event
    if event is not None:
        yield event.approval, decisions.decision_version(event), decisions.decision_document(event)


def usage_rows(record: Record) -> Iterable[Row]:
    event: Usage | None = record.event
    if event is not None:
        yield f"{record.partition}/{record.offset}", None, usage.usage_document(event)


def evaluation_rows(record: Record) -> Iterable[Row]:
    event: Evaluation | None = record.event
    if event is not None:
        yield event.run, None, evaluations.evaluation_document(event)


VIEWS = (
    View("documents", topics.DOCUMENTS, documents.view_index, documents.PROPERTIES, document_rows, progress=True),
    View("statuses", topics.DOCUMENT_STATUS, status.statuses_index, status.PROPERTIES, status_rows),
    View("turns", topics.TURNS, turns.turns_index, turns.PROPERTIES, turn_rows),
    View("tasks", topics.AGENT_STATE, tasks.tasks_index, tasks.PROPERTIES, task_rows),
    View("task-results", topics.TASK_RESULTS, tasks.results_index, tasks.PROPERTIES, result_rows),
    View("task-events", topics.AGENT_EVENTS, tasks.events_index, tasks.EVENT_PROPERTIES, event_rows),
    View("decisions", topics.DECISIONS, decisions.decisions_index, decisions.PROPERTIES, decision_rows),
    View("usage", topics.USAGE, usage.usage_index, usage.PROPERTIES, usage_rows),
    View("evaluations", topics.EVALUATIONS, evaluations.evaluations_index, evaluations.PROPERTIES, evaluation_rows),
)


async def fill(settings: Settings, producer: Producer, es: AsyncElasticsearch, view: View, store: ViewStore,
               erased: Erased, stop: asyncio.Event) -> None:
    """Keeps one store of a view up to date until `stop` is set."""
    topic = view.topic.named(settings.prefix)

    async def handle(records: list[Record]) -> None:
        rows: dict[str, tuple[int | None, dict[str, Any]]] = {}
        shown = (seen for record in records if (seen := erased.seen(record)) is not None)
        for row, version, body in (found for record in shown for found in view.rows(record)):
            if row not in rows or (rows[row][0] or 0) <= (version or 0):
                rows[row] = version, body  # of one row in a batch the newest counts: a live task has many snapshots
        operations: list[dict[str, Any]] = []
        for row, (version, body) in rows.items():
            fence = {} if version is None else {"version": version, "version_type": "external_gte"}
            operations += [{"index": {"_index": store.index, "_id": row} | fence}, body]
        await elastic.bulk(es, operations)

    worker = Worker(settings, name=view.group(store), topics=[topic],
                    handler=Batch(handle, max_records=MAX_RECORDS), producer=producer)
    work = [worker.run(stop)]
    if view.progress:
        work.append(Progress(es, settings, store.index, topic, worker.group).run(stop))
    async with asyncio.TaskGroup() as group:
        for coroutine in work:
            group.create_task(coroutine)


async def follow(settings: Settings, producer: Producer, es: AsyncElasticsearch, view: View, erased: Erased,
                 stop: asyncio.Event) -> None:
    """Fills whichever store the view's alias stands for, until `stop` is set."""
    alias = view.alias(settings)
    while not stop.is_set():
        try:
            store = await open_view(es, settings, alias, view.properties)
        except Unavailable as e:
            log.warning("waiting for Elasticsearch", view=view.name, reason=e.message)
            await _pause(stop)
            continue
        end = asyncio.Event()
        filling = asyncio.create_task(fill(settings, producer, es, view, store, erased, end), name=f"view {view.name}")
        while not stop.is_set() and not filling.done() and await _still(es, alias, store):
            await _pause(stop)
        end.set()
        await filling


async def _still(es: AsyncElasticsearch, alias: str, store: ViewStore) -> bool:
    try:
        return await current(es, alias) == store
    except Unavailable:
        return True


async def _pause(stop: asyncio.Event) -> None:
    try:
        await asyncio.wait_for(stop.wait(), LOOK_SECONDS)
    except TimeoutError:
        return


async def main(context: Context) -> None:
    es, erased = elasticsearch(context.settings), Erased(context.settings)
    await erased.start()
    try:
        async with asyncio.TaskGroup() as group:
            for view in VIEWS:
                group.create_task(follow(context.settings, context.producer, es, view, erased, context.stop))
    finally:
        await erased.close()
        await es.close()


if __name__ == "__main__":
    run_process(NAME, main)
