"""Every error of Weir, in one tree.

    WeirError
    ├── InputError              what came in cannot be used; saying it again will not help
    │   ├── BadRequest          a person's or program's request (400)
    │   ├── BadRecord           a Kafka record that cannot be decoded or breaks its schema
    │   └── BadDocument         a document that cannot be read: encrypted, empty, truncated, mislabelled, too large
    ├── AccessError
    │   ├── NotSignedIn         no token, or one that is wrong (401)
    │   ├── TokenExpired        the token was right and is over; a fresh one lets the session go on (401)
    │   └── Forbidden           the person is known and may not (403)
    ├── NotFound                (404)
    ├── Conflict                the state does not allow it now (409)
    ├── Overloaded              refused early, with `retry_after` seconds (429)
    ├── Unavailable             a server does not answer or is behind; retriable (503)
    ├── ModelError              a language model refused, broke off or is misconfigured
    ├── Mismatch                parts of two index versions met: an error of its own, never a worse answer (500)
    └── SettingsError           a setting is missing or wrong; the process must not start

`code` is for machines and never changes; the message is for the person who can act and says what to do.
`retriable` says whether the same call may succeed later without anybody changing anything.
"""

from __future__ import annotations


class WeirError(Exception):
    """Base of every error that Weir raises on purpose."""

    code = "internal"
    status = 500
    retriable = False

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after = retry_after
        """Seconds after which a retry makes sense; None where nobody knows."""


class InputError(WeirError):
    code = "bad_input"
    status = 400


class BadRequest(InputError):
    code = "bad_request"


class BadRecord(InputError):
    code = "bad_record"


class BadDocument(InputError):
    """A document that cannot be read. `reason` is one stable word: encrypted, empty, truncated, mislabelled, oversized,
    unsupported, hostile, unreadable."""

    code = "bad_document"
    status = 422

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class AccessError(WeirError):
    code = "access"
    status = 403


class NotSignedIn(AccessError):
    code = "not_signed_in"
    status = 401


class TokenExpired(AccessError):
    code = "token_expired"
    status = 401


class Forbidden(AccessError):
    code = "forbidden"
    status = 403


class NotFound(WeirError):
    code = "not_found"
    status = 404


class Conflict(WeirError):
    code = "conflict"
    status = 409


class Overloaded(WeirError):
    code = "overloaded"
    status = 429
    retriable = True


class Unavailable(WeirError):
    code = "unavailable"
    status = 503
    retriable = True


class ModelError(WeirError):
    code = "model_error"
    status = 502


class Mismatch(WeirError):
    """Parts of different index versions met: a model's vectors in another's collection, another model under the same
    name. Nothing goes on without the part that is wrong, as it would where that part is merely away."""

    code = "mismatch"


class SettingsError(WeirError):
    code = "settings"
