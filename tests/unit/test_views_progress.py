"""How far a view is, when Kafka does not say."""

from __future__ import annotations

from typing import Any

import pytest

from weir.errors import Unavailable
from weir.settings import Settings
from weir.views.progress import Progress


def test_a_client_that_got_no_answer_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weir.views.freshness.TIMEOUT", 0.5)
    nobody: Any = None
    progress = Progress(nobody, Settings(kafka="127.0.0.1:1"), "view", "documents", "group")
    first = progress._admin
    with pytest.raises(Unavailable, match="Kafka does not answer"):
        progress._look()
    assert progress._admin is not first
