"""Tasks as people see them: live ones from their snapshots, finished ones from their results, and their transcripts.

    agent-state    ->  tasks         one document a live task; a tombstone leaves a mark until the result is there
    task-results   ->  task-results  one document a finished task
    agent-events   ->  task-events   one document an event, id `task/offset`; what the planner read and wrote apart

Each document carries the record itself. Writes carry the record's offset as their version, so that a replay in any
order changes nothing.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from elasticsearch import AsyncElasticsearch

from schemas import codec
from schemas.events import (
    AgentEvent,
    AgentState,
    Amounts,
    Artefact,
    ModelReplied,
    Person,
    TaskRequested,
    TaskResult,
)
from weir.settings import Settings
from weir.stores import elasticsearch_errors
from weir.views import elastic
from weir.views.elastic import KEYWORD, LONG

ENDED = "ended"
"""Status of a live task's document once its tombstone came: the result says the rest."""

PROPERTIES = {
    "task": KEYWORD, "subject": KEYWORD, "workspace": KEYWORD, "status": KEYWORD, "requested_at": LONG,
    "updated_at": LONG, "record": {"type": "binary"},
}
EVENT_PROPERTIES = {
    "task": KEYWORD, "event": KEYWORD, "kind": KEYWORD, "partition": LONG, "offset": LONG, "at": LONG,
    "record": {"type": "binary"}, "whole": {"type": "binary"},
}
PAGE = 1000
"""Events of one search."""
MOST_EVENTS = 30_000
"""Events of a task that are read to show it."""


@dataclass(frozen=True, slots=True)
class Task:
    """A task, live (`state`) or finished (`result`)."""

    state: AgentState | None
    request: TaskRequested | None
    """What was pinned when it began; a live task's."""
    result: TaskResult | None

    @property
    def task(self) -> str:
        return self.result.task if self.result else self._live.task

    @property
    def owner(self) -> Person:
        return self.result.owner if self.result else self._request.person

    @property
    def workspace(self) -> str:
        return self.result.workspace if self.result else self._request.workspace

    @property
    def goal(self) -> str:
        return self.result.goal if self.result else self._request.goal

    @property
    def status(self) -> str:
        """Of `schemas.events.TaskStatus` while it lives, of `TaskOutcome` once it has ended."""
        return self.result.outcome.value if self.result else self._live.status.value

    @property
    def step(self) -> int:
        return self.result.steps if self.result else self._live.step

    @property
    def spent(self) -> Amounts:
        return self.result.spent if self.result else self._live.spent

    @property
    def limits(self) -> Amounts:
        return self.result.limits if self.result else self._live.limits

    @property
    def requested_at(self) -> int:
        return self.result.requested_at if self.result else self._live.requested_at

    @property
    def updated_at(self) -> int:
        return self.result.finished_at if self.result else self._live.updated_at

    @property
    def events(self) -> int:
        """Events that have changed it: its transcript holds them all once the view has come so far."""
        return self.result.events if self.result else self._live.events

    @property
    def text(self) -> str:
        """The result, the planner's question, or why it waits."""
        return self.result.text if self.result else self._live.message

    @property
    def artefacts(self) -> list[Artefact]:
        return self.result.artefacts if self.result else self._live.artefacts

    @property
    def forked_from(self) -> str:
        return self.result.forked_from if self.result else self._live.forked_from

    @property
    def _live(self) -> AgentState:
        assert self.state is not None
        return self.state

    @property
    def _request(self) -> TaskRequested:
        assert self.request is not None
        return self.request


@dataclass(frozen=True, slots=True)
class Happened:
    """An event of a transcript and where it stands in `agent-events`."""

    partition: int
    offset: int
    event: AgentEvent


def tasks_index(settings: Settings) -> str:
    return f"{settings.prefix}weir-view-tasks"


def results_index(settings: Settings) -> str:
    return f"{settings.prefix}weir-view-task-results"


def events_index(settings: Settings) -> str:
    return f"{settings.prefix}weir-view-task-events"


def event_id(task: str, offset: int) -> str:
    return f"{task}/{offset}"


# -- what the views hold ------------------------------------------------------------------------------------------


def live_task(state: AgentState) -> Task:
    return Task(state, cast("TaskRequested", codec.decode(state.request)), None)


def state_document(task: str, state: AgentState | None) -> dict[str, Any]:
    """A snapshot, or a tombstone, as Elasticsearch holds it."""
    if state is None:
        return {"task": task, "subject": "", "workspace": "", "status": ENDED, "requested_at": 0, "updated_at": 0,
                "record": None}
    return _document(live_task(state), state)


def result_document(result: TaskResult) -> dict[str, Any]:
    return _document(Task(None, None, result), result)


def _document(task: Task, record: AgentState | TaskResult) -> dict[str, Any]:
    return {"task": task.task, "subject": task.owner.subject, "workspace": task.workspace, "status": task.status,
            "requested_at": task.requested_at, "updated_at": task.updated_at, "record": _encoded(record)}


