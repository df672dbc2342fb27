"""Blobs in a folder."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from weir.blobs import BlobMissing, Blobs
from weir.errors import BadRecord, Unavailable
from weir.settings import Settings


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(Settings(home=tmp_path))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(data=st.binary(max_size=2000))
async def test_what_was_put_can_be_got_by_its_hash(blobs: Blobs, data: bytes) -> None:
    sha = await blobs.put(data)
    assert sha == hashlib.sha256(data).hexdigest()
    assert await blobs.get(sha) == data
    assert await blobs.put(data) == sha


async def test_a_damaged_blob_is_never_given_out(blobs: Blobs, tmp_path: Path) -> None:
    sha = await blobs.put(b"the terms of the contract")
    (tmp_path / "blobs" / sha[:2] / sha).write_bytes(b"the forms of the contract")
    with pytest.raises(BadRecord, match="is damaged"):
        await blobs.get(sha)


async def test_a_cut_off_blob_is_written_again(blobs: Blobs, tmp_path: Path) -> None:
    sha = await blobs.put(b"whole")
    (tmp_path / "blobs" / sha[:2] / sha).write_bytes(b"who")
    await blobs.put(b"whole")
    assert await blobs.get(sha) == b"whole"


async def test_a_missing_blob_may_still_come(blobs: Blobs) -> None:
    with pytest.raises(BlobMissing) as caught:
        await blobs.get("0" * 64)
    assert caught.value.retriable


async def test_a_deleted_blob_is_missing(blobs: Blobs) -> None:
    sha = await blobs.put(b"x")
    await blobs.delete([sha, "0" * 64])
    with pytest.raises(BlobMissing):
        await blobs.get(sha)


async def test_a_store_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(Unavailable):
        await Blobs(Settings(home=tmp_path, blobs=str(tmp_path / "file" / "blobs"))).put(b"x")
