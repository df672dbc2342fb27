"""Whom a token speaks for, and whom it does not."""

from __future__ import annotations

import asyncio
import json
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from weir import identity
from weir.errors import BadRequest, NotSignedIn, SettingsError, TokenExpired, Unavailable
from weir.identity import Verifier
from weir.settings import Settings

NOW = 1_800_000_000_000


def clock() -> int:
    return NOW


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


@pytest.fixture
def verifier(settings: Settings) -> Verifier:
    return Verifier(settings, clock=clock)


def token(settings: Settings, key: Any = None, algorithm: str = "EdDSA", **changes: Any) -> str:
    claims = {"iss": "weir", "aud": "weir", "sub": "ann", "exp": NOW / 1000 + 60, "groups": ["legal"], "clearance": 2}
    claims = {k: v for k, v in {**claims, **changes}.items() if v is not None}
    return jwt.encode(claims, key or identity.signing_key(settings), algorithm=algorithm)


async def test_a_local_token_proves_person_groups_and_clearance(settings: Settings, verifier: Verifier) -> None:
    text = identity.issue(settings, "ann", ["legal", "board"], 2, 60, name="Ann", clock=clock)
    found = await verifier.verify(text)
    assert (found.person.subject, found.person.name, found.person.groups, found.person.clearance) == (
        "ann", "Ann", ["board", "legal"], 2)
    assert found.expires_at == NOW / 1000 + 60


async def test_a_token_that_is_over_is_told_apart_from_a_wrong_one(settings: Settings, verifier: Verifier) -> None:
    with pytest.raises(TokenExpired):
        await verifier.verify(token(settings, exp=NOW / 1000 - 11))
    assert await verifier.verify(token(settings, exp=NOW / 1000 - 9)), "clocks may differ a little"


@pytest.mark.parametrize("changes", [
    {"aud": "somebody-else"}, {"iss": "elsewhere"}, {"exp": None}, {"sub": None}, {"nbf": NOW / 1000 + 60},
    {"groups": "legal"}, {"groups": [1]}, {"clearance": "9"}, {"clearance": True}, {"exp": "soon"},
])
async def test_wrong_claims_are_refused(settings: Settings, verifier: Verifier, changes: dict[str, Any]) -> None:
    with pytest.raises(NotSignedIn):
        await verifier.verify(token(settings, **changes))


async def test_only_the_pinned_algorithm_and_key_count(settings: Settings, verifier: Verifier) -> None:
    with pytest.raises(NotSignedIn):
        await verifier.verify(token(settings, Ed25519PrivateKey.generate()))
    with pytest.raises(NotSignedIn):
        await verifier.verify(token(settings, "x" * 32, "HS256"))
    head, body, _ = token(settings).split(".")
    none = jwt.utils.base64url_encode(b'{"alg":"none","typ":"JWT"}').decode()
    for forged in (f"{none}.{body}.", f"{head}.{body}.", "", "a.b.c", "x" * 20_000):
        with pytest.raises(NotSignedIn):
            await verifier.verify(forged)


@pytest.mark.parametrize("algorithm", ["HS256", "none", "RS256"])
def test_a_local_issuer_with_another_algorithm_does_not_start(tmp_path: Path, algorithm: str) -> None:
    with pytest.raises(SettingsError):
        Verifier(Settings(home=tmp_path, token_algorithm=algorithm))


def test_secrets_are_made_once_and_only_their_owner_reads_them(settings: Settings) -> None:
    with ThreadPoolExecutor(8) as pool:
        codes = set(pool.map(lambda _: identity.access_code(settings), range(32)))
        keys = {k.private_bytes_raw() for k in pool.map(lambda _: identity.signing_key(settings), range(32))}
    assert len(codes) == len(keys) == 1
    secrets = settings.home / "secrets"
    assert sorted(p.name for p in secrets.iterdir()) == ["access_code", "issuer.pem"]
    assert {stat.S_IMODE(p.stat().st_mode) for p in secrets.iterdir()} == {0o600}


def test_a_damaged_key_says_what_to_do(settings: Settings) -> None:
    path = settings.home / "secrets" / "issuer.pem"
    path.parent.mkdir()
    path.write_text("nonsense")
    with pytest.raises(SettingsError, match="Delete it"):
        identity.signing_key(settings)


async def test_people_sign_in_with_the_access_code(settings: Settings, verifier: Verifier) -> None:
    with pytest.raises(Unavailable, match="weir up"):
        identity.sign_in(settings, "ann", "1")
    entry = {"user": "ann", "name": "Ann Lee", "groups": ["legal"], "clearance": 1, "role": "shown on the page"}
    (settings.home / "people.json").write_text(json.dumps({"people": [entry]}))
    code = identity.access_code(settings)
    found = await verifier.verify(identity.sign_in(settings, "ann", f" {code} ", clock=clock))
    assert (found.person.name, found.person.groups, found.person.clearance) == ("Ann Lee", ["legal"], 1)
    for user, wrong in (("ann", "00000000x"), ("bob", code), ("ann", "")):
        with pytest.raises(NotSignedIn, match="wrong"):
            identity.sign_in(settings, user, wrong)


async def test_a_token_for_a_known_person_has_their_groups(settings: Settings, verifier: Verifier) -> None:
    (settings.home / "people.json").write_text('[{"user": "ann", "groups": ["legal"], "clearance": 1}]')
    known = await verifier.verify(identity.issue_for(settings, "ann", ttl=timedelta(minutes=1), clock=clock))
    assert (known.person.groups, known.person.clearance) == (["legal"], 1)
    given = await verifier.verify(identity.issue_for(settings, "ann", groups=["hr"], clearance=0, clock=clock))
    assert (given.person.groups, given.person.clearance) == (["hr"], 0)
    with pytest.raises(SettingsError, match="ann"):
        identity.issue_for(settings, "bob", clock=clock)
    unknown = await verifier.verify(identity.issue_for(settings, "bob", groups=["hr"], clock=clock))
    assert (unknown.person.groups, unknown.person.clearance) == (["hr"], 0)


def test_another_issuer_takes_no_tokens_from_here(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, issuer="https://id.example", token_algorithm="RS256")
    with pytest.raises(SettingsError):
        identity.issue(settings, "ann")
    with pytest.raises(BadRequest):
        identity.sign_in(settings, "ann", "1")


def test_the_key_survives_a_restart(settings: Settings) -> None:
    text = token(settings)
    assert asyncio.run(Verifier(settings, clock=clock).verify(text)).person.subject == "ann"
