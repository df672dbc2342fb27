"""Finished turns, by id and by conversation, and each person's conversations, newest first."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from elasticsearch import AsyncElasticsearch

from schemas import codec
from schemas.events import Turn
from weir.settings import Settings
from weir.stores import elasticsearch_errors
from weir.views.elastic import KEYWORD, LONG
from weir.views.gets import Gets

PROPERTIES = {
    "turn": KEYWORD, "conversation": KEYWORD, "subject": KEYWORD, "workspace": KEYWORD, "outcome": KEYWORD,
    "question": {"type": "keyword", "index": False, "doc_values": False}, "asked_at": LONG, "finished_at": LONG,
    "record": {"type": "binary"},
}


ERASED = "erased"
"""Outcome of what stands where a turn was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """A line in a person's list of conversations."""

    conversation: str
    workspace: str
    title: str
    """Its first question."""
    asked_at: int
    """When its newest question was asked, in milliseconds since the epoch."""
    turns: int


def turns_index(settings: Settings) -> str:
    return f"{settings.prefix}weir-view-turns"


def turn_document(turn: Turn) -> dict[str, Any]:
    """A turn as Elasticsearch holds it: what is searched by as fields, all of it as the encoded event."""
    return {"turn": turn.turn, "conversation": turn.conversation, "subject": turn.person.subject,
            "workspace": turn.workspace, "outcome": turn.outcome.value, "question": turn.question,
            "asked_at": turn.asked_at, "finished_at": turn.finished_at,
            "record": base64.b64encode(codec.encode(turn)).decode()}


def erased_document(turn: str) -> dict[str, Any]:
    """What stands where a turn was, so that no older record can bring it back."""
    return {"turn": turn, "conversation": "", "subject": "", "workspace": "", "outcome": ERASED, "question": "",
            "asked_at": 0, "finished_at": 0, "record": None}


class TurnViews:
    """Reads the turns. Sources in a turn are as they were shown then: check access again before showing them.

    Every method raises Unavailable where Elasticsearch does not answer or the view does not exist.
    """

    def __init__(self, es: AsyncElasticsearch, settings: Settings, gets: Gets | None = None) -> None:
        self._es = es
        self._gets = gets or Gets(es)
        self._index = turns_index(settings)

    async def get(self, turn: str, patience: float = 0.0) -> Turn | None:
        """A turn by its id, by realtime GET. With `patience`, in seconds, it may wait for another to go along with."""
        (hit,) = await self._gets.get(self._index, [turn], patience)
        return _turn(hit["_source"]) if hit and hit["_source"]["record"] else None

    def hurry(self) -> None:
        """What waits for another to go along with goes now."""
        self._gets.go()

    async def wait(self, turn: str, patience: float = 2.0) -> Turn | None:
        """A turn that may have been finished a moment ago; None where it has not come within `patience` seconds."""
        for _ in range(max(1, int(patience / 0.05))):
            if (found := await self.get(turn)) is not None:
                return found
            await asyncio.sleep(0.05)
        return None

    async def history(self, follows: str | None, limit: int = 6, patience: float = 2.0) -> list[Turn]:
        """The turns that lead to a follow-up, oldest first: the one it follows, the one that follows, and so on."""
        found: list[Turn] = []
        while follows is not None and len(found) < limit:
            turn = await self.wait(follows, patience)
            if turn is None:
                break
            found.insert(0, turn)
            follows = turn.follows
        return found

    async def conversation(self, conversation: str, subject: str, limit: int = 200) -> list[Turn]:
        """A person's turns of a conversation, oldest first; at most a second behind."""
        hits = await self._search([{"term": {"conversation": conversation}}, {"term": {"subject": subject}}],
                                  size=limit, sort=[{"asked_at": "desc"}])
        return [_turn(hit["_source"]) for hit in reversed(hits)]

    async def conversations(self, subject: str, limit: int = 50, before: int | None = None) -> list[Conversation]:
        """A person's conversations, that with the newest question first; at most a second behind.

        Args:
            before: only those whose newest question is older than this, in milliseconds since the epoch.
        """
        first = {"name": "first", "size": 1, "sort": [{"asked_at": "asc"}], "_source": ["question"]}
        hits = await self._search(
            [{"term": {"subject": subject}}, {"bool": {"must_not": {"term": {"outcome": "searched"}}}}],
            size=limit, sort=[{"asked_at": "desc"}], source=["workspace"],
            collapse={"field": "conversation", "inner_hits": first}, fields=["conversation", "asked_at"],
            before=before)
        return [_conversation(hit) for hit in hits]

    async def _search(self, conditions: Sequence[dict[str, Any]], before: int | None = None,
                      **options: Any) -> list[dict[str, Any]]:
        filters = [*conditions, *([{"range": {"asked_at": {"lt": before}}}] if before is not None else [])]
        with elasticsearch_errors("reading turns"):
            response = await self._es.search(index=self._index, query={"bool": {"filter": filters}}, **options)
        return cast("list[dict[str, Any]]", response["hits"]["hits"])


def _turn(source: dict[str, Any]) -> Turn:
    return cast("Turn", codec.decode(base64.b64decode(source["record"])))


def _conversation(hit: dict[str, Any]) -> Conversation:
    first = hit["inner_hits"]["first"]["hits"]
    return Conversation(
        conversation=hit["fields"]["conversation"][0], workspace=hit["_source"]["workspace"],
        title=first["hits"][0]["_source"]["question"], asked_at=hit["fields"]["asked_at"][0],
        turns=first["total"]["value"])
