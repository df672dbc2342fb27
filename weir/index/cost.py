"""What it will cost to embed everything once with a paid model, told before it begins.

How many texts there are is known from the live version. How long they are, and what the server counts as a token, is
measured on a sample: a few documents' texts are embedded for real, which also shows that the server and its key work.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from elasticsearch import AsyncElasticsearch

from schemas import topics
from schemas.events import Cut, DocumentCut, IndexVersion
from weir.blobs import Blobs
from weir.documents.types import embedded_text
from weir.documents.windows import windows
from weir.index import names
from weir.kafka.follow import sample
from weir.kafka.records import Decoder
from weir.retrieval.embed_openai import MOST_CHARS, OpenAIEmbedder
from weir.settings import Settings
from weir.views.manifests import Manifests
from weir.views.status import vectors_store

DOCUMENTS = 200
"""Documents of the log whose texts are measured."""
TEXTS = 64
"""Texts that are embedded to learn what a token is."""
SEED = 5


@dataclass(frozen=True, slots=True)
class Estimate:
    texts: int
    tokens: int
    cost: float
    """In the currency of the price; 0 where no price is set."""
    priced: bool


async def estimate(settings: Settings, es: AsyncElasticsearch, live: IndexVersion, model: str, cut: Cut) -> Estimate:
    """What it will cost to embed what the live version holds.

    Raises:
        Unavailable: a server does not answer.
        BadRequest: the model's server refuses.
    """
    rows = await Manifests(es, settings, vectors_store(names.collection_label(settings, live.collection))).rows()
    if not rows:
        return Estimate(0, 0, 0.0, settings.embed_price > 0)
    raws = await asyncio.to_thread(sample, settings, topics.CHUNKS.named(settings.prefix, cut=live.cut.name), DOCUMENTS)
    decoder = Decoder(settings, Blobs(settings))
    events = [(await decoder.decode(raw)).event for raw in raws]
    cuts = [event for event in events if isinstance(event, DocumentCut)]
    now, then = [t for c in cuts for t in texts_of(c)], [t for c in cuts for t in texts_of(c, cut)]
    if not now:
        return Estimate(rows, 0, 0.0, settings.embed_price > 0)
    texts = round(rows * len(then) / len(now))
    chars = sum(min(len(text), MOST_CHARS) for text in then) / len(then)
    tokens = round(texts * chars * await _tokens_a_character(settings, model, then))
    return Estimate(texts, tokens, tokens * settings.embed_price / 1e6, settings.embed_price > 0)


def texts_of(cut: DocumentCut, other: Cut | None = None) -> list[str]:
    """The texts of a document that are embedded: as it was cut, or about as another recipe would cut it."""
    found = []
    for chunk in cut.chunks:
        pieces = [chunk.text]
        if other is not None and other.chunk_chars < len(chunk.text):
            pieces = [chunk.text[at:at + other.chunk_chars] for at in range(0, len(chunk.text), other.chunk_chars)]
        for piece in pieces:
            found.append(embedded_text(chunk.context, piece))
            if other is None:
                found += [embedded_text(chunk.context, window.text) for window in chunk.windows]
            elif other.windows:
                made = windows(piece, other.window_chars, other.window_stride)
                found += [embedded_text(chunk.context, w.text) for w in made if len(made) > 1]
    return found


async def _tokens_a_character(settings: Settings, model: str, texts: Sequence[str]) -> float:
    chosen = [text for text in islice(random.Random(SEED).sample(texts, len(texts)), TEXTS) if text.strip()]
    embedder = OpenAIEmbedder(settings, model, None)
    try:
        await embedder.embed(chosen)
    finally:
        await embedder.close()
    # A compatible server may not count; four characters a token is what English text comes to.
    return (embedder.tokens or sum(len(t) for t in chosen) / 4) / sum(min(len(t), MOST_CHARS) for t in chosen)
