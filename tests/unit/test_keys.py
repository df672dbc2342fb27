"""Keys, partitions and ids."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import keys

PUBLISHING = Path(__file__).parents[2] / "docs" / "reference" / "publishing.md"
NAME = st.text(min_size=1, max_size=20)


def test_murmur2_is_that_of_kafkas_java_client() -> None:
    # Apache Kafka, org.apache.kafka.common.utils.UtilsTest.testMurmur2, signed there.
    vectors = {"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536,
               "a-little-bit-longer-string": -1486304829, "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
               "abc": 479470107}
    for text, signed in vectors.items():
        assert keys.murmur2(text.encode()) == signed % 2**32, text


def test_the_vectors_in_the_documentation_are_right() -> None:
    rows = re.findall(r"^\| `([^`]+)` \| `([0-9a-f]{8})` \| (\d+) \| (\d+) \|$", PUBLISHING.read_text(), re.M)
    assert len(rows) >= 4
    for key, hashed, of_12, of_120 in rows:
        assert keys.murmur2(key.encode()) == int(hashed, 16)
        assert (keys.partition(key, 12), keys.partition(key, 120)) == (int(of_12), int(of_120))


@given(NAME.filter(lambda n: "/" not in n), NAME)
def test_a_document_key_can_be_taken_apart(workspace: str, document: str) -> None:
    assert keys.split_document_key(keys.document_key(workspace, document)) == (workspace, document)


@pytest.mark.parametrize("key", ["", "workspace", "/document", "workspace/"])
def test_a_key_that_is_no_document_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="is not workspace/document"):
        keys.split_document_key(key)


@given(st.lists(st.tuples(NAME, NAME, st.integers(0, 2**40), st.integers(0, 10**6)), unique=True, min_size=2))
def test_ids_of_different_chunks_differ(parts: list[tuple[str, str, int, int]]) -> None:
    assert len({keys.chunk_id(*p) for p in parts}) == len(parts)


def test_ids_are_stable() -> None:
    assert keys.chunk_id("w", "d", 1, 2) == "417beb1516affbf99309b7023c434fb2"
    assert keys.row_id("w", "d", 1, 2) == "e5fde1a6eaa03305a7600083d0d37b6b"
    assert keys.answer_id("c", "s", "r") == "73e5365ec6c62ebb1517e10315deb956"


@given(NAME, st.integers(1, 1000))
def test_a_partition_is_within_the_topic(key: str, partitions: int) -> None:
    assert 0 <= keys.partition(key, partitions) < partitions
