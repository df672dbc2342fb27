"""Large records as files of an object store, named by what they hold.

A blob's name is the SHA-256 of its bytes, so that writing it twice is harmless and reading it proves it whole. It is
written before the record that names it. The store is a folder, or S3 (`s3://bucket/prefix`, credentials and endpoint
from the usual `AWS_*` variables).
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, from_url

from weir.errors import BadRecord, Unavailable
from weir.settings import Settings


class BlobMissing(Unavailable):
    """The store answers and does not have the blob. It may still arrive; after a while it is lost."""


class BlobErased(BlobMissing):
    """The blob was taken out for good (docs/how-to/erase.md): the record that names it says nothing any more."""


class Blobs:
    """The object store of one process. Opens on first use; safe to share between tasks."""

    def __init__(self, settings: Settings) -> None:
        self.url = settings.blobs_url
        self._opened: ObjectStore | None = None

    @property
    def _store(self) -> ObjectStore:
        if self._opened is None:
            local = "://" not in self.url
            self._opened = LocalStore(Path(self.url), mkdir=True) if local else from_url(self.url)
        return self._opened

    async def put(self, data: bytes) -> str:
        """Stores `data` and returns its SHA-256 as hex digits.

        Raises:
            Unavailable: the store cannot be written.
        """
        sha = hashlib.sha256(data).hexdigest()
        try:
            if not await self._holds(sha, len(data)):
                await obstore.put_async(self._store, _path(sha), data)
        except (BaseError, OSError) as e:
            raise Unavailable(f"cannot write blob {sha} to {self.url}: {e}") from e
        return sha

    async def _holds(self, sha: str, size: int) -> bool:
        try:
            return (await obstore.head_async(self._store, _path(sha)))["size"] == size
        except FileNotFoundError:
            return False

    async def get(self, sha: str) -> bytes:
        """The bytes of a blob.

        Raises:
            BlobErased: it was erased.
            BlobMissing: the store does not have it.
            BadRecord: its bytes are not those of its name.
            Unavailable: the store does not answer.
        """
        if len(sha) != 64 or not set(sha) <= set("0123456789abcdef"):
            raise BadRecord(f"{sha!r} is not the name of a blob; expected the 64 hex digits of a SHA-256")
        try:
            data = bytes(await (await obstore.get_async(self._store, _path(sha))).bytes_async())
        except FileNotFoundError as e:
            if await self.erased(sha):
                raise BlobErased(f"blob {sha} was erased") from e
            raise BlobMissing(f"blob {sha} is not in {self.url}; restore it there and replay the record") from e
        except (BaseError, OSError) as e:
            raise Unavailable(f"cannot read blob {sha} from {self.url}: {e}") from e
        if hashlib.sha256(data).hexdigest() != sha:
            raise BadRecord(f"blob {sha} in {self.url} is damaged; restore it from a backup and replay the record")
        return data

    async def erased(self, sha: str) -> bool:
        """Whether a blob was erased, also where somebody has brought it back since.

        Raises:
            Unavailable: the store does not answer.
        """
        try:
            await obstore.head_async(self._store, _mark(sha))
        except FileNotFoundError:
            return False
        except (BaseError, OSError) as e:
            raise Unavailable(f"cannot look for blob {sha} in {self.url}: {e}") from e
        return True

    async def erase(self, names: Iterable[str]) -> None:
        """Removes blobs for good. What still names one reads as if it were empty instead of waiting for it.

        Raises:
            Unavailable: the store cannot be written; what was removed stays removed.
        """
        for sha in names:
            try:
                # The mark first: a reader must never find neither.
                await obstore.put_async(self._store, _mark(sha), b"")
            except (BaseError, OSError) as e:
                raise Unavailable(f"cannot write to {self.url}: {e}") from e
            await self.delete([sha])

    async def names(self) -> AsyncIterator[str]:
        """The names of all blobs, in no order.

        Raises:
            Unavailable: the store does not answer.
        """
        try:
            async for page in obstore.list(self._store):
                for found in page:
                    folder, _, name = found["path"].rpartition("/")
                    if folder == name[:2]:
                        yield name
        except (BaseError, OSError) as e:
            raise Unavailable(f"cannot list the blobs in {self.url}: {e}") from e

    async def delete(self, names: Iterable[str]) -> None:
        """Removes blobs; one that is not there is no error.

        Raises:
            Unavailable: the store cannot be written.
        """
        for sha in names:
            try:
                await obstore.delete_async(self._store, _path(sha))
            except FileNotFoundError:
                continue
            except (BaseError, OSError) as e:
                raise Unavailable(f"cannot delete blob {sha} from {self.url}: {e}") from e


def _path(sha: str) -> str:
    return f"{sha[:2]}/{sha}"


def _mark(sha: str) -> str:
    """Stands where a blob was erased."""
    return f"erased/{sha}"
