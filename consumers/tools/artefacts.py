"""Files that a task makes: blobs with a name to offer."""

from __future__ import annotations

from consumers.tools.tool import ToolFailed
from schemas.codec import MAGIC
from schemas.events import Artefact
from weir.blobs import BlobMissing, Blobs
from weir.errors import BadRecord


async def stored(blobs: Blobs, name: str, media_type: str, data: bytes) -> Artefact:
    """
    Raises:
        Unavailable: the object store does not take it.
    """
    return Artefact(name=name, media_type=media_type, blob=await blobs.put(data), size=len(data))


async def loaded(blobs: Blobs, blob: str) -> bytes:
    """The bytes of an artefact.

    The store also holds what records were too large to carry, documents among them: those are not artefacts, whoever
    knows their names. An artefact's name is a hash that only its task, and who may see the task, have seen.

    Raises:
        ToolFailed: there is no such artefact.
        Unavailable: the object store does not answer.
    """
    try:
        data = await blobs.get(blob)
    except (BlobMissing, BadRecord) as e:
        raise ToolFailed(f"there is no artefact {blob!r}: name one that this task has made.") from e
    if data.startswith(MAGIC):
        raise ToolFailed(f"{blob!r} is no artefact: name one that this task has made.")
    return data
