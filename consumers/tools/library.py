"""The documents of a workspace as one person may read them now: what every tool that reads documents stands on.

Each text is checked against its document's newest access at the moment of use (weir/views), as for an answer. Whoever
may not read a document learns nothing of it, its existence included.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from elasticsearch import AsyncElasticsearch

from consumers.tools.tool import Call, ToolFailed
from schemas import topics
from schemas.events import Filter, FilterOp, IndexVersion, Source, Workspace
from weir.access import DOCUMENT_FIELD, elasticsearch_filter, may_read
from weir.index.indexes import MAIN, Indexes
from weir.kafka.table import Table
from weir.retrieval.keyword import KeywordIndex, StoredSection
from weir.retrieval.pipeline import Controls, Retriever
from weir.settings import Settings
from weir.stores import elasticsearch, elasticsearch_errors, milvus
from weir.views.documents import DocumentView, DocumentViews

MOST_SECTIONS = 2000
"""Sections of one document that are read at most."""


@dataclass(frozen=True, slots=True)
class Text:
    """A document's text: its newest version that is indexed."""

    view: DocumentView
    title: str
    version: int
    source: str
    sections: list[StoredSection]
    """In the order of the document."""

    @property
    def being_replaced(self) -> bool:
        return self.view.version > self.version


class Library:
    """Reads for one call at a time, with the access of its person."""

    def __init__(self, settings: Settings, es: AsyncElasticsearch, retriever: Retriever, views: DocumentViews,
                 indexes: Indexes, workspaces: Table) -> None:
        self._settings, self._es, self._retriever, self._views = settings, es, retriever, views
        self._indexes, self._workspaces = indexes, workspaces

    async def search(self, call: Call, query: str, limit: int, document: str | None = None) -> list[Source]:
        """The best passages, of one document or of all; every one may be read by the call's person now.

        Raises:
            ToolFailed: the person may not read in this workspace.
            Unavailable: a store does not answer, or access cannot be checked.
        """
        self._admit(call)
        filters = [] if document is None else [Filter(field=DOCUMENT_FIELD, op=FilterOp.EQ, values=[document])]
        # What a task looks for are its own words, not a person's: no condition is read into them.
        controls = Controls(recipe={"plain_filters": 0})
        return (await self._retriever.retrieve(call.workspace, query, call.person, filters, limit,
                                               controls=controls)).sources

    async def views(self, call: Call, documents: Sequence[str]) -> dict[str, DocumentView]:
        """The documents among these that the person may read now.

        Raises:
            ToolFailed: one does not exist for this person; the message names those.
        """
        self._admit(call)
        found = await self._views.check(call.workspace, documents)
        readable = {name: view for name, view in found.items() if _readable(call, view)}
        if missing := [name for name in documents if name not in readable]:
            raise ToolFailed(f"there is no document {', '.join(map(repr, missing))} that you may read in "
                             f"{call.workspace}: list_documents and search_documents give the ids.")
        return readable

    async def text(self, call: Call, document: str) -> Text:
        """The text of a document.

        Raises:
            ToolFailed: it does not exist for this person, or is not indexed yet.
        """
        view = (await self.views(call, [document]))[document]
        index = KeywordIndex(self._es, self._settings, self.live(call.workspace)[1].keyword_index).sections_name
        wanted = [{"term": {"workspace": call.workspace}}, {"term": {"document": document}}]
        with elasticsearch_errors("reading a document"):
            reply = await self._es.search(
                index=index, query={"bool": {"filter": wanted}}, size=MOST_SECTIONS, sort=[{"version": "desc"}])
        sections = [StoredSection(**hit["_source"]) for hit in reply["hits"]["hits"]]
        if not sections:
            raise ToolFailed(f"the text of {document!r} is not in the index yet: try again in a moment.",
                             retriable=True)
        newest = sections[0].version
        ordered = sorted((s for s in sections if s.version == newest), key=lambda s: s.ordinal)
        return Text(view, sections[0].title, newest, sections[0].source, ordered)

    async def listed(self, call: Call, limit: int) -> list[DocumentView]:
        """Documents by name that the person may read now."""
        self._admit(call)
        rules = {"bool": {"filter": elasticsearch_filter(call.workspace, call.person)}}
        page = await self._views.list(call.workspace, access=rules, limit=limit)
        now = await self._views.check(call.workspace, [view.document for view in page.documents])
        return [view for listed in page.documents if (view := now.get(listed.document)) and _readable(call, view)]

    def live(self, workspace: str) -> tuple[str, IndexVersion]:
        """The index that serves a workspace and its version that answers."""
        return live(self._indexes, self._workspaces, workspace)

    def _admit(self, call: Call) -> None:
        settings = self._workspaces.get(call.workspace)
        readers = settings.readers if isinstance(settings, Workspace) else ["everyone"]
        if not may_read(call.person, readers, 0):
            raise ToolFailed(f"{call.person.subject} may not read in the workspace {call.workspace}: its owners can "
                             "let them in.")


def _readable(call: Call, view: DocumentView) -> bool:
    return not view.deleted and may_read(call.person, view.groups, view.clearance)


def live(indexes: Indexes, workspaces: Table, workspace: str) -> tuple[str, IndexVersion]:
    settings = workspaces.get(workspace)
    name = settings.index if isinstance(settings, Workspace) else MAIN
    return name, indexes.live(name)


def recipe(workspaces: Table, workspace: str) -> Mapping[str, float]:
    """What a workspace says of how it is searched."""
    settings = workspaces.get(workspace)
    return settings.recipe if isinstance(settings, Workspace) else {}


@asynccontextmanager
async def library(settings: Settings) -> AsyncIterator[Library]:
    """The library on the servers of the settings. The stores may still be coming up.

    Raises:
        SettingsError: a secret cannot be read.
        Unavailable: Kafka does not answer.
    """
    indexes, workspaces = Indexes(settings), Table(settings, topics.WORKSPACES.named(settings.prefix))
    es, vectors = elasticsearch(settings), milvus(settings)
    views = DocumentViews(es, settings)
    retriever = Retriever(settings, es, vectors, views, lambda workspace: live(indexes, workspaces, workspace),
                          recipes=lambda workspace: recipe(workspaces, workspace))
    await indexes.start()
    await workspaces.start()
    try:
        yield Library(settings, es, retriever, views, indexes, workspaces)
    finally:
        await retriever.close()
        await views.close()
        await vectors.close()
        await indexes.close()
        await workspaces.close()
        await es.close()
