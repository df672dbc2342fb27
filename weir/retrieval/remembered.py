"""Vectors that were computed a moment ago, by model, revision and text.

A vector is a function of these three and of nothing else, so that a hit is what the model would say again. What people
ask about these days is asked about again: of the sentences that an answer is chosen from most have been seen before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from cachetools import TTLCache

from weir import telemetry
from weir.retrieval.embed import Vectors
from weir.retrieval.embedders import Embeds
from weir.settings import Settings

Key = tuple[str, str, bytes]
"""Model, revision, and the text's digest: the text itself is not kept."""
DIGEST = 16
OVERHEAD = 400
"""Bytes that an entry takes beside its vector."""


class VectorCache:
    """The vectors of one process: those used least lately leave first, and none stays longer than the settings say."""

    def __init__(self, settings: Settings) -> None:
        self.hits = self.misses = 0
        """Texts that were asked for and were here, or not."""
        self._vectors: TTLCache[Key, npt.NDArray[np.float32]] = TTLCache(
            settings.vector_cache_mb * 2**20, settings.vector_cache_seconds, getsizeof=lambda v: v.nbytes + OVERHEAD)

    def __len__(self) -> int:
        return len(self._vectors)

    def get(self, key: Key) -> npt.NDArray[np.float32] | None:
        found: npt.NDArray[np.float32] | None = self._vectors.get(key)
        return found

    def put(self, key: Key, vector: npt.NDArray[np.float32]) -> None:
        if vector.nbytes + OVERHEAD <= self._vectors.maxsize:
            self._vectors[key] = vector


class Remembered:
    """An embedder of one revision that asks its model only for what the cache does not have."""

    def __init__(self, model: Embeds, revision: str, cache: VectorCache) -> None:
        self.model, self.priority = model.model, model.priority
        self._embedder, self._revision, self._cache = model, revision, cache

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Vectors as `Embedder.embed` gives them. Raises as it does."""
        keys = [self._key(text) for text in texts]
        found = {key: vector for key in keys if (vector := self._cache.get(key)) is not None}
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in found}
        self._cache.hits += len(texts) - len(missing)
        self._cache.misses += len(missing)
        telemetry.VECTORS.labels("remembered").inc(len(texts) - len(missing))
        if missing or not texts:
            telemetry.VECTORS.labels("computed").inc(len(missing))
            computed = await self._embedder.embed(list(missing.values()))
            for key, vector in zip(missing, computed, strict=True):
                # A copy: a row would keep the whole reply alive.
                found[key] = vector.copy()
                self._cache.put(key, found[key])
        return np.stack([found[key] for key in keys])

    def _key(self, text: str) -> Key:
        digest = hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=DIGEST).digest()
        return self.model, self._revision, digest

    async def close(self) -> None:
        await self._embedder.close()
