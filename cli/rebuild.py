"""`weir rebuild`: a store made anew from the log, while the old one goes on answering."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Annotated

import typer
from elasticsearch import AsyncElasticsearch
from rich.console import Console

from consumers import keywords, vectors, views
from schemas import topics
from weir import settings as environment
from weir.clock import Clock, system_clock
from weir.errors import BadRequest
from weir.index import names
from weir.index.changes import stores_replaced
from weir.index.indexes import Indexes
from weir.index.rebuild import Rebuild, Tell, rebuild
from weir.index.record import change
from weir.kafka.producer import Producer
from weir.retrieval.dense import VectorCollection
from weir.retrieval.keyword import KeywordIndex
from weir.settings import Settings
from weir.stores import elasticsearch, milvus
from weir.views.erased import Erased
from weir.views.manifests import Manifests
from weir.views.status import keywords_store, vectors_store
from weir.views.store import create_next, drop, open_view, swap

VIEWS = ("vectors", "keywords", *(view.name for view in views.VIEWS))


def rebuild_command(
    view: Annotated[str, typer.Option(help=f"What to rebuild: {', '.join(VIEWS)}.")],
) -> None:
    """Makes a store anew from the log; the old one answers until the new one is complete."""
    if view not in VIEWS:
        raise BadRequest(f"there is no view {view!r} to rebuild; there are {', '.join(VIEWS)}.")
    console = Console(highlight=False)
    asyncio.run(rebuild_view(environment.load(), view, console.print, system_clock))


async def rebuild_view(settings: Settings, view: str, tell: Tell, clock: Clock) -> None:
    """Rebuilds one kind of store; `vectors` and `keywords` for every index version.

    Raises:
        Unavailable: a server does not answer.
    """
    es, indexes = elasticsearch(settings), Indexes(settings)
    await indexes.start()
    try:
        async with Producer(settings) as producer:
            if view == "vectors":
                await _vectors(settings, producer, es, indexes, tell, clock)
            elif view == "keywords":
                await _keywords(settings, producer, es, indexes, tell, clock)
            else:
                await _view(settings, producer, es, next(v for v in views.VIEWS if v.name == view), tell)
    finally:
        await indexes.close()
        await es.close()


async def _vectors(settings: Settings, producer: Producer, es: AsyncElasticsearch, indexes: Indexes, tell: Tell,
                   clock: Clock) -> None:
    client = milvus(settings)
    try:
        for index in indexes.all():
            # Versions may share a collection: it is made anew once, and all of them go over to it.
            for version in {v.collection: v for v in index.versions}.values():
                old = names.collection_label(settings, version.collection)
                new = replace(version, collection=names.collection(settings, names.rebuilt(old)))
                tell(f"building {new.collection} in the place of {version.collection}")

                async def forget(collection: str = version.collection, old: str = old) -> None:
                    await VectorCollection(client, collection, 0).drop()
                    await Manifests(es, settings, vectors_store(old)).drop()

                async def switch(index: str = index.index, stores: tuple[str, str] = (
                        version.collection, new.collection)) -> None:
                    await change(settings, index, lambda now: stores_replaced(
                        now, clock(), "weir rebuild", collection=stores))

                await rebuild(settings, Rebuild(
                    topic=topics.EMBEDDINGS.named(settings.prefix, version=names.owner(old)),
                    old_group=settings.prefix + names.worker_name(vectors.NAME, old),
                    new_group=settings.prefix + names.worker_name(vectors.NAME, names.rebuilt(old)),
                    fill=lambda stop, new=new: vectors.work(settings, producer, es, client, clock, new, stop),  # type: ignore[misc]  # bound now
                    switch=switch, drop=forget), tell)
    finally:
        await client.close()


async def _keywords(settings: Settings, producer: Producer, es: AsyncElasticsearch, indexes: Indexes, tell: Tell,
                    clock: Clock) -> None:
    for index in indexes.all():
        for version in {v.keyword_index: v for v in index.versions}.values():
            old = names.keyword_label(settings, version.keyword_index)
            new = replace(version, keyword_index=names.keyword_index(settings, names.rebuilt(old)))
            tell(f"building {new.keyword_index} in the place of {version.keyword_index}")

            async def forget(keyword_index: str = version.keyword_index, old: str = old) -> None:
                await KeywordIndex(es, settings, keyword_index).drop()
                await Manifests(es, settings, keywords_store(old)).drop()

            async def switch(index: str = index.index, stores: tuple[str, str] = (
                    version.keyword_index, new.keyword_index)) -> None:
                await change(settings, index, lambda now: stores_replaced(
                    now, clock(), "weir rebuild", keyword_index=stores))

            await rebuild(settings, Rebuild(
                topic=topics.CHUNKS.named(settings.prefix, cut=version.cut.name),
                old_group=settings.prefix + names.worker_name(keywords.NAME, old),
                new_group=settings.prefix + names.worker_name(keywords.NAME, names.rebuilt(old)),
                fill=lambda stop, new=new: keywords.work(settings, producer, es, clock, new, stop),  # type: ignore[misc]  # bound now
                switch=switch, drop=forget), tell)


async def _view(settings: Settings, producer: Producer, es: AsyncElasticsearch, view: views.View, tell: Tell) -> None:
    old = await open_view(es, settings, view.alias(settings), view.properties)
    new = await create_next(es, settings, old, view.properties)
    tell(f"building {new.index} in the place of {old.index}")
    erased = Erased(settings)
    await erased.start()
    try:
        await rebuild(settings, Rebuild(
            topic=view.topic.named(settings.prefix), old_group=settings.prefix + view.group(old),
            new_group=settings.prefix + view.group(new),
            fill=lambda stop: views.fill(settings, producer, es, view, new, erased, stop),
            switch=lambda: swap(es, old, new), drop=lambda: drop(es, old)), tell)
    finally:
        await erased.close()
