"""Who speaks: a person out of a signed token.

With `WEIR_ISSUER=local` Weir signs tokens itself with an Ed25519 key in `<home>/secrets`; the people who may sign in
stand in `<home>/people.json`. With a URL there, tokens come from that OpenID Connect provider (`weir/oidc.py`).
Either way one algorithm is accepted, and groups and clearance come from the verified token alone.

    token ──▶ Verifier.verify ──▶ Identity(person, expires_at)
                  │ expired        TokenExpired   a fresh token lets the session go on
                  └ anything else  NotSignedIn
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from schemas.events import Person
from weir.clock import Clock, system_clock
from weir.errors import BadRequest, NotSignedIn, SettingsError, TokenExpired, Unavailable
from weir.settings import Settings

LOCAL_ISSUER = "weir"
LEEWAY = 10.0
"""Seconds by which two clocks may differ."""
MAX_TOKEN_CHARS = 16_384


@dataclass(frozen=True, slots=True)
class Identity:
    """A person, for as long as the token says."""

    person: Person
    expires_at: float
    """Seconds since the epoch."""
    claims: dict[str, Any]


class Keys(Protocol):
    """Where the public keys come from."""

    issuer: str

    async def key(self, kid: str | None) -> Any:
        """The public key named `kid`.

        Raises:
            NotSignedIn: the issuer has no such key.
            Unavailable: the issuer does not answer.
        """
        ...

    async def close(self) -> None: ...


class LocalKeys:
    """The key of Weir's own issuer. Read on first use, so that a process that never sees a token needs none."""

    issuer = LOCAL_ISSUER

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._key: Any = None

    async def key(self, kid: str | None) -> Any:
        if self._key is None:
            self._key = signing_key(self._settings).public_key()
        return self._key

    async def close(self) -> None:
        return None


class Verifier:
    """Tells who a token speaks for.

    Raises:
        SettingsError: the settings name no usable issuer or algorithm.
    """

    def __init__(self, settings: Settings, *, keys: Keys | None = None, clock: Clock = system_clock) -> None:
        if settings.issuer == "local" and settings.token_algorithm != "EdDSA":
            raise SettingsError("the local issuer signs with EdDSA: unset WEIR_TOKEN_ALGORITHM, or set WEIR_ISSUER to "
                                f"the provider that signs with {settings.token_algorithm}")
        if settings.token_algorithm.upper().startswith("HS") or settings.token_algorithm.lower() == "none":
            raise SettingsError(f"WEIR_TOKEN_ALGORITHM={settings.token_algorithm} is not a public-key signature; "
                                "use EdDSA, ES256, RS256 or PS256")
        self._settings = settings
        self._keys = keys or _keys(settings, clock)
        self._clock = clock
        self._audiences = {settings.audience, settings.oidc_client_id} - {""}

    async def close(self) -> None:
        await self._keys.close()

    async def verify(self, token: str) -> Identity:
        """The identity that `token` proves.

        Raises:
            TokenExpired: it was right and is over.
            NotSignedIn: it is not a token for Weir from its issuer.
            Unavailable: the issuer's keys cannot be fetched.
        """
        claims = await self._claims(token)
        now = self._clock() / 1000
        expires, not_before = _number(claims, "exp"), _number(claims, "nbf", 0.0)
        if now < not_before - LEEWAY:
            raise NotSignedIn("the token is not valid yet: check the clock of this machine and of the issuer")
        if now >= expires + LEEWAY:
            raise TokenExpired("the token has expired: send a fresh one, or sign in again")
        return Identity(self._person(claims), expires, claims)

    async def _claims(self, token: str) -> dict[str, Any]:
        if not token or len(token) > MAX_TOKEN_CHARS:
            raise NotSignedIn("no usable token came with the request: send `Authorization: Bearer <token>`, or sign in")
        try:
            key = await self._keys.key(jwt.get_unverified_header(token).get("kid"))
            claims: dict[str, Any] = jwt.decode(
                token, key, algorithms=[self._settings.token_algorithm], audience=sorted(self._audiences),
                issuer=self._keys.issuer,
                options={"require": ["exp", "iss", "sub", "aud"], "verify_exp": False, "verify_nbf": False,
                         "verify_iat": False})
        except jwt.PyJWTError as e:
            raise NotSignedIn(f"the token is not one that Weir accepts ({e}): get a fresh one from "
                              f"{self._keys.issuer}") from e
        return claims

    def _person(self, claims: dict[str, Any]) -> Person:
        groups = claims.get(self._settings.groups_claim, [])
        clearance = claims.get("clearance", 0)
        if not isinstance(groups, list) or not all(isinstance(g, str) for g in groups):
            raise NotSignedIn(f"the claim {self._settings.groups_claim!r} of the token is not a list of names: "
                              "set WEIR_GROUPS_CLAIM to the claim that lists a person's groups")
        if isinstance(clearance, bool) or not isinstance(clearance, int):
            raise NotSignedIn("the claim 'clearance' of the token is not a whole number")
        name = next((c for k in ("name", "preferred_username") if isinstance(c := claims.get(k), str) and c), "")
        return Person(subject=str(claims["sub"]), groups=sorted(set(groups)), name=name, clearance=clearance)


def _keys(settings: Settings, clock: Clock) -> Keys:
    if settings.issuer == "local":
        return LocalKeys(settings)
    from weir.oidc import ProviderKeys  # an HTTP client that the local issuer has no use for

    return ProviderKeys(settings, clock=clock)


