"""Where a view lives: an alias that readers use, over one physical index, filled by one consumer group.

The group carries the identity that Elasticsearch gave to the physical index. An index that was lost and made again is
another one, so its group has read nothing and reads the whole topic: an empty view can never look complete.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from elasticsearch import AsyncElasticsearch, BadRequestError, NotFoundError

from weir.settings import Settings
from weir.stores import elasticsearch_errors


@dataclass(frozen=True, slots=True)
class ViewStore:
    alias: str
    index: str
    """The physical index behind it, or one that is being built to take its place."""
    uuid: str

    @property
    def label(self) -> str:
        """What the name of the consumer group ends with."""
        return self.uuid[:8]


async def open_view(es: AsyncElasticsearch, settings: Settings, alias: str, properties: Mapping[str, Any]) -> ViewStore:
    """The view's store, created if it is not there. Raises Unavailable where Elasticsearch does not answer."""
    found = await current(es, alias)
    if found is None:
        await _create(es, settings, f"{alias}-1", properties, {alias: {}})
        found = await current(es, alias)
    assert found is not None
    return found


async def current(es: AsyncElasticsearch, alias: str) -> ViewStore | None:
    """What the alias stands for now; None where there is no such view."""
    with elasticsearch_errors(f"looking for {alias}"):
        try:
            found = await es.indices.get(index=alias)
        except NotFoundError:
            return None
    (name, index), = found.items()
    return ViewStore(alias, name, index["settings"]["index"]["uuid"])


async def create_next(es: AsyncElasticsearch, settings: Settings, store: ViewStore,
                      properties: Mapping[str, Any]) -> ViewStore:
    """An empty store that can take this one's place; the same one when it was begun before."""
    number = int(store.index.rpartition("-")[2]) + 1
    name = f"{store.alias}-{number}"
    await _create(es, settings, name, properties, {})
    with elasticsearch_errors(f"looking for {name}"):
        found = await es.indices.get(index=name)
    return ViewStore(store.alias, name, found[name]["settings"]["index"]["uuid"])


async def swap(es: AsyncElasticsearch, old: ViewStore, new: ViewStore) -> None:
    """Points the alias to the new store, in one step."""
    with elasticsearch_errors(f"pointing {old.alias} to {new.index}"):
        await es.indices.update_aliases(actions=[
            {"remove": {"index": old.index, "alias": old.alias}}, {"add": {"index": new.index, "alias": new.alias}}])


async def drop(es: AsyncElasticsearch, store: ViewStore) -> None:
    with elasticsearch_errors(f"deleting {store.index}"):
        await es.indices.delete(index=store.index, ignore_unavailable=True)


async def _create(es: AsyncElasticsearch, settings: Settings, name: str, properties: Mapping[str, Any],
                  aliases: Mapping[str, Any]) -> None:
    with elasticsearch_errors(f"creating {name}"):
        try:
            await es.indices.create(
                index=name, aliases=aliases, mappings={"dynamic": "strict", "properties": dict(properties)},
                settings={"number_of_shards": 1, "number_of_replicas": settings.elasticsearch_replicas,
                          "refresh_interval": "500ms"})
        except BadRequestError as e:
            if e.error != "resource_already_exists_exception":
                raise
