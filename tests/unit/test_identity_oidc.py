"""Signing in at an OpenID Connect provider: a real one on loopback, with its own keys and its own clockwork."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import jwt
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.kit.oidc import ALGORITHM, Identities
from weir.errors import NotSignedIn, Unavailable
from weir.identity import Verifier
from weir.oidc import Provider, challenge
from weir.settings import Settings


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
