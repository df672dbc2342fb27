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

from weir import telemetry
from weir.errors import BadRequest, Mismatch, Unavailable
from weir.settings import Settings

Vectors = npt.NDArray[np.float32]

ONLINE_BATCH, BULK_BATCH = 64, 256
"""Most texts of one request, as the models' configurations say."""
ONLINE_TIMEOUT, BULK_TIMEOUT = 10.0, 300.0
"""Seconds for one request."""
LOAD_TIMEOUT = 120.0
"""Seconds that a model may take to be loaded."""
BULK_IN_FLIGHT = 2
"""Requests of one call under way at a time: the next one waits in the server while one is computed."""
SOON, LATER = 1, 2
"""Priorities of the bulk model: documents that somebody waits for, and those of a version that is being built."""

_AWAY = frozenset({"StatusCode.UNAVAILABLE", "StatusCode.DEADLINE_EXCEEDED", "StatusCode.CANCELLED",
                   "StatusCode.RESOURCE_EXHAUSTED"})

log = telemetry.logger(__name__)


class WrongRevision(Mismatch):
    """The server has other weights than those the index was built with: its vectors would meet strangers."""

    code = "wrong_revision"


class Embedder:
    """One embedding model of one revision.

    Args:
        revision: what every reply must name; None takes any (to ask which one it is).
        dimension: what every vector must have; None takes any.
        bulk: use the instance for documents, which never slows that for questions.
    """

    def __init__(self, settings: Settings, model: str, revision: str | None, bulk: bool = False,
                 dimension: int | None = None) -> None:
        self.model, self.revision, self.dimension = model, revision, dimension
        self.priority = SOON
        """Of bulk requests; whoever embeds for a version that answers nobody yet sets it to LATER."""
        self._name, self._bulk = f"{model}-bulk" if bulk else model, bulk
        self._batch, self._timeout = (BULK_BATCH, BULK_TIMEOUT) if bulk else (ONLINE_BATCH, ONLINE_TIMEOUT)
        self._address = settings.triton_address
        self._client: InferenceServerClient | None = None
        self._slots = asyncio.Semaphore(BULK_IN_FLIGHT)
        self._loading = asyncio.Lock()

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Vectors of length 1, float32 of shape (len(texts), dimension), in the order of the texts.

        Texts of like length go together, since the server pads a batch to its longest.

        Raises:
            WrongRevision: the server has another revision of the model.
            BadRequest: a text is empty, or the server cannot use it.
            Unavailable: Triton does not answer, or cannot load the model.
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

    async def described(self) -> tuple[str, int]:
        """Revision and dimension of what the server has now. Raises as `embed`."""
        vectors, revision = await self._request(["revision"])
        return revision, int(vectors.shape[1])

    async def _request(self, texts: list[str]) -> tuple[Vectors, str]:
        tensor = InferInput("TEXT", [len(texts), 1], "BYTES")
        tensor.set_data_from_numpy(np.array([[text.encode("utf-8", "replace")] for text in texts], dtype=np.object_))
        async with self._slots:
            try:
                reply = await self._infer(tensor)
            except InferenceServerException as e:
                raise self._error(e) from e
            except grpc.RpcError as e:
                raise Unavailable(f"Triton does not answer ({e}): see `weir status`.", retry_after=2) from e
        vectors = np.asarray(reply.as_numpy("VECTOR"), np.float32)
        revisions = {bytes(value).decode() for value in reply.as_numpy("REVISION").ravel()}
        if len(revisions) != 1 or (self.revision is not None and revisions != {self.revision}):
            raise WrongRevision(f"Triton's model {self._name} has revision {', '.join(sorted(revisions))}, the index "
                                f"was built with {self.revision}: give Triton that model back, or build a new "
                                "index version.")
        if self.dimension is not None and vectors.shape[1] != self.dimension:
            raise WrongRevision(f"Triton's model {self._name} makes vectors of {vectors.shape[1]} dimensions, those of "
                                f"the index have {self.dimension}: give Triton the index's model back.")
        return vectors, revisions.pop()

    async def _infer(self, tensor: InferInput) -> Any:
        client, priority = self._connected(), self.priority if self._bulk else 0
        try:
            return await client.infer(self._name, [tensor], client_timeout=self._timeout, priority=priority)
        except InferenceServerException as e:
            if not _not_loaded(e):
                raise
        # Only the first index's model is loaded when Triton starts; the others are loaded by whoever needs them first,
        # now and after each restart of Triton.
        async with self._loading:
            if not await client.is_model_ready(self._name, client_timeout=ONLINE_TIMEOUT):
                log.info("asking Triton to load a model", model=self._name)
                await client.load_model(self._name, client_timeout=LOAD_TIMEOUT)
        return await client.infer(self._name, [tensor], client_timeout=self._timeout, priority=priority)

    def _error(self, error: Any) -> Exception:
        status, said = str(error.status()), error.message()
        if status in _AWAY or _not_loaded(error) or "load" in said:
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


def _not_loaded(error: Any) -> bool:
    said = error.message()
    return "not ready" in said or "unknown model" in said


async def model_revision(settings: Settings, model: str) -> str:
    """The revision of the model that Triton serves now, 16 hex digits.

    Raises:
        Unavailable: Triton does not answer, or cannot load the model.
    """
    embedder = Embedder(settings, model, revision=None)
    try:
        return (await embedder.described())[0]
    finally:
        await embedder.close()