def _number(claims: dict[str, Any], name: str, default: float | None = None) -> float:
    value = claims.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise NotSignedIn(f"the claim {name!r} of the token is not a time")
    return float(value)


# -- the local issuer ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LocalPerson:
    """Someone of `people.json`."""

    user: str
    name: str
    groups: tuple[str, ...]
    clearance: int


def issue(settings: Settings, user: str, groups: list[str] | tuple[str, ...] = (), clearance: int = 0,
          ttl: float = 12 * 3600, *, name: str = "", clock: Clock = system_clock) -> str:
    """A token of the local issuer. Whoever can read the key file can issue one for anybody.

    Args:
        ttl: seconds that it is valid.

    Raises:
        SettingsError: the issuer is not the local one.
    """
    if settings.issuer != "local":
        raise SettingsError(f"tokens come from {settings.issuer}; only WEIR_ISSUER=local issues them here")
    now = clock() / 1000
    claims = {"iss": LOCAL_ISSUER, "aud": settings.audience, "sub": user, "name": name or user, "iat": int(now),
              "exp": now + ttl, "jti": secrets.token_hex(8), settings.groups_claim: sorted(set(groups)),
              "clearance": clearance}
    return jwt.encode(claims, signing_key(settings), algorithm="EdDSA")


def issue_for(settings: Settings, user: str, *, groups: list[str] | None = None, clearance: int | None = None,
              ttl: timedelta = timedelta(hours=12), clock: Clock = system_clock) -> str:
    """A token for `user` with the name, groups and clearance of `people.json`, where the caller names no others.

    Raises:
        SettingsError: the issuer is not the local one, or nobody knows the person and no groups were named.
    """
    try:
        others = people(settings)
    except Unavailable as e:
        if groups is None:
            raise SettingsError(e.message) from e
        others = {}
    if user not in others and groups is None:
        raise SettingsError(f"nobody is called {user!r} in {settings.home / 'people.json'}: name groups, or one of "
                            f"{', '.join(others)}")
    known = others.get(user, LocalPerson(user, user, (), 0))
    return issue(settings, user, known.groups if groups is None else groups,
                 known.clearance if clearance is None else clearance, ttl.total_seconds(), name=known.name, clock=clock)


def signing_key(settings: Settings) -> Ed25519PrivateKey:
    """The local issuer's key, made on first use.

    Raises:
        SettingsError: the file does not hold an Ed25519 key.
    """
    path = settings.home / "secrets" / "issuer.pem"
    data = secret_file(path, lambda: Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    try:
        key = load_pem_private_key(data, None)
    except ValueError as e:
        raise SettingsError(f"{path} holds no key: {e}. Delete it; a new one is made, and old tokens end.") from e
    if not isinstance(key, Ed25519PrivateKey):
        raise SettingsError(f"{path} holds a key that is not Ed25519. Delete it; a new one is made.")
    return key


def access_code(settings: Settings) -> str:
    """The code with which the people of this machine sign in on the page, made on first use."""
    path = settings.home / "secrets" / "access_code"
    return secret_file(path, lambda: f"{secrets.randbelow(10**8):08d}\n".encode()).decode().strip()


def people(settings: Settings) -> dict[str, LocalPerson]:
    """Who may sign in with the access code, by user name.

    Raises:
        Unavailable: the file is missing or cannot be read.
    """
    path = settings.home / "people.json"
    try:
        entries = json.loads(path.read_text())
        entries = entries["people"] if isinstance(entries, dict) else entries
        return {e["user"]: LocalPerson(e["user"], e.get("name", e["user"]), tuple(e.get("groups", ())),
                                       int(e.get("clearance", 0))) for e in entries}
    except FileNotFoundError:
        raise Unavailable(f"nobody can sign in by name: {path} is missing. `weir up` copies the sample's; or paste a "
                          "token from `weir token`.") from None
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise Unavailable(f"{path} cannot be read ({e}): it is a list of {{user, name, groups, clearance}}") from e


def sign_in(settings: Settings, user: str, code: str, *, ttl: float = 12 * 3600, clock: Clock = system_clock) -> str:
    """A token for someone of `people.json` who knows the access code.

    Raises:
        NotSignedIn: name or code is wrong; which of them is not said.
        BadRequest: sign-in by name is not what this Weir does.
    """
    if settings.issuer != "local":
        raise BadRequest(f"people of this Weir sign in at {settings.issuer}")
    person = people(settings).get(user)
    right = secrets.compare_digest(code.strip().encode(), access_code(settings).encode())
    if person is None or not right:
        raise NotSignedIn("the name or the access code is wrong: the code is in <home>/secrets/access_code, and "
                          "`make run` prints it")
    return issue(settings, person.user, person.groups, person.clearance, ttl, name=person.name, clock=clock)


def secret_file(path: Path, make: Callable[[], bytes]) -> bytes:
    """The bytes of a secret that only its owner can read; made once, whoever comes first.

    Raises:
        SettingsError: the file can neither be read nor made.
    """
    try:
        if path.exists():
            return path.read_bytes()
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(handle, "wb") as f:
                f.write(make())
                f.flush()
                os.fsync(f.fileno())
            with suppress(FileExistsError):
                os.link(draft, path)  # unlike a rename, never replaces what another process was quicker to make
        finally:
            draft.unlink()
        return path.read_bytes()
    except OSError as e:
        raise SettingsError(f"the secret {path} can neither be read nor made: {e}") from e
