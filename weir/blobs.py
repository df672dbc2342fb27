"""Large records as files of an object store, named by what they hold.

A blob's name is the SHA-256 of its bytes, so that writing it twice is harmless and reading it proves it whole. It is
written before the record that names it. The store is a folder, or S3 (`s3://bucket/prefix`, credentials and endpoint
from the usual `AWS_*` variables).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, from_url

from weir.errors import BadRecord, Unavailable
from weir.settings import Settings


class BlobMissing(Unavailable):
    """The store answers and does not have the blob. It may still arrive; after a while it is lost."""


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
            BlobMissing: the store does not have it.
            BadRecord: its bytes are not those of its name.
            Unavailable: the store does not answer.
        """
        if len(sha) != 64 or not set(sha) <= set("0123456789abcdef"):
            raise BadRecord(f"{sha!r} is not the name of a blob; expected the 64 hex digits of a SHA-256")
        try:
            data = bytes(await (await obstore.get_async(self._store, _path(sha))).bytes_async())
        except FileNotFoundError as e:
            raise BlobMissing(f"blob {sha} is not in {self.url}; restore it there and replay the record") from e
        except (BaseError, OSError) as e:
            raise Unavailable(f"cannot read blob {sha} from {self.url}: {e}") from e
        if hashlib.sha256(data).hexdigest() != sha:
            raise BadRecord(f"blob {sha} in {self.url} is damaged; restore it from a backup and replay the record")
        return data

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
