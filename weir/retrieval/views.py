"""What the newest event says of a document, as retrieval asks it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol


class DocumentView(Protocol):
    @property
    def version(self) -> int: ...
    @property
    def deleted(self) -> bool: ...
    @property
    def groups(self) -> Sequence[str]: ...
    @property
    def clearance(self) -> int: ...


class DocumentViews(Protocol):
    async def check(self, workspace: str, documents: Sequence[str]) -> Mapping[str, DocumentView]:
        """The view of each document that exists, as of now.

        Raises:
            Unavailable: the views are too far behind to tell.
        """
