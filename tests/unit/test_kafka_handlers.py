"""What follows from a failed call."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from weir.blobs import BlobMissing
from weir.errors import BadDocument, BadRecord, Overloaded, Unavailable
from weir.kafka.handlers import BLOB_PATIENCE, LONGEST_WAIT, GiveUp, Retry, verdict


@given(st.integers(1, 10**6), st.floats(0, 1), st.floats(0, 10**6))
def test_a_retriable_error_is_never_given_up_and_never_waits_longer_than_half_a_minute(
        tries: int, jitter: float, waited: float) -> None:
    follows = verdict(Unavailable("down"), tries, waited, lambda: jitter)
    assert isinstance(follows, Retry)
    assert 0.05 <= follows.delay <= LONGEST_WAIT


def test_waits_grow() -> None:
    waits = [verdict(Unavailable("down"), tries, 0.0, lambda: 1.0) for tries in (1, 2, 3, 10)]
    assert waits == [Retry(0.1, "unavailable"), Retry(0.2, "unavailable"), Retry(0.4, "unavailable"),
                     Retry(LONGEST_WAIT, "unavailable")]


def test_a_wait_that_the_server_named_is_kept() -> None:
    assert verdict(Overloaded("later", retry_after=7.0), 1, 0.0) == Retry(7.0, "overloaded")


def test_an_error_that_will_not_pass_is_given_up_at_once_with_its_reason() -> None:
    assert verdict(BadDocument("encrypted", "it has a password"), 1, 0.0) == GiveUp("encrypted", "it has a password")
    assert verdict(BadRecord("no key"), 1, 0.0) == GiveUp("bad_record", "no key")


def test_an_error_that_nobody_expected_gets_three_tries() -> None:
    assert isinstance(verdict(ZeroDivisionError("x"), 2, 1.0), Retry)
    given_up = verdict(ZeroDivisionError("x"), 3, 2.0)
    assert isinstance(given_up, GiveUp)
    assert given_up.code == "internal"
    assert given_up.reason.startswith("ZeroDivisionError: x (3 tries")


def test_a_blob_may_be_late_but_not_for_ever() -> None:
    assert isinstance(verdict(BlobMissing("gone"), 5, BLOB_PATIENCE - 1), Retry)
    given_up = verdict(BlobMissing("gone"), 9, BLOB_PATIENCE)
    assert given_up == GiveUp("bad_record", "gone (waited 30 s)")
