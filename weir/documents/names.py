"""What a workspace and a document may be called, and what may ride with a document into the stores."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from datetime import date

from schemas import keys
from schemas.events import DocumentPublished
from weir.errors import BadRecord, BadRequest

MAX_WORKSPACE_BYTES = 128
MAX_DOCUMENT_BYTES = 512
MAX_GROUPS = 256
MAX_GROUP_BYTES = 128
MAX_METADATA_BYTES = 16 * 1024

Metadata = Mapping[str, str | bool | int | float | date | list[str]]


def document_names(key: str, event: DocumentPublished | None) -> tuple[str, str]:
    """Workspace and document of a record of `documents`; the event is None where it is a tombstone.

    Raises:
        BadRecord: the key is not workspace/document, or not that of the event.
        BadRequest: names, access or metadata cannot be used.
    """
    try:
        workspace, document = keys.split_document_key(key)
    except ValueError as e:
        raise BadRecord(f"{e}: see docs/reference/publishing.md.") from e
    if event is not None and (event.workspace, event.document) != (workspace, document):
        raise BadRecord(f"the record's key is {key!r}, its body speaks of workspace {event.workspace!r} and document "
                        f"{event.document!r}: the key must be workspace/document of the body.")
    check_names(workspace, document)
    if event is not None:
        check_access_and_metadata(event.groups, event.clearance, event.metadata)
    return workspace, document


def check_names(workspace: str, document: str) -> None:
    """Raises BadRequest where the name of the workspace or of the document cannot be used."""
    _check("workspace", workspace, MAX_WORKSPACE_BYTES)
    if "/" in workspace:
        raise BadRequest(f"the workspace {workspace!r} holds a slash, which separates workspace and document in keys: "
                         "choose a name without one.")
    _check("document", document, MAX_DOCUMENT_BYTES)


def check_access_and_metadata(groups: Sequence[str], clearance: int, metadata: Metadata) -> None:
    """Raises BadRequest where groups, clearance or metadata are more than the stores take."""
    if len(groups) > MAX_GROUPS:
        raise BadRequest(f"the document names {len(groups)} groups, at most {MAX_GROUPS} are kept: use a wider group.")
    for group in groups:
        _check("group", group, MAX_GROUP_BYTES)
    if not 0 <= clearance < 2**31:
        raise BadRequest(f"the clearance {clearance} is not between 0 and {2**31 - 1}.")
    size = sum(len(name.encode()) + len(str(value).encode()) for name, value in metadata.items())
    if size > MAX_METADATA_BYTES:
        raise BadRequest(f"the metadata has {size:,} bytes, the limit is {MAX_METADATA_BYTES:,}: keep long texts in "
                         "the document.")
    if any(not name for name in metadata):
        raise BadRequest("a metadata field has no name.")


def _check(what: str, name: str, limit: int) -> None:
    if not name.strip():
        raise BadRequest(f"the {what} has no name.")
    if any(unicodedata.category(c) in ("Cc", "Cs") for c in name):
        raise BadRequest(f"the name of the {what} {name!r} holds control characters: leave them out.")
    size = len(name.encode())
    if size > limit:
        raise BadRequest(f"the name of the {what} has {size} bytes, the limit is {limit}: {name[:60]!r}...")
