"""Runs of golden sets, newest first, and each by its id."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import replace
from typing import Any, cast

from elasticsearch import AsyncElasticsearch

from schemas import codec
from schemas.events import Evaluation
from weir.settings import Settings
from weir.stores import elasticsearch_errors
from weir.views import elastic
from weir.views.elastic import BOOLEAN, KEYWORD, LONG

PROPERTIES = {
    "run": KEYWORD, "set": KEYWORD, "workspace": KEYWORD, "index": KEYWORD, "index_version": KEYWORD, "live": BOOLEAN,
    "ended_at": LONG, "head": {"type": "binary"}, "record": {"type": "binary"},
}


def evaluations_index(settings: Settings) -> str:
    return f"{settings.prefix}weir-view-evaluations"


def evaluation_document(evaluation: Evaluation) -> dict[str, Any]:
    """A run as Elasticsearch holds it: what is searched by as fields, and the event, once without its questions."""
    return {"run": evaluation.run, "set": evaluation.set, "workspace": evaluation.workspace, "index": evaluation.index,
            "index_version": evaluation.index_version, "live": evaluation.live, "ended_at": evaluation.ended_at,
            "head": _encoded(replace(evaluation, questions=[])), "record": _encoded(evaluation)}


class EvaluationViews:
    """Reads the runs. Every method raises Unavailable where Elasticsearch does not answer or the view is not there."""

    def __init__(self, es: AsyncElasticsearch, settings: Settings) -> None:
        self._es = es
        self._index = evaluations_index(settings)

    async def get(self, run: str) -> Evaluation | None:
        """A run with all its questions, by realtime GET."""
        (hit,) = await elastic.mget(self._es, self._index, [run])
        return _decoded(hit["_source"]["record"]) if hit else None

    async def wait(self, run: str, patience: float = 10.0) -> Evaluation | None:
        """A run that may have ended a moment ago; None where it has not come within `patience` seconds."""
        for _ in range(max(1, int(patience / 0.1))):
            if (found := await self.get(run)) is not None:
                return found
            await asyncio.sleep(0.1)
        return None

    async def latest(self, workspaces: list[str] | None = None, limit: int = 50) -> list[Evaluation]:
        """The newest runs without their questions; at most a second behind.

        Args:
            workspaces: only those of these; None for all.
        """
        conditions = [] if workspaces is None else [{"terms": {"workspace": workspaces}}]
        with elasticsearch_errors("reading evaluations"):
            response = await self._es.search(
                index=self._index, query={"bool": {"filter": conditions}}, size=limit, source_includes=["head"],
                sort=[{"ended_at": "desc"}, {"run": "asc"}])
        return [_decoded(hit["_source"]["head"]) for hit in response["hits"]["hits"]]


def _encoded(evaluation: Evaluation) -> str:
    return base64.b64encode(codec.encode(evaluation)).decode()


def _decoded(text: str) -> Evaluation:
    return cast("Evaluation", codec.decode(base64.b64decode(text)))
