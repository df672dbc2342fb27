"""The topics table, and what is generated from it."""

from __future__ import annotations

from collections import Counter

import pytest

from schemas import events, reference
from schemas.acls import Acl, acls
from schemas.topics import ANSWERS, CHUNKS, DOCUMENTS, TOPICS, Topic
from weir.kafka.records import topic_of

ALL = frozenset(acls())


def test_the_reference_page_is_the_one_that_the_table_makes() -> None:
    assert reference.TARGET.read_text() == reference.page(), "run python -m schemas.reference"


@pytest.mark.parametrize("topic", TOPICS, ids=lambda t: t.name)
def test_a_topic_carries_records_that_exist(topic: Topic) -> None:
    assert set(topic.records) <= {kind.__name__ for kind in events.EVENTS}
    assert topic.writers and topic.readers


def test_names_are_used_once() -> None:
    assert max(Counter(topic.name for topic in TOPICS).values()) == 1


def test_tombstones_outlive_a_long_weekend_of_a_view() -> None:
    for topic in TOPICS:
        if topic.compacted:
            assert int(topic.config["delete.retention.ms"]) == 30 * 24 * 3600 * 1000


def test_topics_with_token_frames_are_never_transactional() -> None:
    assert not ANSWERS.transactional


def test_a_topic_is_found_by_its_name_on_the_broker() -> None:
    assert topic_of("t-1-documents", "t-1-") is DOCUMENTS
    assert topic_of("t-1-chunks.c800w", "t-1-") is CHUNKS
    assert topic_of("documents", "t-1-") is None
    assert topic_of("chunks.", "") is None


def test_each_writer_and_reader_gets_what_the_table_says_and_no_more() -> None:
    for topic in TOPICS:
        stem, brace, _ = topic.name.partition("{")
        resource = "topic", stem, bool(brace)
        allowed = {(a.user, a.operation) for a in ALL if (a.resource, a.name, a.prefixed) == resource}
        assert {u for u, operation in allowed if operation == "Write"} == set(topic.writers)
        assert {u for u, operation in allowed if operation == "Read"} == set(topic.readers)


def test_a_publisher_may_write_documents_and_nothing_else() -> None:
    mine = {a for a in ALL if a.user == "publishers"}
    assert {a for a in mine if a.resource == "topic"} == {Acl("publishers", "Write", "topic", "documents"),
                                                           Acl("publishers", "Describe", "topic", "documents")}
    assert not {a for a in mine if a.resource == "cluster"}


def test_no_process_reads_with_a_wildcard() -> None:
    assert {a.user for a in ALL if a.name == "*" and a.operation != "Describe"} == {"operators"}


def test_groups_of_an_index_version_are_covered_by_their_process() -> None:
    assert Acl("consumers.vectors", "Read", "group", "consumers.vectors", prefixed=True) in ALL
    assert Acl("consumers.vectors", "Read", "group", "p-consumers.vectors", prefixed=True) in acls("p-")


def test_who_may_look_how_far_other_groups_have_come() -> None:
    others = {(a.user, a.name) for a in ALL if a.resource == "group" and not a.name.startswith(a.user)}
    assert others - {(u, n) for u, n in others if u == "operators"} == {
        ("streams.answers", "consumers.keywords"), ("streams.answers", "consumers.vectors")}


def test_an_entry_prints_as_arguments_of_kafkas_tool() -> None:
    entry = Acl("streams.embeddings", "Write", "topic", "embeddings.", prefixed=True)
    assert entry.arguments() == ("--add --allow-principal User:streams.embeddings --operation Write "
                                 "--topic embeddings. --resource-pattern-type prefixed")
