"""A cross-encoder on Triton that reads question and passage together: slow and sharp, so only where they are close.

    QUESTION, TEXT   (n, 1) texts: the question once a passage
    SCORE            (n, 1) any number, higher is better
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import grpc
import numpy as np
import numpy.typing as npt
from tritonclient.grpc.aio import InferenceServerClient, InferInput
from tritonclient.utils import InferenceServerException

from schemas.events import Source
from weir import telemetry
from weir.documents.types import embedded_text
from weir.errors import Unavailable
from weir.retrieval.keyword import StoredChunk
from weir.retrieval.recipe import Recipe
from weir.settings import Settings

TIMEOUT, LOAD_TIMEOUT = 3.0, 120.0
"""Seconds for one request, and for the model to be loaded."""

log = telemetry.logger(__name__)


class Reranker:
    """The cross-encoder that `WEIR_RERANK_MODEL` names."""

    def __init__(self, settings: Settings) -> None:
        self.model, self._address = settings.rerank_model, settings.triton_address
        self._client: InferenceServerClient | None = None
        self._loading = asyncio.Lock()

    async def scores(self, question: str, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """(len(texts),) how well each text answers the question, higher is better.

        Raises:
            Unavailable: Triton does not answer, or has no such model.
        """
        given = [_tensor("QUESTION", [question] * len(texts)), _tensor("TEXT", texts)]
        try:
            async with asyncio.timeout(LOAD_TIMEOUT):
                reply = await self._infer(given)
        except (InferenceServerException, grpc.RpcError, TimeoutError) as e:
            raise Unavailable(f"Triton's model {self.model} did not score the passages ({e}): see `weir status`.",
                              retry_after=2) from e
        found = np.asarray(reply.as_numpy("SCORE"), np.float32).reshape(-1)
        if len(found) != len(texts) or not np.isfinite(found).all():
            raise Unavailable(f"Triton's model {self.model} gave {len(found)} scores for {len(texts)} passages, or "
                              "some that are no numbers: it is no cross-encoder.")
        return found

    async def _infer(self, given: list[InferInput]) -> Any:
        if self._client is None:
            self._client = InferenceServerClient(self._address)
        try:
            return await self._client.infer(self.model, given, client_timeout=TIMEOUT)
        except InferenceServerException as e:
            if "not ready" not in e.message() and "unknown model" not in e.message():
                raise
        # As the embedders: whoever needs it first has it loaded, now and after each restart of Triton.
        async with self._loading:
            if not await self._client.is_model_ready(self.model, client_timeout=TIMEOUT):
                log.info("asking Triton to load a model", model=self.model)
                await self._client.load_model(self.model, client_timeout=LOAD_TIMEOUT)
        return await self._client.infer(self.model, given, client_timeout=TIMEOUT)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None


@dataclass(frozen=True, slots=True)
class Reread:
    sources: list[Source]
    """In their new order, numbered from 1; their scores stay the fused ones."""
    scores: Mapping[str, float]
    """Of the cross-encoder, by chunk."""


def close(sources: Sequence[Source], recipe: Recipe) -> bool:
    """Whether the best are so close that reading them again may change which is first."""
    return (recipe.rerank > 1 and len(sources) > 1
            and sources[0].score - sources[1].score < recipe.rerank_margin)


async def reread(reranker: Reranker, question: str, sources: Sequence[Source], stored: Mapping[str, StoredChunk]
                 ) -> Reread:
    """The sources in the order that the cross-encoder gives them, equal scores as they were. Raises Unavailable."""
    texts = [embedded_text(stored[s.chunk].context, stored[s.chunk].text) for s in sources]
    found = await reranker.scores(question, texts)
    order = np.argsort(-found, kind="stable").tolist()
    return Reread([replace(sources[i], number=n) for n, i in enumerate(order, 1)],
                  {source.chunk: float(score) for source, score in zip(sources, found, strict=True)})


def _tensor(name: str, texts: Sequence[str]) -> InferInput:
    tensor = InferInput(name, [len(texts), 1], "BYTES")
    tensor.set_data_from_numpy(np.array([[text.encode("utf-8", "replace")] for text in texts], dtype=np.object_))
    return tensor
