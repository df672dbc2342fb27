"""Asking Kafka again and again, when it does not answer."""

from __future__ import annotations

import pytest

from weir.errors import Unavailable
from weir.kafka import topic_offsets
from weir.kafka.topic_offsets import TopicOffsets
from weir.settings import Settings


def test_a_client_that_got_no_answer_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    class Counted(topic_offsets.AdminClient):
        def __init__(self, config: dict[str, object]) -> None:
            super().__init__(config)
            made.append(self)

    monkeypatch.setattr(topic_offsets, "TIMEOUT", 0.5)
    monkeypatch.setattr(topic_offsets, "AdminClient", Counted)
    offsets = TopicOffsets(Settings(kafka="127.0.0.1:1"), "documents")
    for _ in range(2):
        with pytest.raises(Unavailable, match="Kafka does not answer"):
            offsets.ends()
    assert len(made) == 2
