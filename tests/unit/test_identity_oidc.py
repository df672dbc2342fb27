"""Signing in at an OpenID Connect provider: a real one on loopback, with its own keys and its own clockwork."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jwt
import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from weir.errors import NotSignedIn, Unavailable
from weir.identity import Verifier
from weir.oidc import Provider, challenge
from weir.settings import Settings

ALGORITHM = "RS256"


class Identities:
    """A provider that speaks discovery, JWKS and the token endpoint."""

    def __init__(self) -> None:
        self.now = 1_800_000_000_000
        self.keys: dict[str, Any] = {"one": rsa.generate_private_key(65537, 2048)}
        self.fetches = 0
        self.up = True
        self.codes: dict[str, str] = {}
        """Challenge by code."""
        app = web.Application()
        app.add_routes([web.get("/.well-known/openid-configuration", self._discovery), web.get("/keys", self._jwks),
                        web.post("/token", self._token)])
        self.server = TestServer(app)

    @property
    def issuer(self) -> str:
        return str(self.server.make_url("/")).rstrip("/")

    def clock(self) -> int:
        return self.now

    def token(self, kid: str = "one", **changes: Any) -> str:
        claims = {"iss": self.issuer, "aud": "weir", "sub": "ann", "exp": self.now / 1000 + 60, "roles": ["legal"],
                  **changes}
        return jwt.encode(claims, self.keys[kid], algorithm=ALGORITHM, headers={"kid": kid})

    async def _discovery(self, _: web.Request) -> web.Response:
        if not self.up:
            raise web.HTTPServiceUnavailable
        return web.json_response({"issuer": self.issuer, "authorization_endpoint": f"{self.issuer}/authorize",
                                  "token_endpoint": f"{self.issuer}/token", "jwks_uri": f"{self.issuer}/keys"})

    async def _jwks(self, _: web.Request) -> web.Response:
        self.fetches += 1
        if not self.up:
            raise web.HTTPServiceUnavailable
        entries = [{**jwt.algorithms.RSAAlgorithm.to_jwk(k.public_key(), as_dict=True), "kid": kid, "use": "sig",
                    "alg": ALGORITHM} for kid, k in self.keys.items()]
        odd = {**jwt.algorithms.ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()).public_key(),
                                                   as_dict=True), "kid": "odd"}
        return web.json_response({"keys": [*entries, odd]})

    async def _token(self, request: web.Request) -> web.Response:
        form = await request.post()
        if self.codes.pop(str(form["code"]), None) != challenge(str(form["code_verifier"])):
            return web.json_response({"error": "invalid_grant", "error_description": "the code is not yours"},
                                     status=400)
        return web.json_response({"id_token": self.token(aud=str(form["client_id"]))})


@pytest_asyncio.fixture
async def provider() -> AsyncIterator[Identities]:
    made = Identities()
    async with made.server:
        yield made


def settings(provider: Identities, tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, issuer=provider.issuer, token_algorithm=ALGORITHM, groups_claim="roles",
                    oidc_client_id="page")


@pytest_asyncio.fixture
async def verifier(provider: Identities, tmp_path: Path) -> AsyncIterator[Verifier]:
    made = Verifier(settings(provider, tmp_path), clock=provider.clock)
    yield made
    await made.close()


async def test_a_provider_s_token_proves_its_person(provider: Identities, verifier: Verifier) -> None:
    for _ in range(5):
        assert (await verifier.verify(provider.token())).person.groups == ["legal"]
    assert provider.fetches == 1, "keys are kept"


async def test_a_new_key_is_found_and_made_up_ones_cost_little(provider: Identities, verifier: Verifier) -> None:
    await verifier.verify(provider.token())
    provider.keys["two"] = rsa.generate_private_key(65537, 2048)
    with pytest.raises(NotSignedIn):
        await verifier.verify(provider.token("two"))  # it was fetched a moment ago
    provider.now += 31_000
    assert (await verifier.verify(provider.token("two"))).person.subject == "ann"
    assert provider.fetches == 2
    provider.keys["forged"] = rsa.generate_private_key(65537, 2048)
    forged = provider.token("forged")
    del provider.keys["forged"]
    for _ in range(20):
        provider.now += 100
        with pytest.raises(NotSignedIn):
            await verifier.verify(forged)
    assert provider.fetches == 2


async def test_known_keys_stay_good_while_the_provider_is_away(provider: Identities, verifier: Verifier) -> None:
    await verifier.verify(provider.token())
    provider.up = False
    provider.now += 3_700_000
    assert (await verifier.verify(provider.token())).person.subject == "ann"


async def test_without_keys_nobody_is_let_in(provider: Identities, verifier: Verifier) -> None:
    provider.up = False
    with pytest.raises(Unavailable):
        await verifier.verify(provider.token())


async def test_a_token_of_another_issuer_or_key_kind_is_refused(provider: Identities, verifier: Verifier) -> None:
    with pytest.raises(NotSignedIn):
        await verifier.verify(provider.token(iss="https://elsewhere.example"))
    es = jwt.encode({"sub": "ann"}, ec.generate_private_key(ec.SECP256R1()), algorithm="ES256", headers={"kid": "odd"})
    with pytest.raises(NotSignedIn):
        await verifier.verify(es)


async def test_a_code_is_worth_a_token_only_with_its_verifier(provider: Identities, tmp_path: Path) -> None:
    client = Provider(settings(provider, tmp_path), clock=provider.clock)
    try:
        url = await client.authorize_url(redirect="http://here/back", state="s", nonce="n", verifier="v" * 50)
        assert f"code_challenge={challenge('v' * 50)}" in url and "code_challenge_method=S256" in url
        for code in ("mine", "stolen"):
            provider.codes[code] = challenge("v" * 50)
        assert await client.exchange(code="mine", redirect="http://here/back", verifier="v" * 50)
        with pytest.raises(NotSignedIn, match="not yours"):
            await client.exchange(code="stolen", redirect="http://here/back", verifier="w" * 50)
    finally:
        await client.close()
