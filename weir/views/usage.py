"""What was used, by task, person and tool: sums over `usage`, exact to the millionth."""

from __future__ import annotations

from typing import Any, Literal

from elasticsearch import AsyncElasticsearch

from schemas.events import Usage
from weir.settings import Settings
from weir.stores import elasticsearch_errors
from weir.views.elastic import KEYWORD, LONG

PROPERTIES = {
    "subject": KEYWORD, "workspace": KEYWORD, "kind": KEYWORD, "task": KEYWORD, "step": LONG, "tool": KEYWORD,
    "model": KEYWORD, "tokens_in": LONG, "tokens_out": LONG, "micros": LONG, "at": LONG,
}
By = Literal["task", "subject", "tool", "kind", "model", "step"]
MOST = 1000
"""Groups of one answer, the dearest first."""


def usage_index(settings: Settings) -> str:
    return f"{settings.prefix}weir-view-usage"


def usage_document(usage: Usage) -> dict[str, Any]:
    """A usage record as Elasticsearch holds it: money as whole millionths, so that sums are exact."""
    return {"subject": usage.subject, "workspace": usage.workspace, "kind": usage.kind, "task": usage.task or "",
            "step": usage.step, "tool": usage.tool, "model": usage.model, "tokens_in": usage.tokens_in,
            "tokens_out": usage.tokens_out, "micros": round(usage.cost * 1_000_000), "at": usage.at}


class UsageViews:
    """Sums up. Raises Unavailable where Elasticsearch does not answer or the view does not exist."""

    def __init__(self, es: AsyncElasticsearch, settings: Settings) -> None:
        self._es = es
        self._index = usage_index(settings)

    async def totals(self, by: By, *, subject: str | None = None, task: str | None = None, since: int = 0,
                     until: int | None = None) -> list[dict[str, Any]]:
        """One line for each value of `by`, the dearest first: {by, records, tokens_in, tokens_out, micros}.

        Args:
            subject: only what this person used.
            task: only what this task used.
            since: milliseconds since the epoch.
            until: the same; None is now.
        """
        filters: list[dict[str, Any]] = [{"range": {"at": {"gte": since} | ({} if until is None else {"lt": until})}}]
        if subject is not None:
            filters.append({"term": {"subject": subject}})
        if task is not None:
            filters.append({"term": {"task": task}})
        if by == "task":
            filters.append({"bool": {"must_not": {"term": {"task": ""}}}})
        sums = {name: {"sum": {"field": name}} for name in ("tokens_in", "tokens_out", "micros")}
        with elasticsearch_errors("adding up usage"):
            response = await self._es.search(
                index=self._index, size=0, query={"bool": {"filter": filters}}, aggregations={"by": {
                    "terms": {"field": by, "size": MOST, "order": [{"micros": "desc"}, {"_key": "asc"}]},
                    "aggregations": sums}})
        return [{by: bucket["key"], "records": bucket["doc_count"],
                 **{name: int(bucket[name]["value"]) for name in sums}}
                for bucket in response["aggregations"]["by"]["buckets"]]
