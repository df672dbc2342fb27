"""Passages a second through the whole pipeline against the embedder alone: `python -m bench.ingest`.

Documents of made-up prose are published through Kafka into a workspace of this run, and the clock stops when the last
of them is searchable in both stores. Before and after that the same chunks and windows go straight to the bulk model,
in the groups that the pipeline makes; the mean of both is what the pipeline is held against. The documents are deleted
afterwards.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time

import numpy as np
from elasticsearch import AsyncElasticsearch

from bench.common import console, finish, show, target
from bench.scale import vocabulary
from schemas import keys, topics
from schemas.events import DocumentCut, DocumentPublished, IndexVersion
from streams.documents import document_cut, recipe
from streams.embeddings import groups
from weir import settings as settings_module
from weir.clock import system_clock
from weir.documents.cut import cut_document
from weir.errors import Unavailable, WeirError
from weir.index.indexes import Indexes
from weir.kafka.producer import Producer
from weir.kafka.records import Record
from weir.retrieval.embed import Embedder
from weir.settings import Settings
from weir.stores import elasticsearch
from weir.views.status import document_statuses

DOCUMENTS, PARAGRAPHS, WORDS, SEED = 100, 12, 110, 11
LIMIT = 0.9
PATIENCE = 1800.0
LOOK_SECONDS = 0.5


def contents(count: int) -> dict[str, bytes]:
    """Documents of paragraphs that are about a chunk each. The same for the same count."""
    rng = np.random.default_rng(SEED)
    words = np.array(vocabulary(rng))
    frequency = 1 / np.arange(1, len(words) + 1)
    frequency /= frequency.sum()
    return {f"ingest-{n:04d}": "\n\n".join(
        " ".join(rng.choice(words, int(rng.integers(WORDS // 2, WORDS)), p=frequency)).capitalize() + "."
        for _ in range(PARAGRAPHS)).encode() for n in range(count)}


def cuts(workspace: str, documents: dict[str, bytes], version: IndexVersion) -> list[DocumentCut]:
    """What `streams.documents` will make of them."""
    found = []
    for document, content in documents.items():
        event = DocumentPublished(workspace=workspace, document=document, content=content, media_type="text/plain")
        record = Record("documents", 0, 0, keys.document_key(workspace, document), event, None, {}, 0)
        cut = cut_document(content, "text/plain", document_id=document, cut=recipe(version.cut), file_name=document)
        found.append(document_cut(event, cut, version.cut.name, record))
    return found


async def alone(embedder: Embedder, made: list[DocumentCut]) -> float:
    """Seconds that the embedder alone takes for all chunks and windows."""
    begun = time.perf_counter()
    await asyncio.gather(*(embedder.embed([text for document in group for text in document.texts])
                           for group in groups(made)))
    return time.perf_counter() - begun


async def through(settings: Settings, producer: Producer, es: AsyncElasticsearch, indexes: Indexes, workspace: str,
                  documents: dict[str, bytes]) -> float:
    """Seconds from the first document published to the last one searchable.

    Raises:
        Unavailable: they are not searchable in time.
    """
    topic = topics.DOCUMENTS.named(settings.prefix)
    begun = time.perf_counter()
    await asyncio.gather(*(producer.send(
        topic, keys.document_key(workspace, document),
        DocumentPublished(workspace=workspace, document=document, content=content, media_type="text/plain",
                          publisher="bench", published_at=system_clock())) for document, content in documents.items()))
    left = list(documents)
    while time.perf_counter() - begun < PATIENCE:
        # A page at a time: asking for all of them over and over would be a load of its own.
        statuses = await document_statuses(es, settings, indexes, workspace, left[:20])
        left = [d for d in left[:20] if not (d in statuses and statuses[d]["searchable"])] + left[20:]
        if not left:
            return time.perf_counter() - begun
        await asyncio.sleep(LOOK_SECONDS if len(left) > 20 else LOOK_SECONDS / 5)
    raise Unavailable(f"{len(left)} of {len(documents)} documents are not searchable after {PATIENCE:g} s: see `weir "
                      "status` and `weir dead-letters list`.")


async def run(settings: Settings, count: int) -> int:
    documents, workspace = contents(count), f"bench-ingest-{system_clock()}"
    es, indexes = elasticsearch(settings), Indexes(settings)
    await indexes.start()
    live = indexes.live()
    embedder = Embedder(settings, live.model, live.revision, bulk=True)
    try:
        made = cuts(workspace, documents, live)
        chunks = sum(len(cut.chunks) for cut in made)
        rows = sum(len(document.texts) for group in groups(made) for document in group)
        console.print(f"{count} documents, {chunks:,} passages, {rows:,} vectors, index version {live.name}")
        await alone(embedder, made[:max(1, count // 20)])  # warms up
        async with Producer(settings) as producer:
            first = await alone(embedder, made)
            pipeline = await through(settings, producer, es, indexes, workspace, documents)
            second = await alone(embedder, made)
            topic = topics.DOCUMENTS.named(settings.prefix)
            await asyncio.gather(*(producer.send(topic, keys.document_key(workspace, d), None) for d in documents))
        mean = (first + second) / 2
        show("Passages and vectors a second", ["way", "seconds", "passages/s", "vectors/s"], [
            [name, seconds, chunks / seconds, rows / seconds]
            for name, seconds in (("embedder alone, before", first), ("whole pipeline", pipeline),
                                  ("embedder alone, after", second))])
        return finish({"whole pipeline over the embedder alone, passages/s": target(mean / pipeline, LIMIT,
                                                                                   at_most=False)})
    finally:
        await embedder.close()
        await indexes.close()
        await es.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.ingest", description=__doc__)
    parser.add_argument("--documents", type=int, default=DOCUMENTS)
    arguments = parser.parse_args()
    try:
        sys.exit(asyncio.run(run(settings_module.load(), arguments.documents)))
    except WeirError as e:
        sys.exit(f"{e.code}: {e.message}")


if __name__ == "__main__":
    main()
