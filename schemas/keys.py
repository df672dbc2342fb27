"""Keys, partitions and ids: how a record finds its partition and a chunk its name.

Keys are UTF-8. A partition is murmur2 of the *partition key* as Kafka's Java client computes it, so that producers in
any language agree; `docs/reference/publishing.md` has test vectors. Where a key has more parts than what must stay
together (a document's vectors, for example), only the leading part is hashed.
"""

from __future__ import annotations

import hashlib

SEPARATOR = "/"


def document_key(workspace: str, document: str) -> str:
    """Key of a document on every topic about documents. A workspace's name holds no `/`; a document's id may."""
    return f"{workspace}/{document}"


def split_document_key(key: str) -> tuple[str, str]:
    """Workspace and document of a document key.

    Raises:
        ValueError: the key has no workspace or no document.
    """
    workspace, _, document = key.partition(SEPARATOR)
    if not workspace or not document:
        raise ValueError(f"the key {key!r} is not workspace/document")
    return workspace, document


def status_key(workspace: str, document: str, stage: str, index_version: str | None) -> str:
    return f"{document_key(workspace, document)}/{stage}" + (f"@{index_version}" if index_version else "")


def part_key(workspace: str, document: str, part: int) -> str:
    return f"{document_key(workspace, document)}/{part}"


def turn_key(conversation: str, turn: str) -> str:
    return f"{conversation}/{turn}"


def tool_key(name: str, schema_hash: str) -> str:
    return f"{name}/{schema_hash}"


def golden_key(name: str, version: int, change: str) -> str:
    """Key of a change to a golden set: none takes another's place, so a set's whole past stays on the log."""
    return f"{name}/{version}/{change}"


def insight_key(workspace: str, minute: int, part: str) -> str:
    """Key of what one start of a worker has counted of a minute: it writes over its own parts only."""
    return f"{workspace}/{minute}/{part}"


def erasure_key(kind: str, name: str) -> str:
    return f"{kind}/{name}"


def murmur2(data: bytes) -> int:
    """Unsigned 32-bit murmur2 with Kafka's seed. Source: org.apache.kafka.common.utils.Utils.murmur2."""
    m, mask = 0x5BD1E995, 0xFFFFFFFF
    h = (0x9747B28C ^ len(data)) & mask
    whole = len(data) & ~3
    for i in range(0, whole, 4):
        k = int.from_bytes(data[i:i + 4], "little") * m & mask
        k = (k ^ k >> 24) * m & mask
        h = (h * m & mask) ^ k
    if whole < len(data):
        h = (h ^ int.from_bytes(data[whole:], "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return h ^ h >> 15


def partition(key: str, partitions: int) -> int:
    """The partition of `key` among `partitions`, the same as Kafka's Java client's."""
    return (murmur2(key.encode()) & 0x7FFFFFFF) % partitions


def _digest(*parts: str | int) -> str:
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:32]


def chunk_id(workspace: str, document: str, version: int, chunk: int) -> str:
    """Id of a chunk: 32 hex digits of SHA-256 over workspace, document, version and ordinal."""
    return _digest("chunk", workspace, document, version, chunk)


def row_id(workspace: str, document: str, version: int, row: int) -> str:
    """Id of one vector of a document, by its place among the document's rows."""
    return _digest("row", workspace, document, version, row)


def answer_id(conversation: str, subject: str, request: str) -> str:
    """Id of an answer. The same person asking twice with one request id in a conversation asks once."""
    return _digest("answer", conversation, subject, request)


def task_id(workspace: str, subject: str, request: str) -> str:
    """Id of a task. The same person asking twice with one request id asks once."""
    return _digest("task", workspace, subject, request)


def command_id(task: str, step: int, index: int, revision: int = 0) -> str:
    """Id of a command: the planner's call for a step has index -1; `revision` counts how often a person changed it."""
    return _digest("command", task, step, index, revision)


def approval_id(task: str, kind: str, step: int, index: int, args_hash: str, revision: int = 0) -> str:
    """Id of a proposal, bound to all of these."""
    return _digest("approval", task, kind, step, index, args_hash, revision)


def args_hash(arguments: str) -> str:
    """SHA-256 of a call's arguments, which are canonical JSON; hexadecimal."""
    return hashlib.sha256(arguments.encode()).hexdigest()


def idempotency_key(task: str, step: int, index: int, revision: int, tool: str, arguments: str) -> str:
    """Names one call that writes, on the effect log and to services that deduplicate; hexadecimal."""
    return hashlib.sha256("\0".join(map(str, (task, step, index, revision, tool, arguments))).encode()).hexdigest()
