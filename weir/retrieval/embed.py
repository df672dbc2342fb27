"""Texts to vectors on Triton. A vector is taken only with the revision of the model that the caller expects."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import grpc
import numpy as np
import numpy.typing as npt
from tritonclient.grpc.aio import InferenceServerClient, InferInput
from tritonclient.utils import InferenceServerException

from weir.errors import BadRequest, ModelError, Unavailable
from weir.settings import Settings

Vectors = npt.NDArray[np.float32]

ONLINE_BATCH, BULK_BATCH = 64, 256
"""Most texts of one request, as the models' configurations say."""
ONLINE_TIMEOUT, BULK_TIMEOUT = 10.0, 300.0
"""Seconds for one request."""
BULK_IN_FLIGHT = 2
"""Requests of one call under way at a time: the next one waits in the server while one is computed."""

_AWAY = frozenset({"StatusCode.UNAVAILABLE", "StatusCode.DEADLINE_EXCEEDED", "StatusCode.CANCELLED",
                   "StatusCode.RESOURCE_EXHAUSTED"})


class WrongRevision(ModelError):
    """The server has other weights than those the index was built with: its vectors would meet strangers."""

    code = "wrong_revision"


class Embedder:
    """One embedding model of one revision.

    Args:
        revision: what every reply must name; None takes any (to ask which one it is).
        bulk: use the instance for documents, which never slows that for questions.
    """

    def __init__(self, settings: Settings, model: str, revision: str | None, bulk: bool = False) -> None:
        self.model, self.revision = model, revision
        self._name = f"{model}-bulk" if bulk else model
        self._batch, self._timeout = (BULK_BATCH, BULK_TIMEOUT) if bulk else (ONLINE_BATCH, ONLINE_TIMEOUT)
        self._address = settings.triton_address
        self._client: InferenceServerClient | None = None
        self._slots = asyncio.Semaphore(BULK_IN_FLIGHT)

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Vectors of length 1, float32 of shape (len(texts), dimension), in the order of the texts.

        Texts of like length go together, since the server pads a batch to its longest.

        Raises:
            WrongRevision: the server has another revision of the model.
            BadRequest: a text is empty, or the server cannot use it.
            Unavailable: Triton does not answer, or has not loaded the model.
        """
        if not texts:
            raise BadRequest("there is no text to embed: give at least one.")
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        parts = [order[at:at + self._batch] for at in range(0, len(order), self._batch)]
        found = await asyncio.gather(*(self._request([texts[i] for i in part]) for part in parts))
        out = np.empty((len(texts), found[0][0].shape[1]), np.float32)
        for part, (vectors, _) in zip(parts, found, strict=True):
            out[part] = vectors
        return out

    async def serving_revision(self) -> str:
        """The revision that the server has now. Raises as `embed`."""
        return (await self._request(["revision"]))[1]

    async def _request(self, texts: list[str]) -> tuple[Vectors, str]:
        tensor = InferInput("TEXT", [len(texts), 1], "BYTES")
        tensor.set_data_from_numpy(np.array([[text.encode("utf-8", "replace")] for text in texts], dtype=np.object_))
        async with self._slots:
            try:
                reply = await self._connected().infer(self._name, [tensor], client_timeout=self._timeout)
            except InferenceServerException as e:
                raise self._error(e) from e
            except grpc.RpcError as e:
                raise Unavailable(f"Triton does not answer ({e}): see `weir status`.", retry_after=2) from e
        revisions = {bytes(value).decode() for value in reply.as_numpy("REVISION").ravel()}
        if len(revisions) != 1 or (self.revision is not None and revisions != {self.revision}):
            raise WrongRevision(f"Triton's model {self._name} has revision {', '.join(sorted(revisions))}, the index "
                                f"was built with {self.revision}: give Triton that model back, or build a new "
                                "index version.")
        return np.asarray(reply.as_numpy("VECTOR"), np.float32), revisions.pop()

    def _error(self, error: Any) -> Exception:
        status, said = str(error.status()), error.message()
        if status in _AWAY or "not ready" in said or "unknown model" in said:
            return Unavailable(f"Triton does not serve {self._name} ({said}): see `weir status`; it may still be "
                               "starting.", retry_after=2)
        if status == "StatusCode.INVALID_ARGUMENT" or "TEXT" in said:
            return BadRequest(f"the model {self._name} cannot use the text: {said}.")
        return Unavailable(f"Triton's model {self._name} failed: {said}. See its log.", retry_after=2)

    def _connected(self) -> InferenceServerClient:
        """The client, made on first use because it belongs to the running event loop."""
        if self._client is None:
            self._client = InferenceServerClient(self._address, channel_args=[
                ("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1),
                ("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 1000),
                ("grpc.keepalive_time_ms", 30_000)])
        return self._client

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None


async def model_revision(settings: Settings, model: str) -> str:
    """The revision of the model that Triton serves now, 16 hex digits.

    Raises:
        Unavailable: Triton does not answer, or has not loaded the model.
    """
    embedder = Embedder(settings, model, revision=None)
    try:
        return await embedder.serving_revision()
    finally:
        await embedder.close()
