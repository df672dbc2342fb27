"""What an operator does with the versions of an index: build one beside the live one, go over to it, go back, drop it.

    build      one record that adds the version; the workers that are there find it and fill it from the beginning
    cutover    the versions are compared, the gate is asked, one record; every answers worker follows it
    rollback   the same record pointing back
    drop       one record that takes the version from the workers; then its stores, groups and topics are deleted

Each step is one record or can be repeated, so that a command that was broken off is given once more.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from elasticsearch import AsyncElasticsearch

from schemas import topics
from schemas.events import Audit, Cut, Index, IndexVersion
from weir.clock import Clock
from weir.errors import Conflict
from weir.index import changes, names
from weir.index.agreement import PATIENCE, Agreement, compare
from weir.index.groups import delete_topics, forget, left
from weir.index.indexes import MAIN
from weir.index.progress import groups_of
from weir.index.record import change, current
from weir.kafka.admin import ensure_index_topics
from weir.retrieval.dense import VectorCollection, weights
from weir.retrieval.embedders import described, embedder
from weir.retrieval.keyword import KeywordIndex
from weir.retrieval.recipe import Recipe
from weir.settings import Settings
from weir.stores import Milvus
from weir.views.manifests import Manifests
from weir.views.status import keywords_store, vectors_store

QUESTIONS_SECONDS = 10.0
"""A question that began on a version reads its stores for so long at the most."""

Tell = Callable[[str], None]
"""Shows a line to the operator."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a gate says of a version that shall answer."""

    passes: bool
    reason: str
    figures: Mapping[str, Any] = field(default_factory=dict)
    """For the audit: which golden set, which runs, how the two compare. Values that JSON has."""


Gate = Callable[[IndexVersion, IndexVersion], Awaitable[Verdict]]
"""Compares the live version with the one that shall take its place."""


