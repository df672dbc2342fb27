"""What clients may send about tasks and proposals, checked at the edge."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from gateway.requests import Body, Id
from schemas.events import Amounts, Choice
from weir.errors import BadRequest

MAX_SECONDS = 60 * 24 * 3600
LONG = 2**53
"""Numbers that JSON's readers keep exact."""

Goal = Annotated[str, Field(min_length=1, max_length=20_000)]
Reason = Annotated[str, Field(max_length=4000)]


class LimitsBody(Body):
    """A budget; what is left out is the policy's. Money in millionths."""

    steps: Annotated[int, Field(ge=1)] | None = None
    tokens: Annotated[int, Field(ge=1, le=LONG)] | None = None
    micros: Annotated[int, Field(ge=1, le=LONG)] | None = None
    seconds: Annotated[int, Field(ge=1, le=MAX_SECONDS)] | None = None

    def within(self, policy: Amounts) -> Amounts:
        """Raises: BadRequest: it asks for more than the policy gives."""
        asked = {}
        for name in ("steps", "tokens", "micros", "seconds"):
            value, most = getattr(self, name), getattr(policy, name)
            if value is not None and value > most:
                raise BadRequest(f"a task gets {most} {name} at most to begin with; ask for fewer, and let somebody "
                                 "add to its budget later")
            asked[name] = most if value is None else value
        return Amounts(**asked)


class TaskBody(Body):
    """`request_id`: asking again with the same one asks once."""

    goal: Goal
    request_id: Id | None = None
    limits: LimitsBody | None = None


class MessageBody(Body):
    text: Goal
    request_id: Id | None = None


class CancelTaskBody(Body):
    reason: Reason = ""
    request_id: Id | None = None


class BudgetBody(Body):
    """What to add. Money in millionths."""

    steps: Annotated[int, Field(ge=0, le=10_000)] = 0
    tokens: Annotated[int, Field(ge=0, le=10**10)] = 0
    micros: Annotated[int, Field(ge=0, le=10**12)] = 0
    seconds: Annotated[int, Field(ge=0, le=MAX_SECONDS)] = 0
    request_id: Id | None = None

    def amounts(self) -> Amounts:
        """Raises: BadRequest: it adds nothing."""
        if not (self.steps or self.tokens or self.micros or self.seconds):
            raise BadRequest("say what to add: `steps`, `tokens`, `micros` or `seconds`")
        return Amounts(steps=self.steps, tokens=self.tokens, micros=self.micros, seconds=self.seconds)


class ForkBody(Body):
    """A new task that goes on after `step` of this one; 0 begins anew."""

    step: Annotated[int, Field(ge=0)]
    goal: Goal | None = None
    request_id: Id | None = None
    limits: LimitsBody | None = None


class VerdictBody(Body):
    """`args_hash` is that of the arguments that were shown. `arguments`: a new proposal instead, to be approved in its
    own right by somebody else."""

    choice: Choice
    args_hash: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    reason: Reason = ""
    arguments: dict[str, Any] | None = None
    request_id: Id | None = None


class ManyVerdict(Body):
    approval: Id
    args_hash: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class ManyVerdictsBody(Body):
    """One choice for proposals of one tool."""

    choice: Literal[Choice.APPROVE, Choice.DENY]
    reason: Reason = ""
    verdicts: Annotated[list[ManyVerdict], Field(min_length=1, max_length=100)]


class RouteBody(Body):
    text: Goal
