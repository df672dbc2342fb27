"""The approval queue and its history: each proposal by its id, and those of a person's groups."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from typing import Any, cast

from elasticsearch import AsyncElasticsearch

from schemas import codec
from schemas.events import Decision, DecisionKind, DecisionStatus, Person
from weir.settings import Settings
from weir.stores import elasticsearch_errors
from weir.views import elastic
from weir.views.elastic import BOOLEAN, KEYWORD, LONG

PROPERTIES = {
    "approval": KEYWORD, "task": KEYWORD, "workspace": KEYWORD, "kind": KEYWORD, "tool": KEYWORD, "owner": KEYWORD,
    "editor": KEYWORD, "approvers": KEYWORD, "by_owner": BOOLEAN, "status": KEYWORD, "created_at": LONG,
    "expires_at": LONG, "decided_at": LONG, "decided_by": KEYWORD, "record": {"type": "binary"},
}
PENDING = DecisionStatus.PENDING.value


def decisions_index(settings: Settings) -> str:
    return f"{settings.prefix}weir-view-decisions"


def decision_version(decision: Decision) -> int:
    """A proposal is decided once: what is decided replaces what is pending, whatever is replayed."""
    return 1 if decision.status is DecisionStatus.PENDING else 2


def decision_document(decision: Decision) -> dict[str, Any]:
    return {
        "approval": decision.approval, "task": decision.task, "workspace": decision.workspace,
        "kind": decision.kind.value, "tool": decision.tool, "owner": decision.owner.subject,
        "editor": decision.editor, "approvers": decision.approvers, "by_owner": decision.by_owner,
        "status": decision.status.value, "created_at": decision.created_at, "expires_at": decision.expires_at,
        "decided_at": decision.decided_at, "decided_by": decision.decided_by.subject if decision.decided_by else "",
        "record": base64.b64encode(codec.encode(decision)).decode()}


def may_decide(person: Person, decision: Decision) -> bool:
    """Whether this person may decide about it, as far as one can say beforehand; the engine has the last word. Who
    asked for a task may always let it end where its budget does."""
    if decision.kind is DecisionKind.BUDGET and decision.owner.subject == person.subject:
        return True
    return (decision.approvers in person.groups and decision.editor != person.subject
            and (decision.by_owner or decision.owner.subject != person.subject))


def may_see(person: Person, decision: Decision, *, admin: bool = False) -> bool:
    """Who decides, who asked for the task, and administrators."""
    return admin or decision.approvers in person.groups or decision.owner.subject == person.subject


class DecisionViews:
    """Reads the queue. Every method raises Unavailable where Elasticsearch does not answer or the view does not
    exist."""

    def __init__(self, es: AsyncElasticsearch, settings: Settings) -> None:
        self._es = es
        self._index = decisions_index(settings)

    async def get(self, approval: str) -> Decision | None:
        """A proposal by its id, by realtime GET."""
        return (await self.many([approval]))[0]

    async def wait(self, approval: str, patience: float = 2.0) -> Decision | None:
        """A proposal that may have been made a moment ago; None where it has not come within `patience` seconds."""
        for _ in range(max(1, int(patience / 0.05))):
            if (found := await self.get(approval)) is not None:
                return found
            await asyncio.sleep(0.05)
        return None

    async def many(self, approvals: Sequence[str]) -> list[Decision | None]:
        hits = await elastic.mget(self._es, self._index, approvals)
        return [None if hit is None else _decision(hit["_source"]) for hit in hits]

    async def of_task(self, task: str, limit: int = 1000) -> list[Decision]:
        """All proposals of a task, oldest first; at most a second behind."""
        return await self._search([{"term": {"task": task}}], limit, [{"created_at": "asc"}])

    async def to_decide(self, person: Person, limit: int = 100, before: int | None = None) -> list[Decision]:
        """What this person may decide now, oldest first; at most a second behind."""
        mine, budget = {"term": {"owner": person.subject}}, {"term": {"kind": DecisionKind.BUDGET.value}}
        of_the_group = {"bool": {
            "must": {"terms": {"approvers": person.groups}},
            "must_not": [{"bool": {"must": [mine, {"term": {"by_owner": False}}]}},
                         {"term": {"editor": person.subject}}]}}
        return await self._search([
            {"term": {"status": PENDING}}, {"bool": {"should": [of_the_group, {"bool": {"must": [mine, budget]}}]}},
            *_before("created_at", before)], limit, [{"created_at": "asc"}])

    async def history(self, person: Person, limit: int = 100, before: int | None = None, *,
                      admin: bool = False) -> list[Decision]:
        """What has been decided of what this person may see, newest first; at most a second behind."""
        seen = [] if admin else [{"bool": {"should": [
            {"terms": {"approvers": person.groups}}, {"term": {"owner": person.subject}}]}}]
        return await self._search([
            {"bool": {"must_not": {"term": {"status": PENDING}}}}, *seen, *_before("decided_at", before)], limit,
            [{"decided_at": "desc"}])

    async def of_owner(self, subject: str, limit: int = 100) -> list[Decision]:
        """What a person's own tasks wait for, oldest first; at most a second behind."""
        return await self._search([{"term": {"status": PENDING}}, {"term": {"owner": subject}}], limit,
                                  [{"created_at": "asc"}])

    async def _search(self, filters: Sequence[dict[str, Any]], limit: int, sort: Any) -> list[Decision]:
        with elasticsearch_errors("reading the approval queue"):
            response = await self._es.search(index=self._index, query={"bool": {"filter": list(filters)}}, size=limit,
                                             sort=sort)
        return [_decision(hit["_source"]) for hit in response["hits"]["hits"]]


def _before(field: str, before: int | None) -> list[dict[str, Any]]:
    return [] if before is None else [{"range": {field: {"lt": before}}}]


def _decision(source: dict[str, Any]) -> Decision:
    return cast("Decision", codec.decode(base64.b64decode(source["record"])))
