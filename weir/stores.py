"""The clients of Elasticsearch and Milvus: addresses, credentials and time limits in one place.

Neither connects before it is used, so a process starts while its stores are still coming up. Whatever a store does
wrong arrives as `Unavailable`, with the name of the store and what to look at.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
from elastic_transport import TransportError
from elasticsearch import ApiError, AsyncElasticsearch, NotFoundError
from elasticsearch.serializer import OrjsonSerializer

from weir.errors import Unavailable
from weir.settings import Settings

if TYPE_CHECKING:
    from pymilvus import MilvusClient

T = TypeVar("T")

ELASTICSEARCH_TIMEOUT = 10.0
"""Seconds for one request; bulk and search callers set their own."""
MILVUS_TIMEOUT = 10.0
"""Seconds for one call, the client's own retries included."""
MILVUS_THREADS = 8
"""Calls under way at a time: the client blocks a thread each."""

_BUSY = frozenset({429, 500, 502, 503, 504})


def elasticsearch(settings: Settings) -> AsyncElasticsearch:
    """A client of the nodes in `settings.elasticsearch_urls`. Close it with `await client.close()`.

    Raises:
        SettingsError: the password's file cannot be read.
    """
    options: dict[str, Any] = {}
    password = settings.secret(settings.elasticsearch_password_file)
    if password is not None:
        options["basic_auth"] = (settings.elasticsearch_username, password.get_secret_value())
    if settings.elasticsearch_ca_file is not None:
        options["ca_certs"] = str(settings.elasticsearch_ca_file)
    return AsyncElasticsearch(
        settings.elasticsearch_urls, serializer=OrjsonSerializer(), request_timeout=ELASTICSEARCH_TIMEOUT,
        max_retries=2, retry_on_timeout=False, dead_node_backoff_factor=0.25, max_dead_node_backoff=1.0, **options)


@contextmanager
def elasticsearch_errors(doing: str) -> Iterator[None]:
    """Turns what the client raises into `Unavailable` where Elasticsearch, or an index in it, is not there.

    Args:
        doing: what was being done, for the message: "searching by keywords".
    """
    try:
        yield
    except NotFoundError as e:
        raise Unavailable(f"Elasticsearch has no such index while {doing}: {e.message}. `weir up` creates it, "
                          "`weir rebuild` fills it.", retry_after=2) from e
    except ApiError as e:
        if e.status_code not in _BUSY:
            raise
        raise Unavailable(f"Elasticsearch refused {doing} ({e.status_code} {e.message}): see its log.",
                          retry_after=2) from e
    except TransportError as e:
        raise Unavailable(f"Elasticsearch does not answer while {doing} ({type(e).__name__}): see `weir status`.",
                          retry_after=2) from e


class Milvus:
    """One connection to Milvus, made on first use and again after the server was away.

    The client library blocks, so its calls run in threads of this object.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._client: MilvusClient | None = None
        self._threads = ThreadPoolExecutor(MILVUS_THREADS, thread_name_prefix="milvus")

    async def run(self, doing: str, call: Callable[[MilvusClient], T]) -> T:
        """What `call` returns, run in a thread with the connected client.

        Args:
            doing: what is being done, for the message: "searching vectors".

        Raises:
            Unavailable: Milvus does not answer or refuses.
        """
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._run, doing, call)

    def _run(self, doing: str, call: Callable[[MilvusClient], T]) -> T:
        from pymilvus.exceptions import MilvusException  # half a second and 60 MB that most processes can do without

        try:
            return call(self.client())
        except (MilvusException, grpc.RpcError) as e:
            said = e.message if isinstance(e, MilvusException) else str(e)
            raise Unavailable(f"Milvus failed while {doing}: {said or type(e).__name__}. See `weir status`; it may "
                              "still be starting.", retry_after=2) from e

    def client(self) -> MilvusClient:
        """The client itself, connected. Blocks.

        Raises:
            MilvusException: no connection within MILVUS_TIMEOUT.
            SettingsError: the password's file cannot be read.
        """
        from pymilvus import MilvusClient

        with self._lock:
            if self._client is None:
                self._client = MilvusClient(
                    uri=self._settings.milvus_uri, user=self._settings.milvus_username,
                    password=self._settings.milvus_password.get_secret_value(), timeout=MILVUS_TIMEOUT,
                    # gRPC's own pause between attempts to reconnect grows to two minutes.
                    grpc_options={"grpc.initial_reconnect_backoff_ms": 100, "grpc.max_reconnect_backoff_ms": 1000})
            return self._client

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._client is not None:
            await asyncio.to_thread(self._client.close)


def milvus(settings: Settings) -> Milvus:
    return Milvus(settings)