def event_document(happened: Happened) -> dict[str, Any]:
    event, body = happened.event, happened.event.body
    light, whole = event, None
    if isinstance(body, ModelReplied) and (body.prompt or body.reply):
        light, whole = replace(event, body=replace(body, prompt="", reply="")), _encoded(event)
    return {"task": event.task, "event": event.event, "kind": type(body).__name__, "partition": happened.partition,
            "offset": happened.offset, "at": event.at, "record": _encoded(light), "whole": whole}


def _encoded(record: Any) -> str:
    return base64.b64encode(codec.encode(record)).decode()


def _decoded(text: str) -> Any:
    return codec.decode(base64.b64decode(text))


# -- reading them -------------------------------------------------------------------------------------------------


class TaskViews:
    """Reads the tasks. Who may see one is the caller's to decide.

    Every method raises Unavailable where Elasticsearch does not answer or a view does not exist.
    """

    def __init__(self, es: AsyncElasticsearch, settings: Settings) -> None:
        self._es = es
        self._live, self._results, self._events = (
            tasks_index(settings), results_index(settings), events_index(settings))

    async def get(self, task: str) -> Task | None:
        """A task by its id, by realtime GET."""
        [result] = await elastic.mget(self._es, self._results, [task])
        if result is not None:
            return _task(result["_source"])
        [live] = await elastic.mget(self._es, self._live, [task])
        if live is None:
            return None
        if live["_source"]["status"] != ENDED:
            return _task(live["_source"])
        for _ in range(40):  # its tombstone and its result were written together; the result's view is a moment behind
            [result] = await elastic.mget(self._es, self._results, [task])
            if result is not None:
                return _task(result["_source"])
            await asyncio.sleep(0.05)
        return None

    async def wait(self, task: str, patience: float = 2.0) -> Task | None:
        """A task that may have begun a moment ago; None where it has not come within `patience` seconds."""
        for _ in range(max(1, int(patience / 0.05))):
            if (found := await self.get(task)) is not None:
                return found
            await asyncio.sleep(0.05)
        return None

    async def events(self, task: str, after: int = -1) -> list[Happened]:
        """A task's transcript in order, without prompts and replies of a language model; at most a second behind.

        Args:
            after: only those behind this offset.
        """
        found: list[Happened] = []
        while len(found) < MOST_EVENTS:
            with elasticsearch_errors("reading a transcript"):
                response = await self._es.search(
                    index=self._events, query={"bool": {"filter": [
                        {"term": {"task": task}}, {"range": {"offset": {"gt": after}}}]}},
                    size=PAGE, sort=[{"offset": "asc"}], source_excludes=["whole"])
            hits = response["hits"]["hits"]
            # A long transcript takes a second to decode, for which nobody else should wait.
            found += await asyncio.to_thread(_all_happened, hits)
            if len(hits) < PAGE:
                break
            after = found[-1].offset
        return found

    async def happened(self, task: str, event: str) -> bool:
        """Whether an event is in the task's transcript; at most a second behind."""
        with elasticsearch_errors("looking for an event"):
            found = await self._es.count(index=self._events, query={"bool": {"filter": [
                {"term": {"task": task}}, {"term": {"event": event}}]}})
        return bool(found["count"])

    async def event(self, task: str, offset: int) -> Happened | None:
        """One event, whole, by realtime GET."""
        [hit] = await elastic.mget(self._es, self._events, [event_id(task, offset)])
        return None if hit is None else _happened(hit["_source"], "whole" if hit["_source"]["whole"] else "record")

    async def list(self, subject: str | None, limit: int = 50, before: int | None = None,
                   status: Sequence[str] = ()) -> list[Task]:
        """Tasks of a person, or of all where None, the one asked for last first; at most a second behind.

        Args:
            before: only those asked for before this, in milliseconds since the epoch.
            status: only those with one of these.
        """
        filters: list[dict[str, Any]] = [{"bool": {"must_not": {"term": {"status": ENDED}}}}]
        if subject is not None:
            filters.append({"term": {"subject": subject}})
        if before is not None:
            filters.append({"range": {"requested_at": {"lt": before}}})
        if status:
            filters.append({"terms": {"status": list(status)}})
        with elasticsearch_errors("listing tasks"):
            response = await self._es.search(
                index=f"{self._live},{self._results}", query={"bool": {"filter": filters}}, size=2 * limit,
                sort=[{"requested_at": "desc"}, {"task": "asc"}])
        found: dict[str, Task] = {}
        for hit in response["hits"]["hits"]:
            task = _task(hit["_source"])
            if task.result is not None or task.task not in found:
                found[task.task] = task
        return list(found.values())[:limit]


def _task(source: dict[str, Any]) -> Task:
    record = _decoded(source["record"])
    return Task(None, None, record) if isinstance(record, TaskResult) else live_task(record)


def _all_happened(hits: Sequence[dict[str, Any]]) -> list[Happened]:
    return [_happened(hit["_source"], "record") for hit in hits]


def _happened(source: dict[str, Any], field: str) -> Happened:
    return Happened(source["partition"], source["offset"], _decoded(source[field]))
