"""Records of `agent-events` and `agent-state` as the engine reads them, and as a replay has to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from confluent_kafka import Message

from schemas import codec, keys
from schemas.events import AgentEvent, AgentState, ClaimCheck, TaskRequested
from weir.errors import BadRecord
from weir.kafka.records import Raw, from_message

Decode = Callable[[Raw], Any]
"""The event of a record that may be a claim check.

Raises:
    BadRecord: it cannot be read; BlobMissing: its blob is not there; Unavailable: the object store is not.
"""


def event_of(message: Message, partition: int, partitions: int, decode: Decode) -> AgentEvent:
    """The event of a record of `agent-events`.

    Raises:
        BadRecord: it is none, or stands where the engine of its task would not find it. Also what `decode` raises.
    """
    try:
        event = codec.decode(message.value() or b"")
    except codec.CodecError as e:
        raise BadRecord(str(e)) from e
    if type(event) is ClaimCheck:
        event = decode(from_message(message))
    if type(event) is not AgentEvent:
        raise BadRecord(f"a {type(event).__name__} is no event of a task")
    if (message.key() or b"") != event.task.encode():
        raise BadRecord(f"its key is {message.key()!r} and its task {event.task}")
    if type(event.body) is TaskRequested and (right := keys.partition(event.task, partitions)) != partition:
        raise BadRecord(f"task {event.task} belongs into partition {right}; see docs/reference/publishing.md")
    return event


def state_of(snapshot: bytes, topic: str, decode: Decode) -> AgentState:
    """The state of a snapshot.

    Raises:
        BadRecord: it is none. Also what `decode` raises.
    """
    state = codec.decode(snapshot)
    if type(state) is ClaimCheck:
        state = decode(Raw(topic, 0, 0, b"snapshot", snapshot, {}, 0))
    if type(state) is not AgentState:
        raise BadRecord(f"{topic} holds a {type(state).__name__} for a snapshot")
    return state
