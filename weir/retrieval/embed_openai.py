"""Texts to vectors on any server that speaks the OpenAI embeddings format.

Such a server has no revision to ask for. What stands for it is a hash of the model's name as the server says it, and of
the dimension; and the vector of one fixed text, which is kept with the index version and embedded again now and then: a
server that has other weights under the same name gives another vector.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Sequence

import numpy as np
from openai import APIConnectionError, APIError, APIStatusError, APITimeoutError, AsyncOpenAI, RateLimitError

from weir.errors import BadRequest, Mismatch, Unavailable
from weir.retrieval.embed import SOON, Vectors, WrongRevision
from weir.settings import Settings

KIND = "openai:"
"""What the names of such models begin with."""

PROBE = "The heron waits at the weir until the river brings what it needs."
PROBE_COSINE = 0.999
"""Least cosine of the probe with itself; the same weights on other hardware differ in the fourth decimal or later."""
PROBE_SECONDS = 600.0
"""How long a server is believed to be the one it was; a failure ends that at once."""
BATCH = 128
"""Texts of one request."""
IN_FLIGHT = 4
MOST_CHARS = 8000
"""Longer texts are cut: the hosted models refuse more than about 8,000 tokens."""
TRIES = 3
"""Tries of a request for documents; questions get one, since their keywords can answer."""


class OpenAIEmbedder:
    """One embedding model, named `openai:MODEL`.

    Args:
        revision: what every reply must come to; None takes any (to ask which one it is).
        dimension: what every vector must have; None takes any.
        probe: the vector of PROBE, where it is known.
        bulk: for documents: a request is tried again.
    """

    def __init__(self, settings: Settings, model: str, revision: str | None, bulk: bool = False,
                 dimension: int | None = None, probe: Sequence[float] = (),
                 monotonic: Callable[[], float] = time.monotonic) -> None:
        self.model, self.revision, self.dimension = model, revision, dimension
        self.priority = SOON
        """As of `Embedder`; a hosted server knows no priorities."""
        self.tokens = 0
        """Tokens that the server says it has read for us."""
        self._name = model.removeprefix(KIND)
        self._probe = np.array(probe, np.float32)
        self._monotonic = monotonic
        self._believed_until = -1.0
        key = settings.secret(settings.embed_key_file)
        self._client = AsyncOpenAI(
            api_key=key.get_secret_value() if key else "none", base_url=settings.embed_url or None,
            timeout=settings.model_timeout, max_retries=TRIES - 1 if bulk else 0)
        self._slots = asyncio.Semaphore(IN_FLIGHT)

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Vectors of length 1, float32 of shape (len(texts), dimension), in the order of the texts.

        Raises:
            WrongRevision: the server answers with another model than the index was built with.
            BadRequest: a text is empty, or the server refuses it.
            Unavailable: the server does not answer, refuses the key or wants to be asked later.
        """
        if not texts:
            raise BadRequest("there is no text to embed: give at least one.")
        if not all(text.strip() for text in texts):
            raise BadRequest(f"{self.model} cannot embed an empty text.")
        if self._probe.size and self._monotonic() >= self._believed_until:
            await self._ask_who()
        parts = [texts[at:at + BATCH] for at in range(0, len(texts), BATCH)]
        return np.concatenate(await asyncio.gather(*(self._request(part) for part in parts)))

    async def described(self) -> tuple[str, int, list[float]]:
        """Revision, dimension and probe of what the server has now. Raises as `embed`."""
        vectors, revision = await self._ask([PROBE])
        return revision, vectors.shape[1], vectors[0].tolist()

    async def close(self) -> None:
        await self._client.close()

    async def _ask_who(self) -> None:
        vector = (await self._request([PROBE]))[0]
        cosine = float(vector @ self._probe) / float(np.linalg.norm(self._probe))
        if not cosine >= PROBE_COSINE:
            raise WrongRevision(f"{self.model} has other weights than those the index was built with: a text that it "
                                f"embedded then has a cosine of {cosine:.3f} with itself now. Put the former model "
                                "back behind WEIR_EMBED_URL, or build a new index version.")
        self._believed_until = self._monotonic() + PROBE_SECONDS

    async def _request(self, texts: Sequence[str]) -> Vectors:
        try:
            vectors, revision = await self._ask(texts)
        except Unavailable:
            self._believed_until = -1.0
            raise
        if self.dimension is not None and vectors.shape[1] != self.dimension:
            raise WrongRevision(f"{self.model} makes vectors of {vectors.shape[1]} dimensions, those of the index have "
                                f"{self.dimension}: put the former model back, or build a new index version.")
        if self.revision is not None and revision != self.revision:
            raise WrongRevision(f"{self.model} has revision {revision}, the index was built with {self.revision}: the "
                                "server names another model in its replies than it did then. Put the former one back, "
                                "or build a new index version.")
        return vectors

    async def _ask(self, texts: Sequence[str]) -> tuple[Vectors, str]:
        async with self._slots:
            try:
                reply = await self._client.embeddings.create(
                    model=self._name, input=[text[:MOST_CHARS] for text in texts], encoding_format="float")
            except APIError as e:
                raise self._error(e) from e
        self.tokens += reply.usage.prompt_tokens if reply.usage else 0
        if sorted(item.index for item in reply.data) != list(range(len(texts))):
            raise Mismatch(f"{self.model} was asked for {len(texts)} vectors and gave {len(reply.data)}: the server "
                           "behind WEIR_EMBED_URL does not keep to the format.")
        try:
            vectors = np.array([item.embedding for item in sorted(reply.data, key=lambda d: d.index)], np.float32)
        except ValueError as e:
            raise Mismatch(f"{self.model} gave vectors of different lengths in one reply.") from e
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not (np.isfinite(vectors).all() and (norms > 0).all()):
            raise Mismatch(f"{self.model} gave a vector that is no direction (zero, or not a number).")
        said = f"{self._name}\0{reply.model}\0{vectors.shape[1]}"
        return vectors / norms, hashlib.sha256(said.encode()).hexdigest()[:16]

    def _error(self, cause: APIError) -> Exception:
        if isinstance(cause, APITimeoutError):
            return Unavailable(f"{self.model} did not answer in time.", retry_after=5)
        if isinstance(cause, APIConnectionError):
            return Unavailable(f"cannot reach {self.model}: {cause}; see WEIR_EMBED_URL.", retry_after=5)
        if isinstance(cause, RateLimitError):
            return Unavailable(f"{self.model} wants to be asked later: {cause}.", retry_after=_seconds(cause))
        if isinstance(cause, APIStatusError) and cause.status_code in (400, 413, 422):
            return BadRequest(f"{self.model} cannot use the text (status {cause.status_code}): {cause}.")
        # A key or a model's name that is wrong is put right by somebody; no document is to blame for it.
        return Unavailable(f"{self.model} cannot embed now: {cause}. See WEIR_EMBED_URL and WEIR_EMBED_KEY_FILE.",
                           retry_after=10)


def _seconds(cause: RateLimitError) -> float:
    """How long the server asks to wait."""
    said = cause.response.headers.get("retry-after", "")
    return min(60.0, max(1.0, float(said))) if said.replace(".", "", 1).isdigit() else 5.0
