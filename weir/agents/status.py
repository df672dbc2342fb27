"""Where a task and its calls may go from where they stand. A move that is not in these tables is a fault of the
machine, never of an event, and is raised as one.

    task    PLANNING <-> ACTING <-> DECIDING          PAUSED between any of these and back
                |  \\                                  STOPPING from all of them, then UNDOING where something
              ASKING  end                              can be taken back, then the end

    call    PLANNED -> PROPOSED -> RUNNING -> SUCCEEDED | FAILED | UNKNOWN | BACKOFF (-> RUNNING)
                          |                                 UNKNOWN -> SUCCEEDED | FAILED | RUNNING, as a person says
                        DENIED                         DROPPED from wherever it is not needed any more
"""

from __future__ import annotations

from schemas.events import CallStatus, TaskStatus

_T, _C = TaskStatus, CallStatus

TASK_MOVES: dict[TaskStatus, frozenset[TaskStatus | None]] = {
    _T.PLANNING: frozenset({_T.ACTING, _T.ASKING, _T.PAUSED, _T.STOPPING, None}),
    _T.ACTING: frozenset({_T.PLANNING, _T.DECIDING, _T.PAUSED, _T.STOPPING}),
    _T.DECIDING: frozenset({_T.PLANNING, _T.ACTING, _T.PAUSED, _T.STOPPING}),
    _T.ASKING: frozenset({_T.PLANNING, _T.PAUSED, _T.STOPPING}),
    _T.PAUSED: frozenset({_T.PLANNING, _T.ACTING, _T.DECIDING, _T.ASKING, _T.STOPPING, None}),
    _T.STOPPING: frozenset({_T.UNDOING, None}),
    _T.UNDOING: frozenset({None}),
}
"""By status, what may follow; None is the end."""

CALL_MOVES: dict[CallStatus, frozenset[CallStatus]] = {
    _C.PLANNED: frozenset({_C.PROPOSED, _C.RUNNING, _C.FAILED, _C.DROPPED}),
    _C.PROPOSED: frozenset({_C.PROPOSED, _C.RUNNING, _C.DENIED, _C.DROPPED}),
    _C.RUNNING: frozenset({_C.SUCCEEDED, _C.FAILED, _C.UNKNOWN, _C.BACKOFF, _C.DROPPED}),
    _C.BACKOFF: frozenset({_C.RUNNING, _C.DROPPED}),
    _C.UNKNOWN: frozenset({_C.SUCCEEDED, _C.FAILED, _C.RUNNING}),
    _C.SUCCEEDED: frozenset(),
    _C.FAILED: frozenset(),
    _C.DENIED: frozenset(),
    _C.DROPPED: frozenset(),
}

WAITING = frozenset({_C.PROPOSED, _C.UNKNOWN})
"""A person is asked."""
UNDER_WAY = frozenset({_C.RUNNING, _C.BACKOFF})
"""It runs, or will run again by itself."""
OPEN = WAITING | UNDER_WAY
"""It has begun and not ended."""
SETTLED = frozenset({_C.SUCCEEDED, _C.FAILED, _C.DENIED, _C.DROPPED})
"""Nothing more will become of it."""


class IllegalMove(RuntimeError):
    """The machine tried a change of status that does not exist."""


def check_task(now: TaskStatus, then: TaskStatus | None) -> None:
    """Raises IllegalMove unless a task may go from `now` to `then`; None is the end."""
    if then is not now and then not in TASK_MOVES[now]:
        raise IllegalMove(f"a task cannot go from {now} to {then or 'its end'}")


def check_call(now: CallStatus, then: CallStatus) -> None:
    """Raises IllegalMove unless a call may go from `now` to `then`."""
    if then not in CALL_MOVES[now]:
        raise IllegalMove(f"a call cannot go from {now} to {then}")
