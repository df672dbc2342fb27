"""A task's budget: what is left, and what is used up."""

from __future__ import annotations

from schemas.events import AgentState, Amounts, TaskStatus
from weir.agents.draft import Draft

LIFE = 60 * 24 * 3600
"""Longest life of a task in seconds: less than its transcript is kept."""

BOUNDED = frozenset({TaskStatus.PLANNING, TaskStatus.ACTING, TaskStatus.DECIDING, TaskStatus.ASKING})
"""Statuses in which wall time counts towards the limit."""


def clamped(limits: Amounts) -> Amounts:
    """Limits that a task may have: nothing below zero, and no life beyond the transcript's."""
    return Amounts(steps=max(0, limits.steps), tokens=max(0, limits.tokens), micros=max(0, limits.micros),
                   seconds=min(LIFE, max(0, limits.seconds)))


def plus(limits: Amounts, added: Amounts) -> Amounts:
    return clamped(Amounts(steps=limits.steps + added.steps, tokens=limits.tokens + added.tokens,
                           micros=limits.micros + added.micros, seconds=limits.seconds + added.seconds))


def left(draft: Draft) -> Amounts:
    """What is left; never below zero."""
    limits, spent = draft.limits, draft.spent
    return Amounts(steps=max(0, limits.steps - spent.steps), tokens=max(0, limits.tokens - spent.tokens),
                   micros=max(0, limits.micros - spent.micros), seconds=max(0, limits.seconds - spent.seconds))


def no_steps(steps: int) -> str:
    """What a task says that has used up so many steps."""
    return f"the task has used up its {steps} steps"


def used_up(draft: Draft, *, wave: bool = False) -> str:
    """What stands in the way of a call, in words; empty: nothing. Steps stand only in the way of a new wave, so that a
    planner without steps may still say what it has found."""
    limits, spent = draft.limits, draft.spent
    if wave and spent.steps >= limits.steps:
        return no_steps(limits.steps)
    if spent.tokens >= limits.tokens:
        return f"the task has used up its {limits.tokens} tokens ({spent.tokens} so far)"
    if spent.micros >= limits.micros:
        return f"the task has used up its budget of {limits.micros / 1e6:g} ({spent.micros / 1e6:g} so far)"
    if draft.now - draft.requested_at >= limits.seconds * 1000:
        return f"the task has used up its time of {limits.seconds} seconds"
    return ""


def wall_end(state: AgentState | Draft) -> int:
    """When its time is over, in milliseconds since the epoch."""
    return state.requested_at + state.limits.seconds * 1000


def life_end(state: AgentState | Draft) -> int:
    """When no task lives any longer, in milliseconds since the epoch."""
    return state.requested_at + LIFE * 1000
