"""What a worker calls for its records, and how it goes on when a call fails."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from weir.blobs import BlobMissing
from weir.errors import BadRecord, Mismatch, WeirError
from weir.kafka.records import Record

TRIES = 3
"""Tries of a record whose handler raises something that is no WeirError."""
LONGEST_WAIT = 30.0
"""Most seconds between two tries."""
BLOB_PATIENCE = 30.0
"""Seconds that a claim check's blob may be missing. It is written before the record that names it, so that one which is
not there by now was lost; a replay finds it once it has been restored."""


@dataclass(frozen=True, slots=True)
class Each:
    """One call a record. `fn` returns when the record's effects are durable.

    Args:
        concurrency: calls at a time; None sets no limit of its own.
        ordered: True: one record of a key at a time, in order. A function: the same for what it makes of the key.
            False: calls *start* in the order of a key's records and may end in any.
        drain: whether a hand-over waits for calls that are under way; False cancels them at once, for handlers that
            hold a record open on purpose.
    """

    fn: Callable[[Record], Awaitable[None]]
    concurrency: int | None = 8
    ordered: bool | Callable[[str], str] = True
    drain: bool = True


@dataclass(frozen=True, slots=True)
class Batch:
    """One call for all records that are there, within the limits; one call at a time, in the order of each key.

    When a call fails for good its records are tried one by one, so that only the poison becomes a dead letter; `fn`
    must bear seeing a record twice. A retriable failure holds the whole worker: it is a store that is down.
    """

    fn: Callable[[list[Record]], Awaitable[None]]
    max_records: int = 500
    max_bytes: int = 32 * 2**20
    """Bytes of encoded records in one call; a single larger record still gets its call."""


Handler = Each | Batch


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again after `delay` seconds."""

    delay: float
    code: str


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Make it a dead letter."""

    code: str
    reason: str


def verdict(error: BaseException, tries: int, waited: float, jitter: Callable[[], float] = random.random,
            ) -> Retry | GiveUp:
    """What follows from a failed call.

    Args:
        tries: calls so far, this one included.
        waited: seconds since the first failure.
        jitter: a number from 0 to 1.
    """
    if isinstance(error, BlobMissing) and waited >= BLOB_PATIENCE:
        return GiveUp(BadRecord.code, f"{error.message} (waited {waited:.0f} s)")
    if isinstance(error, Mismatch):
        # No record's fault: all of them wait until somebody has put the right part back.
        return Retry(_backoff(tries, jitter), error.code)
    if isinstance(error, WeirError):
        if not error.retriable:
            return GiveUp(getattr(error, "reason", error.code), error.message)
        return Retry(error.retry_after or _backoff(tries, jitter), error.code)
    if tries < TRIES:
        return Retry(_backoff(tries, jitter), type(error).__name__)
    return GiveUp("internal", f"{type(error).__name__}: {error} ({tries} tries; the worker's log has the traceback)")


def _backoff(tries: int, jitter: Callable[[], float]) -> float:
    """Seconds: 0.1, 0.2, 0.4, ... up to `LONGEST_WAIT`, of which a half is chance."""
    return float(min(LONGEST_WAIT, 0.1 * 2.0 ** min(tries - 1, 20)) * (0.5 + 0.5 * jitter()))
