"""An OpenID Connect provider: its endpoints, its keys, and the exchange of a code for a token.

    discovery ── <issuer>/.well-known/openid-configuration, kept an hour
    keys      ── its `jwks_uri`, kept an hour; a `kid` nobody knows is asked for once more, at most every 30 s
    exchange  ── authorization code + PKCE (S256), RFC 7636

Source: OpenID Connect Discovery 1.0, RFC 7517 (JWK), RFC 6749 section 4.1.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import aiohttp
import jwt

from weir.clock import Clock, system_clock
from weir.errors import NotSignedIn, SettingsError, Unavailable
from weir.settings import Settings

KEEP = 3_600_000
"""Milliseconds that discovery and keys are used without asking again."""
REFETCH = 30_000
"""Milliseconds between two fetches for the sake of an unknown key: a flood of made-up ids costs one request."""
TIMEOUT = aiohttp.ClientTimeout(total=10)


@dataclass(frozen=True, slots=True)
class Endpoints:
    authorization: str
    token: str
    jwks: str


class Provider:
    """The provider of `settings.issuer`."""

    def __init__(self, settings: Settings, *, clock: Clock = system_clock) -> None:
        self.issuer = settings.issuer
        self._settings = settings
        self._clock = clock
        self._client: aiohttp.ClientSession | None = None
        self._endpoints: tuple[int, Endpoints] | None = None

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def endpoints(self) -> Endpoints:
        """Raises: Unavailable: the provider does not answer, or answers for another issuer."""
        if self._endpoints is None or self._clock() > self._endpoints[0] + KEEP:
            url = self.issuer.rstrip("/") + "/.well-known/openid-configuration"
            found = await self.get(url)
            if found.get("issuer") != self.issuer:
                raise Unavailable(f"{url} speaks for {found.get('issuer')!r} and not for {self.issuer!r}: set "
                                  "WEIR_ISSUER to exactly what it names")
            try:
                endpoints = Endpoints(found["authorization_endpoint"], found["token_endpoint"], found["jwks_uri"])
            except KeyError as e:
                raise Unavailable(f"{url} names no {e}: it is not an OpenID Connect provider") from e
            self._endpoints = (self._clock(), endpoints)
        return self._endpoints[1]

    async def get(self, url: str) -> dict[str, Any]:
        return await self._request("GET", url)

    async def _request(self, method: str, url: str, **options: Any) -> dict[str, Any]:
        if self._client is None:
            self._client = aiohttp.ClientSession(timeout=TIMEOUT)
        try:
            async with self._client.request(method, url, allow_redirects=False, **options) as response:
                body = await response.json(content_type=None)
                if 400 <= response.status < 500 and method == "POST":
                    raise NotSignedIn(f"{self.issuer} refused the sign-in "
                                      f"({_text(body, 'error')}: {_text(body, 'error_description')}); try again")
                if response.status != 200 or not isinstance(body, dict):
                    raise Unavailable(f"{url} answered {response.status}; is {self.issuer} the right issuer?",
                                      retry_after=5)
                return body
        except (aiohttp.ClientError, TimeoutError, ValueError) as e:
            raise Unavailable(f"{url} does not answer ({type(e).__name__}: {e}); people cannot sign in until it does",
                              retry_after=5) from e

    async def authorize_url(self, *, redirect: str, state: str, nonce: str, verifier: str) -> str:
        """Where a person is sent to sign in."""
        if not self._settings.oidc_client_id:
            raise SettingsError("WEIR_OIDC_CLIENT_ID is empty: register the page at the provider and set it")
        query = {"response_type": "code", "client_id": self._settings.oidc_client_id, "redirect_uri": redirect,
                 "scope": "openid profile", "state": state, "nonce": nonce, "code_challenge": challenge(verifier),
                 "code_challenge_method": "S256"}
        base = (await self.endpoints()).authorization
        return f"{base}{'&' if '?' in base else '?'}{urlencode(query)}"

    async def exchange(self, *, code: str, redirect: str, verifier: str) -> str:
        """The id token for an authorization code.

        Raises:
            NotSignedIn: the provider refuses the code.
            Unavailable: the provider does not answer.
        """
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect,
                "client_id": self._settings.oidc_client_id, "code_verifier": verifier}
        if secret := self._settings.secret(self._settings.oidc_client_secret_file):
            form["client_secret"] = secret.get_secret_value()
        answer = await self._request("POST", (await self.endpoints()).token, data=form)
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise NotSignedIn(f"{self.issuer} gave no id token: allow the scope `openid` for this client")
        return token


class ProviderKeys:
    """The public keys of a provider, by key id."""

    def __init__(self, settings: Settings, *, clock: Clock = system_clock) -> None:
        self.issuer = settings.issuer
        self._provider = Provider(settings, clock=clock)
        self._algorithm = settings.token_algorithm
        self._clock = clock
        self._keys: dict[str | None, Any] = {}
        self._fetched = -KEEP
        self._asked = -KEEP
        self._lock = asyncio.Lock()

    async def close(self) -> None:
        await self._provider.close()

    async def key(self, kid: str | None) -> Any:
        if kid not in self._keys or self._clock() > self._fetched + KEEP:
            async with self._lock:
                if (kid not in self._keys or self._clock() > self._fetched + KEEP) \
                        and self._clock() >= self._asked + REFETCH:
                    await self._fetch()
        try:
            return self._keys[kid]
        except KeyError:
            raise NotSignedIn(f"the token names the key {kid!r}, which {self.issuer} does not publish: get a fresh "
                              "token") from None

    async def _fetch(self) -> None:
        self._asked = self._clock()
        try:
            found = await self._provider.get((await self._provider.endpoints()).jwks)
        except Unavailable:
            if self._keys:  # keys we know stay good while the provider is away
                self._fetched = self._clock() - KEEP + REFETCH
                return
            raise
        keys: dict[str | None, Any] = {}
        for entry in found.get("keys", []):
            if entry.get("use", "sig") != "sig" or entry.get("alg", self._algorithm) != self._algorithm:
                continue
            try:
                keys[entry.get("kid")] = jwt.PyJWK(entry, algorithm=self._algorithm).key
            except jwt.PyJWTError:
                continue  # a key of another kind: no token signed with it is accepted here
        if len(keys) == 1:
            keys.setdefault(None, next(iter(keys.values())))
        self._keys, self._fetched = keys, self._clock()


def challenge(verifier: str) -> str:
    """The S256 challenge of a PKCE verifier."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def _text(body: Any, name: str) -> str:
    return str(body.get(name, "no reason given"))[:200] if isinstance(body, dict) else "no reason given"
