"""Calls that are not run, whoever planned them. The planner's transcript says the same words."""

from __future__ import annotations

from collections.abc import Container

from schemas.events import ToolCall

MOST_CALLS = 32
"""Most calls of one reply; further ones are left out."""
LONGEST_ARGUMENTS = 65_536
"""Most characters of a call's arguments."""


def refusal(tools: Container[str], call: ToolCall) -> str:
    """Why a call is not run; empty: it may."""
    if call.invalid:
        return call.invalid
    if call.tool not in tools:
        return f"the task has no tool {call.tool!r}"
    if len(call.arguments) > LONGEST_ARGUMENTS:
        return f"the arguments have {len(call.arguments)} characters; the most is {LONGEST_ARGUMENTS}"
    return ""