@dataclass(frozen=True, slots=True)
class Versions:
    """The versions of one index, for the operator `by`. Raises Unavailable wherever a server does not answer."""

    settings: Settings
    es: AsyncElasticsearch
    milvus: Milvus
    clock: Clock
    by: str
    tell: Tell
    index: str = MAIN

    async def record(self) -> Index:
        """
        Raises:
            NotFound: there is no such index.
        """
        return await current(self.settings, self.index)

    # -- build ----------------------------------------------------------------------------------------------------

    async def plan(self, model: str, cut: Cut | None = None, recipe: Mapping[str, float] | None = None) -> IndexVersion:
        """The version that `build` would add, or the one that it has added already. Nothing is written.

        What it would have in common with the live version is shared: the keyword index where chunks and words are the
        same, and the collection too where only the parameters of retrieval differ.

        Raises:
            Conflict: it would be the live version once more.
            SettingsError: the recipe names no parameter of retrieval.
            Mismatch: a store of the live version is not what the record says.
        """
        index = await self.record()
        live = changes.live_of(index)
        found = await described(self.settings, model)
        name = changes.next_name(index)
        version = IndexVersion(
            name=name, cut=cut or live.cut, model=model, revision=found.revision, dimension=found.dimension,
            collection=names.collection(self.settings, name), keyword_index=names.keyword_index(self.settings, name),
            recipe=dict(recipe or {}), created_at=self.clock(), probe=found.probe)
        Recipe.with_overrides(version.recipe)
        for known in index.versions:
            if changes.same(known, version):
                if known.name == index.live:
                    raise Conflict(f"{known.name} is live and is just that: name another model, recipe or cutting.")
                return known
        if version.cut == live.cut:
            keyword = KeywordIndex(self.es, self.settings, live.keyword_index, live.cut)
            await keyword.check()
            if await keyword.analyses_as_now():
                version = replace(version, keyword_index=live.keyword_index)
        if (version.cut, model, found.revision, found.dimension) == (live.cut, live.model, live.revision,
                                                                     live.dimension):
            version = replace(version, collection=live.collection, probe=live.probe)
        return version

    async def build(self, version: IndexVersion) -> IndexVersion:
        """Adds a planned version; the workers begin at once. Returns while they fill it.

        Raises:
            Conflict: somebody else has changed the index since it was planned.
        """
        index = await self.record()
        if any(v.name == version.name and changes.same(v, version) for v in index.versions):
            return version
        # The topics first: a worker that finds the version expects them.
        await ensure_index_topics(self.settings, cut=version.cut.name, version=self._owner(version))
        await change(self.settings, self.index, lambda now: changes.added(now, version, self.clock(), self.by),
                     self._audit("index_build", version, {
                         "model": version.model, "revision": version.revision, "cut": version.cut.name,
                         "recipe": version.recipe}))
        return version

    # -- which one answers ----------------------------------------------------------------------------------------

    async def compare(self, name: str, patience: float = PATIENCE) -> Agreement:
        """
        Raises:
            NotFound: there is no such version.
            Mismatch: its model or a store is not what the record says.
        """
        index = await self.record()
        return await compare(self.settings, self.es, self.milvus, changes.live_of(index),
                             changes.version_of(index, name), patience)

    async def cutover(self, name: str, gate: Gate | None = None, force: bool = False, patience: float = PATIENCE
                      ) -> Index:
        """Lets another version answer.

        Args:
            gate: asked once the versions agree, which is looked at again afterwards; None asks nobody.
            force: go on where the gate refuses; the audit says so. What is missing is never passed over.
            patience: seconds that documents get which the live version has and this one has not yet.

        Raises:
            NotFound: there is no such version.
            Conflict: it answers already, documents are missing from it, or the gate refuses; nothing has changed.
            Mismatch: its model or a store is not what the record says.
        """
        index = await self.record()
        live, version = changes.live_of(index), changes.version_of(index, name)
        if version.name == live.name:
            raise Conflict(f"{name} answers already.")
        await self._ready(version)
        agreement = await self._agreed(live, version, patience)
        self.tell(f"{name} holds all that {live.name} holds"
                  + (f": {agreement.documents:,} documents compared" if agreement.documents else ""))
        verdict = await gate(live, version) if gate is not None else None
        if verdict is not None:
            self.tell(f"the gate {'lets it pass' if verdict.passes else 'refuses'}: {verdict.reason}")
            if not verdict.passes and not force:
                raise Conflict(f"the gate refuses {name}: {verdict.reason} `--force` goes over all the same, and the "
                               "audit says who did.")
            # Documents went on changing while it measured: what counts is how the versions stand now.
            agreement = await self._agreed(live, version, patience)
        audit = self._audit("index_cutover", version, {
            "from": live.name, "forced": verdict is not None and not verdict.passes,
            "gate": None if verdict is None else {"passes": verdict.passes, "reason": verdict.reason,
                                                  **verdict.figures},
            "documents": agreement.documents})
        return await change(self.settings, self.index, lambda now: changes.gone_live(
            now, name, self.clock(), self.by, live.name, agreement.offsets), audit)

    async def rollback(self) -> Index:
        """Lets the version answer that answered before.

        Nothing is compared: it was filled all the time, and whoever goes back does so in a hurry.

        Raises:
            Conflict: no version has answered before, or it was dropped.
            Mismatch: its model or a store is not what the record says.
        """
        index = await self.record()
        if index.previous is None:
            raise Conflict(f"there is nothing to go back to: {index.live} is the only version that has answered, or "
                           "the one before it was dropped.")
        version = changes.version_of(index, index.previous)
        await self._ready(version)
        return await change(self.settings, self.index, lambda now: changes.gone_live(
            now, version.name, self.clock(), self.by, index.live),
            self._audit("index_rollback", version, {"from": index.live}))

    # -- drop -----------------------------------------------------------------------------------------------------

    async def drop(self, name: str) -> None:
        """Deletes a version, and every store of it that no other version shares.

        Raises:
            NotFound: there is no such version.
            Conflict: it answers.
        """
        index = await self.record()
        version = next((v for v in index.dropping if v.name == name), None) or changes.version_of(index, name)
        index = await change(self.settings, self.index,
                             lambda now: changes.retired(now, name, self.clock(), self.by),
                             self._audit("index_drop", version, {"collection": version.collection,
                                                                 "keyword_index": version.keyword_index}))
        self.tell(f"{name} is taken from the workers")
        kept = index.versions
        groups = dict(groups_of(self.settings, version)).keys() - {
            group for v in kept for group, _ in groups_of(self.settings, v)}
        for group in sorted(groups):
            await left(self.settings, group)
        # A question that began before the index went over to another version may still read these stores.
        await asyncio.sleep(QUESTIONS_SECONDS)
        await self._delete_stores(version, kept)
        for group in sorted(groups):
            await forget(self.settings, group)
        await delete_topics(self.settings, self._topics(version) - {t for v in kept for t in self._topics(v)})
        await change(self.settings, self.index, lambda now: changes.forgotten(now, name, self.clock(), self.by))
        self.tell(f"{name} is gone")

    async def _delete_stores(self, version: IndexVersion, kept: list[IndexVersion]) -> None:
        if version.collection not in {v.collection for v in kept}:
            await VectorCollection(self.milvus, version.collection, version.dimension).drop()
            label = names.collection_label(self.settings, version.collection)
            await Manifests(self.es, self.settings, vectors_store(label)).drop()
        if version.keyword_index not in {v.keyword_index for v in kept}:
            await KeywordIndex(self.es, self.settings, version.keyword_index).drop()
            label = names.keyword_label(self.settings, version.keyword_index)
            await Manifests(self.es, self.settings, keywords_store(label)).drop()

    def _topics(self, version: IndexVersion) -> set[str]:
        return {topics.CHUNKS.named(self.settings.prefix, cut=version.cut.name),
                topics.EMBEDDINGS.named(self.settings.prefix, version=self._owner(version))}

    # -- parts ----------------------------------------------------------------------------------------------------

    def _owner(self, version: IndexVersion) -> str:
        return names.owner(names.collection_label(self.settings, version.collection))

    async def _agreed(self, live: IndexVersion, version: IndexVersion, patience: float) -> Agreement:
        found = await compare(self.settings, self.es, self.milvus, live, version, patience)
        if not found.holds:
            raise Conflict(f"{version.name} does not hold what {live.name} holds, so that {live.name} goes on "
                           "answering. Let the build go on (`weir index status`), or see why it cannot:\n  "
                           + "\n  ".join(found.lines()))
        return found

    async def _ready(self, version: IndexVersion) -> None:
        """Loads the version's model for questions and looks at its stores, so that the first question finds all."""
        model = embedder(self.settings, version)
        try:
            await model.embed(["Is this the model that the index was built with?"])
        finally:
            await model.close()
        await VectorCollection(self.milvus, version.collection, version.dimension,
                               weights(version.model, version.revision)).check()
        await KeywordIndex(self.es, self.settings, version.keyword_index, version.cut).check()

    def _audit(self, action: str, version: IndexVersion, detail: Mapping[str, Any]) -> Audit:
        return Audit(subject=self.by, action=action, target=f"{self.index}/{version.name}", at=self.clock(),
                     detail=json.dumps(detail))
