"""What a tool is.

    call (arguments checked) --> run --> Returned                   it is done
                                    --> ToolFailed                  it is certainly not done
                                    --> any other error, time-out   of a tool that writes: nobody knows

A tool that can find out whether a call was done has `reconcile`; it answers what `run` would have, or None for "not
that one can see", which proves nothing: whoever does it may be about to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from schemas.events import Artefact, Person, Risk, Undo
from weir.agents.arguments import schema_hash
from weir.agents.canonical import canonical
from weir.errors import WeirError

CONTENT_BYTES = 64 * 1024
"""Most bytes of content that go back to the planner; what is longer becomes an artefact."""


class ToolFailed(WeirError):
    """The call was not done, and the message says why and what to do."""

    code = "tool_failed"

    def __init__(self, message: str, *, retriable: bool = False) -> None:
        super().__init__(message)
        self.retriable = retriable


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a tool, its arguments checked against the schema."""

    key: str
    """Idempotency key: the same for every attempt of the call."""
    task: str
    workspace: str
    person: Person
    """With whose access."""
    arguments: Mapping[str, Any]
    timeout: float
    """Seconds."""


@dataclass(frozen=True, slots=True)
class Returned:
    """What a call that was done gave."""

    content: str
    """For the planner: JSON where the tool says so, else text."""
    artefacts: Sequence[Artefact] = ()
    undo: Undo | None = None
    """The call that takes it back."""
    micros: int = 0
    """What it cost, in millionths."""


class Tool:
    """Base of every tool. A tool states its facts as attributes and has `run`."""

    name: str
    description: str
    """For the planner and for people: what it does, what comes back."""
    schema: Mapping[str, Any]
    """JSON schema of its arguments, an object."""
    risk: Risk = Risk.READ
    timeout: float = 30.0
    """Seconds until a call is given up."""
    tries: int = 3
    """Most times that a call is tried that failed and may be tried again."""
    backoff: float = 1.0
    """Seconds before the second try; doubled before each further one."""
    deduplicates: bool = False
    """Whether the service does a call once, however often it comes with the same idempotency key."""
    reconciles: bool = False
    """Whether `reconcile` can tell anything, as configured."""
    undoable: bool = False
    """Whether some calls return how to take them back."""
    source: str = "built-in"
    approvers: str = ""
    """Group that decides about its calls; empty: the task's."""

    async def run(self, call: Call) -> Returned:
        """Does it.

        Raises:
            ToolFailed: it was certainly not done.
            WeirError: of a tool that reads: it failed. Of one that writes: it may have been done.
        """
        raise NotImplementedError

    async def reconcile(self, call: Call) -> Returned | None:
        """What the call returned, where one can see that it was done; None where one cannot.

        Raises:
            WeirError: whoever knows does not answer.
        """
        return None

    async def start(self) -> None:
        """Before the first call."""

    async def close(self) -> None:
        """After the last one."""

    @property
    def schema_text(self) -> str:
        """The schema, canonical JSON."""
        return canonical(self.schema)

    @property
    def schema_hash(self) -> str:
        return schema_hash(self.schema_text)


def arguments(required: Sequence[str] = (), **properties: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON schema of an object that has these properties and no others."""
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}
